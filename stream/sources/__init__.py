"""Sources: each follows tags at one endpoint and delivers samples."""

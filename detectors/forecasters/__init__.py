"""Forecasters: each gives a predictive distribution of a tag's next steps from its window."""

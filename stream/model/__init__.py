"""The model lane: its process, when it is asked, and which model and forecasters it has."""

"""Sinks: each takes records from the journal to one place outside."""

"""Benchmarks: one command each, a table, and JSON as the last line. What they measure is said by their first line."""

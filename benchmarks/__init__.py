"""Benchmarks: one command each, a table, and JSON as the last line. What they measure is said by their first line."""

import os

# As `givre` has it: the products of fits are many and small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

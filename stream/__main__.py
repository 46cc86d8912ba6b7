"""Starts the command line: `python -m stream` is `givre`."""

from stream.cli import main

main()

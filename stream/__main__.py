"""Starts the command line: `python -m stream` is `givre`."""

from stream.cli.app import main

main()

"""What do all commands of the command line share? Where they print, how they read a configuration, and how they fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

if TYPE_CHECKING:
    from config.load import Loaded

__all__ = ["Config", "complaints", "console", "fail", "read"]

console = Console()
complaints = Console(stderr=True)

Config = Annotated[Path, typer.Argument(help="Configuration file (YAML); config/heat_exchanger.yaml is the reference.")]


def read(path: Path) -> Loaded:
    """The configuration of a file; one that is wrong ends the command with what is wrong."""
    from config.errors import ConfigError
    from config.load import load

    try:
        return load(path)
    except ConfigError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Says what is wrong and ends with exit code 1."""
    complaints.print(f"givre: {message}", style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(1)

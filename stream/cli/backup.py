"""What must be kept of an installation? A copy of the state folder that is whole, taken beside the running service.

The journal goes through SQLite's online backup, so that the copy is of one moment; the other files are copied as they are.
What only gives the running service room, or belongs to its open file, is left out.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BackupError", "back_up"]

JOURNAL = "journal.sqlite3"
PAGES = 2000
"""So many pages are copied at a time; in between the service writes."""


class BackupError(Exception):
    """What hindered the backup; nothing of it is left."""


def back_up(state: Path, target: Path) -> int:
    """Copies a state folder into a new folder and returns its size in bytes; raises BackupError."""
    journal = state / JOURNAL
    if not journal.is_file():
        raise BackupError(
            f"state folder {state}: expected a journal in it: has the service run with this configuration?"
        )
    try:
        target.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise BackupError(f"{target}: expected a folder that is not there yet: nothing is overwritten") from None
    except OSError as error:
        raise BackupError(f"{target}: cannot be made: {error.strerror}") from error
    try:
        _copy_journal(journal, target / JOURNAL)
        for file in sorted(state.rglob("*")):
            if file.is_file() and not file.is_symlink() and not file.name.startswith("journal."):
                copy = target / file.relative_to(state)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copy)
    except (OSError, sqlite3.Error, shutil.Error) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise BackupError(f"state folder {state}: cannot be copied to {target}: {error}") from error
    return sum(file.stat().st_size for file in target.rglob("*") if file.is_file())


def _copy_journal(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as read,
        closing(sqlite3.connect(target)) as written,
    ):
        read.execute("BEGIN")  # one moment: without it the copy begins anew whenever the service writes
        read.execute("SELECT 1 FROM sqlite_master").fetchone()
        read.backup(written, pages=PAGES)
        (said,) = written.execute("PRAGMA quick_check").fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(f"the copy of the journal is not whole: {said}")

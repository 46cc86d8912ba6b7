"""Where is the journal kept while the disk of the state folder takes nothing at all?

A disk that fails is made read-only by the system, and the next start finds nothing to write to. Limits are watched all the same,
over a journal in the folder for running services, which lies in memory. Alarms begin as they were left, as far as they can still
be read; a running service that loses its disk takes along what it could not write any more. Samples of the past are not there,
and what is kept in memory is not there after the next start.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from stream.journal.journal import Journal

__all__ = ["Refuge", "unwritable"]

MAX_SIZE_MB = 64
"""It lies in memory: old samples go first."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_BROKEN = {errno.EROFS, errno.EIO}


def unwritable(folder: Path, *, for_good: bool = False) -> str:
    """Why the disk below a folder takes nothing; empty where it does, or where it is not the disk that forbids it.

    `for_good` leaves out what may pass by itself: that it is full.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(bytes(4096))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return f"{there}: {error.strerror}" if error.errno in (_BROKEN if for_good else _BROKEN | _FULL) else ""
    return ""


class Refuge:
    """A folder that is gone when it is closed, with a journal in it. Raises OSError where there is no room for that either."""

    def __init__(self, state_folder: Path, *, max_size_mb: int, keep_days: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="journal-", dir=os.environ.get("RUNTIME_DIRECTORY"))
        place = Path(self._folder.name) / "journal.sqlite3"
        self.journal = Journal(place, max_size_mb=min(max_size_mb, MAX_SIZE_MB), keep_days=keep_days)
        memory = _memory(state_folder / "journal.sqlite3")
        self.journal.append([], memory=memory)
        left = "alarms begin as they were left" if memory else "nothing can be read of the alarms as they were left"
        self.text = (
            f"kept in memory, in {place.parent}; {left}. After a repair restart Givre: what is kept here ends with it"
        )

    def close(self) -> None:
        """After its journal."""
        self._folder.cleanup()


def _memory(path: Path) -> dict[str, str]:
    """What a journal that can only be read remembers; nothing where it cannot."""
    # With its log beside it a file is read together with that; without one it was closed well and is whole by itself.
    for how in ("mode=ro", "immutable=1"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.as_uri()}?{how}", uri=True)) as db:
            return dict(db.execute("SELECT key, text FROM memory"))
    return {}

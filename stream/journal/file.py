"""Is the journal's file sound, is it ours, and is there room? The file itself; what stands in it is `stream.journal.journal`'s.

A file that cannot be read is moved aside, never deleted, and not while another process has it open. One of an earlier version
is brought up to date where it lies, all of it or nothing. Damage that is only
met while running leaves a mark, so that the next start looks at every page, however large the file is.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PAGE", "JournalError", "JournalFile", "JournalFullError", "is_full"]

PAGE = 4096
VERSION = 2
SCHEMA = """
CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: the places of the sinks refer to it
    kind INTEGER NOT NULL, tag TEXT NOT NULL, at INTEGER NOT NULL, value REAL, body TEXT NOT NULL
);
-- The moment first: new samples then fall side by side, on few pages, and are read back in the order of time.
CREATE UNIQUE INDEX sample_once ON entry (at, tag) WHERE kind = 0;
CREATE INDEX notable ON entry (kind) WHERE kind > 0;
CREATE TABLE cursor (sink TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE memory (key TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE command (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);
CREATE TABLE dead_letter (
    sink TEXT NOT NULL, entry INTEGER NOT NULL, kind INTEGER, tag TEXT, at INTEGER, value REAL, body TEXT, reason TEXT,
    PRIMARY KEY (sink, entry)
);
"""
UPGRADES = {
    1: (
        "DROP INDEX sample_once",
        "CREATE UNIQUE INDEX sample_once ON entry (at, tag) WHERE kind = 0",
        "CREATE INDEX notable ON entry (kind) WHERE kind > 0",
    ),
}
"""What makes a file of a version one of the next. Each is part of one change: a kill in the middle leaves the file as it was."""
CHECK_BELOW_BYTES = 64 * 2**20
"""A file up to this size is checked whole whenever it is opened (well under a second)."""
WAL_BYTES = 16 * 2**20
LOCKED_S = 10.0
"""How long a lock of another process is waited for (machine seconds)."""
RESERVE_BYTES = (256 * 2**10, 16 * 2**20)
"""Least and most that is kept back on the disk: on a full disk even deleting needs room."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FOR_NOW = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
}


class JournalError(Exception):
    """The journal cannot be used; the text says why."""


class JournalFullError(JournalError):
    """The disk takes nothing now: nothing of the call was written, and the same call may succeed later."""


class JournalFile:
    """One SQLite file in WAL mode, with its lock, its mark of suspicion and its reserve beside it.

    Raises JournalFullError where the disk takes nothing, JournalError where the file cannot be used at all.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self.recovered: str | None = None
        self._max_bytes = max_bytes
        self._lock = self._beside(".lock")
        self._suspect = self._beside(".suspect")
        self._reserve = self._beside(".reserve")
        _refuse_foreign_link(path)
        try:
            self._lock_fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            found = error.strerror
            raise JournalError(f"journal {path}: expected a folder that can be written, found: {found}") from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_SH)
            try:
                self.writer = self._open_or_replace()
            except JournalFullError:
                if not self.release_reserve():
                    raise
                self.writer = self._open_or_replace()
        except BaseException:
            os.close(self._lock_fd)
            raise
        self.keep_reserve()

    def connect(self) -> sqlite3.Connection:
        """One more connection, for any thread."""
        db = sqlite3.connect(self.path, timeout=LOCKED_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA synchronous = FULL")
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Closes the writer and lets the file go."""
        self.writer.close()
        os.close(self._lock_fd)

    def explain(self, error: sqlite3.Error) -> JournalError:
        """What an error of SQLite means for the caller; damage is marked for the next start."""
        code = _code(error)
        if code in _FOR_NOW:
            return JournalFullError(f"journal {self.path}: cannot be written now: {error}")
        if code in _DAMAGED:
            with suppress(OSError):
                self._suspect.touch()
            return JournalError(f"journal {self.path}: damaged ({error}); the next start moves it aside")
        return JournalError(f"journal {self.path}: {error}")

    def keep_reserve(self) -> None:
        """Takes the reserve where there is plenty of room beside it."""
        size = min(max(self._max_bytes // 16, RESERVE_BYTES[0]), RESERVE_BYTES[1])
        with suppress(OSError):
            if self._reserve.exists() and self._reserve.stat().st_size >= size:
                return
            disk = os.statvfs(self.path.parent)
            if disk.f_bavail * disk.f_frsize < 2 * size:
                return
            fd = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(fd, 0, size)
            finally:
                os.close(fd)

    def release_reserve(self) -> bool:
        """Gives the reserve to the disk; whether there was one."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            explained = self.explain(error)
            if _code(error) not in {*_DAMAGED, None}:  # None: one of our own, below
                raise explained from error
            self.recovered = self._move_aside(str(error))
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            raise self.explain(error) from error

    def _open(self) -> sqlite3.Connection:
        new = not self.path.exists()
        db = self.connect()
        try:
            if new:
                db.execute(f"PRAGMA page_size = {PAGE}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
            self._make_schema(db)
            self._check(db)
            # A tenth of head-room: `Journal.trim` keeps below the limit, this only stops a runaway from filling the disk.
            db.execute(f"PRAGMA max_page_count = {self._max_bytes // PAGE * 11 // 10}")
        except BaseException:
            db.close()
            raise
        return db

    def _make_schema(self, db: sqlite3.Connection) -> None:
        # Another process may be making it at the same moment: look again once nobody else can.
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0 and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in SCHEMA.split(";\n"):
                db.execute(statement)
            version = VERSION
        elif version > VERSION or version < min(UPGRADES):
            whose = " of a later Givre" if version > VERSION else ""
            raise sqlite3.DatabaseError(f"expected version {VERSION}, found version {version}{whose}")
        if version < VERSION:
            # The Givre that wrote it would not get on with what it is made into.
            self._have_alone(f"it is of version {version} and has to be brought up to version {VERSION}")
        for older in range(version, VERSION):
            for statement in UPGRADES[older]:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
        fcntl.flock(self._lock_fd, fcntl.LOCK_SH)

    def _check(self, db: sqlite3.Connection) -> None:
        suspect = self._suspect.exists()
        if suspect or self.path.stat().st_size < CHECK_BELOW_BYTES:
            (verdict,) = db.execute(f"PRAGMA {'integrity_check' if suspect else 'quick_check'}(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            self._suspect.unlink(missing_ok=True)

    def _have_alone(self, reason: str) -> None:
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            advice = "stop the other process first"
            raise JournalError(f"journal {self.path}: {reason}, and another process has it open: {advice}") from None

    def _move_aside(self, reason: str) -> str:
        self._have_alone(reason)
        aside = self._beside(f".corrupt-{time.time_ns()}")
        try:
            for suffix in ("", "-wal", "-shm"):
                part = self.path.with_name(self.path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
            self._suspect.unlink(missing_ok=True)
        except OSError as error:
            found = f"{reason}; moving it aside: {error.strerror}"
            raise JournalError(f"journal {self.path}: expected a file that can be read, found: {found}") from error
        fcntl.flock(self._lock_fd, fcntl.LOCK_SH)
        return f"the journal could not be read ({reason}); it was moved to {aside} and a new one started"

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def is_full(error: sqlite3.Error) -> bool:
    """Whether it was for room that a change failed, on the disk or within the limit of the file."""
    return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def _code(error: sqlite3.Error) -> int | None:
    """The primary result code; None for an error that SQLite did not raise."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _refuse_foreign_link(path: Path) -> None:
    """Raises JournalError where a link on the way to the file is another user's: they would choose what we overwrite."""
    for place in (path, *path.absolute().parents):
        if place.is_symlink() and (owner := place.lstat().st_uid) not in {0, os.geteuid()}:
            raise JournalError(
                f"journal {path}: expected folders of root or of user {os.geteuid()}, found {place}, "
                f"a link of user {owner}. Remove it"
            )

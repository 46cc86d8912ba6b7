"""What must not be lost? One SQLite file that every record passes on its way out.

An append-only log, and for each sink the place up to which it has been delivered: a sink that is down delays, it does not
lose. Beside it what must survive a restart: the memories of alarms, written in the same transaction as the transitions that
they speak of, and commands left by `givre alarms`. WAL with synchronous=FULL: what `append` has returned for survives
kill -9 and a power cut. All calls block, so the event loop makes them in threads; every method is safe from any thread.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from detectors.records import Alert, Forecast, Record, Sample, Status, Verdict
from stream.entry import KINDS, decode, encode, micros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

__all__ = ["Journal", "JournalError", "JournalFullError"]

VERSION = 1
PAGE = 4096
SCHEMA = """
CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: the places of the sinks refer to it
    kind INTEGER NOT NULL, tag TEXT NOT NULL, at INTEGER NOT NULL, value REAL, body TEXT NOT NULL
);
CREATE UNIQUE INDEX sample_once ON entry (tag, at) WHERE kind = 0;
CREATE TABLE cursor (sink TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE memory (key TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE command (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);
CREATE TABLE dead_letter (
    sink TEXT NOT NULL, entry INTEGER NOT NULL, kind INTEGER, tag TEXT, at INTEGER, value REAL, body TEXT, reason TEXT,
    PRIMARY KEY (sink, entry)
);
"""
COLUMNS = "kind, tag, at, value, body"
# When there is no room the least is missed first: verdicts and forecasts can be made again, samples cannot, alerts tell.
DROP_ORDER: tuple[type[Record], ...] = (Verdict, Forecast, Sample, Status, Alert)
CHECK_BELOW_BYTES = 64 * 2**20
"""A file up to this size is checked whole when it is opened (well under a second)."""
TRIM_ROWS = 20_000


class JournalError(Exception):
    """The journal cannot be used; the text says why."""


class JournalFullError(JournalError):
    """There is no room on the disk: nothing of the call was written, and the same call may succeed later."""


class Journal:
    """The journal in one file.

    A file that cannot be read is moved aside, never deleted, and `recovered` then says so.
    """

    def __init__(self, path: Path, *, max_size_mb: int, keep_days: float) -> None:
        self.path = path
        self.recovered: str | None = None
        self._max_bytes = max_size_mb * 2**20
        self._keep_us = round(keep_days * 86_400e6)
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._positions: dict[str, int] = {}
        self._kinds: dict[str, frozenset[type]] = {}
        try:
            self._writer = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "unable to open" in str(error):
                raise JournalError(f"journal {path}: expected a folder that can be written, found: {error}") from error
            self.recovered = self._move_aside(str(error))
            self._writer = self._open()
        # A tenth of head-room: `trim` keeps below the limit, this only stops a runaway from filling the disk.
        self._writer.execute(f"PRAGMA max_page_count = {self._max_bytes // PAGE * 11 // 10}")
        self._reader = self._connect()

    def append(self, records: Sequence[Record], *, memory: Mapping[str, str] | None = None) -> int:
        """Writes records and memories in one transaction and returns the last id; raises JournalFullError.

        A sample that is there already (same tag and source time: a redelivery after a crash) is not written twice.
        """
        rows = [encode(record) for record in records]
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO entry (kind, tag, at, value, body) VALUES (?, ?, ?, ?, ?)", rows)
            if memory:
                db.executemany("INSERT OR REPLACE INTO memory VALUES (?, ?)", memory.items())
            (last,) = db.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone()
        return int(last)

    def memory(self, prefix: str) -> dict[str, str]:
        """The memories whose key starts with `prefix`."""
        return dict(self._read("SELECT key, text FROM memory WHERE substr(key, 1, ?) = ?", (len(prefix), prefix)))

    # --- sinks ---------------------------------------------------------------------------------------------------------

    def register(self, sink: str, kinds: frozenset[type]) -> None:
        """Makes a sink known: one that is new starts with what comes from now on, and nothing it still needs is trimmed."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO cursor SELECT ?, coalesce(max(id), 0) FROM entry", (sink,))
            (position,) = db.execute("SELECT position FROM cursor WHERE sink = ?", (sink,)).fetchone()
        self._positions[sink] = position
        self._kinds[sink] = kinds

    def pending(self, sink: str, limit: int) -> list[tuple[int, Record]]:
        """The oldest records that a sink has not got, with their ids."""
        kinds = _in(self._kinds[sink])
        with self._read_lock:
            # Read first: what is appended in between is beyond it, and not skipped.
            (end,) = self._reader.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone()
            rows = self._reader.execute(
                f"SELECT id, {COLUMNS} FROM entry WHERE id > ? AND id <= ? AND kind IN {kinds} ORDER BY id LIMIT ?",  # noqa: S608 - our own
                (self._positions[sink], end, limit),
            ).fetchall()
        if not rows:
            # Nothing of its kinds up to here: the next look starts behind it.
            self._positions[sink] = max(self._positions[sink], end)
        return [(row[0], decode(row[1:])) for row in rows]

    def delivered(self, sink: str, up_to: int) -> None:
        """Notes that a sink has everything up to an id."""
        with self._transaction() as db:
            db.execute("UPDATE cursor SET position = ? WHERE sink = ?", (up_to, sink))
        self._positions[sink] = up_to

    def dead_letter(self, sink: str, entry: int, reason: str) -> None:
        """Keeps a record that a sink will never take, with its reason."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO dead_letter SELECT ?, id, kind, tag, at, value, body, ? FROM entry WHERE id = ?",
                (sink, reason, entry),
            )

    def dead_letters(self, sink: str) -> list[tuple[Record, str]]:
        """What a sink refused for ever, with the reasons, oldest first."""
        rows = self._read(
            f"SELECT {COLUMNS}, reason FROM dead_letter WHERE sink = ? ORDER BY entry",  # noqa: S608 - our own
            (sink,),
        )
        return [(decode(row[:5]), row[5]) for row in rows]

    def depth(self, sink: str) -> int:
        """How many records a sink has not got."""
        query = f"SELECT count(*) FROM entry WHERE id > ? AND kind IN {_in(self._kinds[sink])}"  # noqa: S608 - our own
        return int(self._read(query, (self._positions[sink],))[0][0])

    # --- looking back --------------------------------------------------------------------------------------------------

    def samples(self, since: datetime, tags: Collection[str] | None = None) -> Iterator[Sample]:
        """Samples from a moment on, in source time order."""
        where, values = "kind = 0 AND at >= ?", [micros(since)]
        if tags is not None:
            where += f" AND tag IN ({','.join('?' * len(tags))})"
        query = f"SELECT {COLUMNS} FROM entry WHERE {where} ORDER BY at, id"  # noqa: S608 - our own
        with closing(self._connect()) as db:
            for row in db.execute(query, [*values, *(tags or ())]):
                record = decode(row)
                assert isinstance(record, Sample)
                yield record

    def history(
        self,
        *,
        kinds: Collection[type] | None = None,
        tag: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> list[Record]:
        """What the journal holds, in the order it came; with a `limit` the newest so many."""
        where, values = ["1"], []
        if kinds is not None:
            where.append(f"kind IN {_in(kinds)}")
        for condition, value in (
            ("tag = ?", tag),
            ("at >= ?", since and micros(since)),
            ("at <= ?", until and micros(until)),
        ):
            if value is not None:
                where.append(condition)
                values.append(value)
        query = f"SELECT {COLUMNS} FROM entry WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"  # noqa: S608 - our own
        with closing(self._connect()) as db:
            rows = db.execute(query, [*values, -1 if limit is None else limit]).fetchall()
        return [decode(row) for row in reversed(rows)]

    # --- commands ------------------------------------------------------------------------------------------------------

    def post(self, command: str) -> int:
        """Leaves a command for the service, from this or another process."""
        with self._transaction() as db:
            return int(db.execute("INSERT INTO command (text) VALUES (?)", (command,)).lastrowid or 0)

    def commands(self) -> list[tuple[int, str]]:
        """The commands that wait, oldest first."""
        return self._read("SELECT id, text FROM command ORDER BY id")

    def done(self, command: int) -> None:
        """Takes a command away."""
        with self._transaction() as db:
            db.execute("DELETE FROM command WHERE id = ?", (command,))

    # --- room ----------------------------------------------------------------------------------------------------------

    def trim(self, now: datetime) -> dict[str, int]:
        """Deletes what every sink has and is older than is kept; if the file is too large, more.

        Too large, the oldest delivered records go whatever their age, then undelivered ones, the least missed kinds first.
        Returns how many undelivered records were dropped, by kind: that is a loss, and must be said.
        """
        dropped: dict[str, int] = {}
        with self._transaction() as db:
            for sink, position in self._positions.items():
                db.execute("UPDATE cursor SET position = max(position, ?) WHERE sink = ?", (position, sink))
            (end,) = db.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone()
        safe = min(self._positions.values(), default=end)
        # Small bites: the writer of samples waits no longer than one of them.
        while self._delete("id <= ? AND at < ?", (safe, micros(now) - self._keep_us)) == TRIM_ROWS:
            pass
        while self._used_bytes() > self._max_bytes:
            if self._delete("id <= ?", (safe,)):
                continue
            for kind in DROP_ORDER:
                count = self._delete("kind = ?", (KINDS[kind],))
                if count:
                    name = kind.__name__.lower()
                    dropped[name] = dropped.get(name, 0) + count
                    break
            else:
                break
        return dropped

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    # --- inside --------------------------------------------------------------------------------------------------------

    def _delete(self, where: str, values: tuple[int, ...]) -> int:
        query = f"DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE {where} ORDER BY id LIMIT {TRIM_ROWS})"  # noqa: S608 - our own
        with self._transaction() as db:
            return db.execute(query, values).rowcount

    def _used_bytes(self) -> int:
        with self._write_lock:
            (pages,) = self._writer.execute("PRAGMA page_count").fetchone()
            (free,) = self._writer.execute("PRAGMA freelist_count").fetchone()
        return (int(pages) - int(free)) * PAGE

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and _no_room(error):
                    raise JournalFullError(f"journal {self.path}: no room to write: {error}") from error
                raise

    def _read(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._read_lock:
            return self._reader.execute(query, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA synchronous = FULL")
        return db

    def _open(self) -> sqlite3.Connection:
        new = not self.path.exists()
        db = self._connect()
        try:
            if new:
                db.execute(f"PRAGMA page_size = {PAGE}")
            db.execute("PRAGMA journal_mode = WAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0 and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"expected version {VERSION}, found version {version}")  # noqa: TRY301 - closed below
            elif self.path.stat().st_size < CHECK_BELOW_BYTES:
                (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict)  # noqa: TRY301 - closed below
        except BaseException:
            db.close()
            raise
        return db

    def _move_aside(self, reason: str) -> str:
        aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}")
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return f"the journal could not be read ({reason}); it was moved to {aside} and a new one started"


def _in(kinds: Collection[type]) -> str:
    return "(" + ",".join(str(KINDS[kind]) for kind in sorted(kinds, key=lambda k: KINDS[k])) + ")"


def _no_room(error: sqlite3.OperationalError) -> bool:
    return any(words in str(error) for words in ("full", "disk I/O error", "readonly"))

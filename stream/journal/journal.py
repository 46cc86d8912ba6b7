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
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from detectors.records import (
    Alert,
    Explanation,
    Forecast,
    Mark,
    Record,
    Reply,
    Sample,
    Score,
    Standing,
    Status,
    Verdict,
)
from stream.journal.entry import KINDS, decode, encode, micros, moment
from stream.journal.file import PAGE, JournalError, JournalFile, JournalFullError, is_full
from stream.journal.loss import Loss

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from stream.journal.entry import Row

__all__ = ["Journal", "JournalError", "JournalFullError"]

T = TypeVar("T")

COLUMNS = "kind, tag, at, value, body"
# When there is no room the least is missed first: scores, verdicts and forecasts can be made again, samples cannot, alerts
# tell.
DROP_ORDER: tuple[type[Record], ...] = (
    Standing,
    Score,
    Explanation,
    Verdict,
    Forecast,
    Mark,
    Sample,
    Status,
    Reply,
    Alert,
)
DROP_ON_FULL_DISK = DROP_ORDER[: DROP_ORDER.index(Sample) + 1]
BITE_ROWS = 5_000
"""So many rows are deleted at a time: the writer of samples waits no longer than for one bite."""
DEAD_LETTERS_KEPT = 10_000
"""Per sink; the oldest go first."""
ATTEMPTS_ON_FULL_DISK = 4
_BREATH_S = 0.001


class Journal:
    """The journal in one file; raises JournalError where it cannot be used at all.

    A file that cannot be read is moved aside, never deleted, and `recovered` then says so. On a full disk the oldest that
    every sink has goes first, then what is least missed; where that is not enough, JournalFullError is raised, nothing of
    the call is written, and the same call succeeds once there is room again.
    """

    def __init__(self, path: Path, *, max_size_mb: int, keep_days: float) -> None:
        self.path = path
        self._max_bytes = max_size_mb * 2**20
        self._keep_us = round(keep_days * 86_400e6)
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._positions: dict[str, int] = {}
        self._kinds: dict[str, frozenset[type]] = {}
        self._dropped: dict[str, Loss] = {}
        self._file = JournalFile(path, max_bytes=self._max_bytes)
        self._writer = self._file.writer
        self._reader = self._file.connect()

    @property
    def recovered(self) -> str | None:
        """What was wrong with the file that was there, and where it is now; None if all was well."""
        return self._file.recovered

    def append(self, records: Sequence[Record], *, memory: Mapping[str, str] | None = None) -> int:
        """Writes records and memories in one transaction and returns the last id; raises JournalFullError.

        A sample that is there already (same tag and source time: a redelivery after a crash) is not written twice.
        """
        rows = [encode(record) for record in records]
        try:
            return self._commit(lambda db: _insert(db, rows, memory))
        except UnicodeEncodeError:  # half a surrogate pair, in a text from outside: no database takes it
            rows = [_speakable(row) for row in rows]
            return self._commit(lambda db: _insert(db, rows, memory))

    def memory(self, prefix: str) -> dict[str, str]:
        """The memories whose key starts with `prefix`."""
        return dict(self._read("SELECT key, text FROM memory WHERE substr(key, 1, ?) = ?", (len(prefix), prefix)))

    # --- sinks ---------------------------------------------------------------------------------------------------------

    def register(self, sink: str, kinds: frozenset[type]) -> None:
        """Makes a sink known: one that is new starts with what comes from now on, and nothing it still needs is trimmed."""

        def change(db: sqlite3.Connection) -> int:
            db.execute("INSERT OR IGNORE INTO cursor VALUES (?, ?)", (sink, _last_id(db)))
            return int(db.execute("SELECT position FROM cursor WHERE sink = ?", (sink,)).fetchone()[0])

        self._positions[sink] = self._commit(change)
        self._kinds[sink] = kinds

    def pending(self, sink: str, limit: int) -> list[tuple[int, Record]]:
        """The oldest records that a sink has not got, with their ids."""
        source = _entries(self._kinds[sink])
        with self._reading():
            # Read first: what is appended in between is beyond it, and not skipped.
            end = _last_id(self._reader)
            rows = self._reader.execute(
                f"SELECT id, {COLUMNS} FROM {source} AND id > ? AND id <= ? ORDER BY id LIMIT ?",  # noqa: S608 - our own
                (self._positions[sink], end, limit),
            ).fetchall()
        if not rows:
            # Nothing of its kinds up to here: the next look starts behind it.
            self._positions[sink] = max(self._positions[sink], end)
        return [(row[0], decode(row[1:])) for row in rows]

    def delivered(self, sink: str, up_to: int, refused: Mapping[int, str] | None = None) -> None:
        """Notes that a sink has everything up to an id, but for what it `refused` (id to reason): kept as dead letters."""

        def change(db: sqlite3.Connection) -> None:
            for entry, reason in (refused or {}).items():
                _bury(db, sink, entry, reason)
            db.execute("UPDATE cursor SET position = max(position, ?) WHERE sink = ?", (up_to, sink))

        self._commit(change)
        self._positions[sink] = max(self._positions[sink], up_to)

    def dead_letter(self, sink: str, entry: int, reason: str) -> None:
        """Keeps a record that a sink will never take, with its reason."""
        self._commit(lambda db: _bury(db, sink, entry, reason))

    def dead_letters(self, sink: str) -> list[tuple[Record, str]]:
        """What a sink refused for ever, with the reasons, oldest first."""
        rows = self._read(
            f"SELECT {COLUMNS}, reason FROM dead_letter WHERE sink = ? ORDER BY entry",  # noqa: S608 - our own
            (sink,),
        )
        return [(decode(row[:5]), row[5]) for row in rows]

    def depth(self, sink: str) -> int:
        """How many records a sink has not got."""
        query = f"SELECT count(*) FROM {_entries(self._kinds[sink])} AND id > ?"  # noqa: S608 - our own
        return int(self._read(query, (self._positions[sink],))[0][0])

    def oldest(self, sink: str) -> datetime | None:
        """The time of the oldest record that a sink has not got."""
        query = f"SELECT at FROM {_entries(self._kinds[sink])} AND id > ? ORDER BY id LIMIT 1"  # noqa: S608 - our own
        rows = self._read(query, (self._positions[sink],))
        return moment(rows[0][0]) if rows else None

    # --- looking back --------------------------------------------------------------------------------------------------

    def samples(self, since: datetime, tags: Collection[str] | None = None) -> Iterator[Sample]:
        """Samples from a moment on, in source time order."""
        where, values = "kind = 0 AND at >= ?", [micros(since)]
        if tags is not None:
            where += f" AND tag IN ({','.join('?' * len(tags))})"
        query = f"SELECT {COLUMNS} FROM entry INDEXED BY sample_once WHERE {where} ORDER BY at, tag"  # noqa: S608 - our own
        with self._looking_back() as db:
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
        source = "entry"
        if kinds is not None:
            where.append(f"kind IN {_in(kinds)}")
            if len(kinds) == 1 and Sample not in kinds:
                source, where[0] = "entry INDEXED BY notable", "kind > 0"  # few among many: not looked for among all
        for condition, value in (
            ("tag = ?", tag),
            ("at >= ?", since and micros(since)),
            ("at <= ?", until and micros(until)),
        ):
            if value is not None:
                where.append(condition)
                values.append(value)
        query = f"SELECT {COLUMNS} FROM {source} WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"  # noqa: S608 - our own
        with self._looking_back() as db:
            rows = db.execute(query, [*values, -1 if limit is None else limit]).fetchall()
        return [decode(row) for row in reversed(rows)]

    # --- commands ------------------------------------------------------------------------------------------------------

    def post(self, command: str) -> int:
        """Leaves a command for the service, from this or another process."""
        return self._commit(lambda db: db.execute("INSERT INTO command (text) VALUES (?)", (command,)).lastrowid or 0)

    def commands(self) -> list[tuple[int, str]]:
        """The commands that wait, oldest first."""
        return self._read("SELECT id, text FROM command ORDER BY id")

    def done(self, command: int) -> None:
        """Takes a command away."""
        self._commit(lambda db: db.execute("DELETE FROM command WHERE id = ?", (command,)))

    # --- room ----------------------------------------------------------------------------------------------------------

    def trim(self, now: datetime) -> dict[str, Loss]:
        """Deletes what every sink has and is older than is kept; if the file is too large, more.

        Too large, the oldest delivered records go whatever their age, then undelivered ones, the least missed kinds first.
        Returns which undelivered records were dropped since the last call, by kind, those that a full disk cost included:
        that is a loss, and must be said. On a disk that takes nothing it does what it can; `append` says so.
        """
        self._file.keep_reserve()
        with suppress(JournalFullError):
            self._commit(self._save_positions)
            oldest_kept = micros(now) - self._keep_us
            while self._commit(lambda db: self._drop_aged(db, oldest_kept)) == BITE_ROWS:
                time.sleep(_BREATH_S)  # or the writer of samples would not get its turn at the lock
            while self._used_bytes() > self._max_bytes:
                if not self._note_drop(*self._commit(lambda db: self._drop_oldest(db, DROP_ORDER))):
                    break
                time.sleep(_BREATH_S)
        dropped, self._dropped = self._dropped, {}
        return dropped

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._file.close()

    # --- inside --------------------------------------------------------------------------------------------------------

    def _save_positions(self, db: sqlite3.Connection) -> None:
        for sink, position in list(self._positions.items()):
            db.execute("UPDATE cursor SET position = max(position, ?) WHERE sink = ?", (position, sink))
        db.execute(
            "DELETE FROM dead_letter WHERE entry <= (SELECT entry FROM dead_letter AS newer"
            " WHERE newer.sink = dead_letter.sink ORDER BY entry DESC LIMIT 1 OFFSET ?)",
            (DEAD_LETTERS_KEPT,),
        )

    def _safe(self, db: sqlite3.Connection) -> int:
        """Every sink has everything up to this id."""
        return min(self._positions.values(), default=_last_id(db))

    def _drop_aged(self, db: sqlite3.Connection, before_us: int) -> int:
        """One bite of what is old; it looks at the oldest rows only, so that it costs nothing when there is nothing to do."""
        head = f"SELECT id, at FROM entry WHERE id <= ? ORDER BY id LIMIT {BITE_ROWS}"  # noqa: S608 - our own
        query = f"DELETE FROM entry WHERE id IN (SELECT id FROM ({head}) WHERE at < ?)"  # noqa: S608 - our own
        return db.execute(query, (self._safe(db), before_us)).rowcount

    def _drop_oldest(self, db: sqlite3.Connection, order: Sequence[type[Record]]) -> tuple[str, list[int]]:
        """One bite of the oldest that every sink has; else of what is least missed, with the name of its kind. Its times."""

        def drop(source: str) -> list[int]:
            head = f"SELECT id FROM {source} ORDER BY id LIMIT {BITE_ROWS}"  # noqa: S608 - our own
            query = f"DELETE FROM entry WHERE id IN ({head}) RETURNING at"  # noqa: S608 - our own
            return [at for (at,) in db.execute(query)]

        if times := drop(f"entry WHERE id <= {self._safe(db)}"):
            return "", times
        for kind in order:
            if times := drop(_entries([kind])):
                return kind.__name__.lower(), times
        return "", []

    def _note_drop(self, kind: str, times: list[int]) -> bool:
        """Keeps account of a loss, once it is committed; whether anything was dropped at all."""
        if kind:
            loss = Loss(count=len(times), begin=moment(min(times)), end=moment(max(times)))
            self._dropped[kind] = loss | self._dropped.get(kind)
        return bool(times)

    def _used_bytes(self) -> int:
        with self._write_lock:
            (pages,) = self._writer.execute("PRAGMA page_count").fetchone()
            (free,) = self._writer.execute("PRAGMA freelist_count").fetchone()
        return (int(pages) - int(free)) * PAGE

    def _commit(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Makes a change in one transaction; on a full disk it makes room inside the file, and tries again."""
        with self._write_lock:
            for attempt in range(ATTEMPTS_ON_FULL_DISK):
                try:
                    return self._transact(change)
                except sqlite3.DatabaseError as error:
                    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                        raise
                    explained = self._file.explain(error)
                    last = attempt == ATTEMPTS_ON_FULL_DISK - 1
                    if last or not is_full(error) or not self._make_room():
                        raise explained from error
        raise AssertionError("the last attempt returns or raises")

    def _make_room(self) -> bool:
        """Drops one bite; deleting needs room as well, and if there is none the reserve gives it."""
        for _ in range(2):
            try:
                self._writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
                return self._note_drop(*self._transact(lambda db: self._drop_oldest(db, DROP_ON_FULL_DISK)))
            except sqlite3.OperationalError:
                if not self._file.release_reserve():
                    return False
        return False

    def _transact(self, change: Callable[[sqlite3.Connection], T]) -> T:
        db = self._writer
        try:
            db.execute("BEGIN IMMEDIATE")
            result = change(db)
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                db.execute("ROLLBACK")
            raise
        return result

    def _read(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._reading():
            return self._reader.execute(query, values).fetchall()

    @contextmanager
    def _looking_back(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for what may take long: nobody else waits for it."""
        with closing(self._file.connect()) as db:
            try:
                yield db
            except sqlite3.DatabaseError as error:
                raise self._file.explain(error) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._read_lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                raise self._file.explain(error) from error


def _insert(db: sqlite3.Connection, rows: list[Row], memory: Mapping[str, str] | None) -> int:
    db.executemany("INSERT OR IGNORE INTO entry (kind, tag, at, value, body) VALUES (?, ?, ?, ?, ?)", rows)
    if memory:
        db.executemany("INSERT OR REPLACE INTO memory VALUES (?, ?)", memory.items())
    return _last_id(db)


def _speakable(row: Row) -> Row:
    kind, tag, at, value, body = row
    tag, body = (text.encode(errors="replace").decode() for text in (tag, body))
    return kind, tag, at, value, body


def _last_id(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone()[0])


def _bury(db: sqlite3.Connection, sink: str, entry: int, reason: str) -> None:
    db.execute(
        "INSERT OR REPLACE INTO dead_letter SELECT ?, id, kind, tag, at, value, body, ? FROM entry WHERE id = ?",
        (sink, reason, entry),
    )


def _entries(kinds: Collection[type]) -> str:
    """Table and condition for some kinds; without the samples, which are many, the others are found by their index."""
    if Sample in kinds:
        return f"entry WHERE kind IN {_in(kinds)}"
    return f"entry INDEXED BY notable WHERE kind > 0 AND kind IN {_in(kinds)}"


def _in(kinds: Collection[type]) -> str:
    return "(" + ",".join(str(KINDS[kind]) for kind in sorted(kinds, key=lambda k: KINDS[k])) + ")"

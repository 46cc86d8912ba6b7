"""What would be said of a day that the service itself has kept? Its journal, judged again.

Everything that decides reached the fast lane as a sample, or under a `Mark`: the answers of the model lane and the commands of
operators. They are handed to a new lane in the order and with the moments that the journal has, so that the same
configuration gives the same alerts, to the byte, and a changed one shows what it would have changed. Nothing is forecast
anew, and nothing waits.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from detectors.records import Alert, Forecast, Mark, Record, Sample, Score, Status, Verdict
from stream.alarm_memory import dump
from stream.assemble import build_lane, restore
from stream.command import obey
from stream.journal.entry import KINDS, decode
from stream.set_back import renewed
from stream.sinks.mqtt import alert_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from config.load import Loaded
    from config.schema import Settings
    from detectors.alarm import Memory
    from stream.journal.journal import Journal
    from stream.lane import FastLane

__all__ = ["Outcome", "RecordedDayError", "is_journal", "judge_again"]

_MAGIC = b"SQLite format 3\0"
_SAVED_EVERY = 2000
"""Records of the recording from one write of what came of them to the next."""
_DECIDING = (Sample, Forecast, Verdict, Alert, Status, Score, Mark)


class RecordedDayError(Exception):
    """The journal cannot be judged again; the text says why and what to do."""


@dataclass(kw_only=True)
class Outcome:
    """What was told live and what is told now, each as the messages that are published."""

    site: str
    samples: int = 0
    runs: int = 0
    live: list[Alert] = field(default_factory=list)
    again: list[Alert] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether both are the same, to the byte."""
        return self.first_difference is None

    @property
    def first_difference(self) -> str | None:
        """The first alert that is not the same, told in a sentence."""
        messages = [[alert_message(alert, self.site) for alert in alerts] for alerts in (self.live, self.again)]
        for i, (live, again) in enumerate(zip(*messages, strict=False)):
            if live != again:
                return f"alert {i + 1} was: {self.live[i].text} It is now: {self.again[i].text}"
        longer, said = (
            (self.live, "was told live only") if len(messages[0]) > len(messages[1]) else (self.again, "is new")
        )
        shorter = min(map(len, messages))
        return None if len(longer) == shorter else f"alert {shorter + 1} {said}: {longer[shorter].text}"


def is_journal(path: Path) -> bool:
    """Whether a file is a database; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def judge_again(loaded: Loaded, path: Path, journal: Journal) -> Outcome:
    """Judges all that the journal at `path` has, which may be in use; what comes of it goes to `journal`.

    Raises RecordedDayError for a file that is no journal, or one without samples.
    """
    outcome = Outcome(site=loaded.settings.site)
    day = _Day(loaded.settings, journal, outcome)
    try:
        for record in _records(path):
            day.take(record)
        day.save()
    except (sqlite3.Error, ValueError, KeyError, IndexError) as error:
        raise RecordedDayError(f"{path}: expected a journal of Givre, found what cannot be read: {error}") from error
    if not outcome.samples:
        raise RecordedDayError(f"{path}: expected samples in it, found none")
    return outcome


class _Day:
    """One recording on its way through a lane; a service that was started again begins with a new one."""

    def __init__(self, settings: Settings, journal: Journal, outcome: Outcome) -> None:
        self._settings, self._journal, self._outcome = settings, journal, outcome
        self._memories: dict[str, Memory] = {}
        self._lane: FastLane = build_lane(settings, {})
        self._told_at: datetime | None = None
        self._forecasts = 0
        self._taken = 0

    def take(self, record: Record) -> None:
        """Hands one record to the lane, if it is one that decides."""
        at = self._told_at
        match record:
            case Sample():
                self._outcome.samples += 1
                self._told_at = None
                self._lane.offer(record)
            case Mark():
                self._mark(record)
            case Score() if at is not None:
                self._lane.score([record])
            case Verdict() if at is not None:
                self._lane.hear([record])
            case Forecast() if at is not None and self._forecasts:
                self._forecasts -= 1
                self._lane.expect(record, at, again=True)
            case Alert():
                self._outcome.live.append(record)
            case Status(subject="service"):
                self._turn(record)
        self._taken += 1
        if self._taken % _SAVED_EVERY == 0:
            self.save()

    def save(self) -> None:
        """Writes what has come together."""
        harvest = self._lane.harvest()
        self._outcome.again += [record for record in harvest.records if isinstance(record, Alert)]
        self._memories |= harvest.memories
        if harvest.records or harvest.memories:
            self._journal.append(harvest.records, memory=dump(harvest.memories))

    def _mark(self, mark: Mark) -> None:
        self._told_at, self._forecasts = mark.at, mark.forecasts
        if mark.back_s:
            self.save()
            back = timedelta(seconds=mark.back_s)
            self._lane, self._memories = renewed(self._lane, partial(build_lane, self._settings), back)
        self._lane.mark(mark.at, command=mark.command, forecasts=mark.forecasts)
        if mark.command:
            obey(mark.command, self._lane, mark.at)

    def _turn(self, status: Status) -> None:
        self._told_at = None
        if not status.ok:
            self._lane.advance(status.at)
            return
        self._outcome.runs += 1
        if self._outcome.runs > 1:
            self.save()
            self._lane = build_lane(self._settings, self._memories)
            restore(self._lane, self._journal, self._settings, status.at)


def _records(path: Path) -> Iterator[Record]:
    """Whatever decides, in the order in which it came; one moment of the file, whoever writes to it meanwhile."""
    kinds = ",".join(str(KINDS[kind]) for kind in _DECIDING)
    query = f"SELECT kind, tag, at, value, body FROM entry WHERE kind IN ({kinds}) ORDER BY id"  # noqa: S608 - our own numbers
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as db:
        for row in db.execute(query):
            yield decode(row)

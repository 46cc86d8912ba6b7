"""Are there more alarms than an operator can take, and which of them come again and again?

More than ten alarms raised in ten minutes are a flood, which is over when fewer than five are (ISA-18.2, EEMUA 191); an alarm
that is raised three times in a minute chatters. Both are told once when they begin and once when they end, not with each alarm.
Times are those of the alerts, and handed in.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from detectors.records import Alert, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from detectors.records import Record
    from stream.journal.journal import Journal

__all__ = [
    "CHATTER",
    "CHATTERS_FROM",
    "CHATTER_SPAN",
    "FLOOD",
    "PLANT",
    "SPAN",
    "Flood",
    "FloodWatch",
    "flood_watch",
    "raised",
]

SPAN = timedelta(minutes=10)
BEGINS_ABOVE = 10
ENDS_BELOW = 5
CHATTER_SPAN = timedelta(minutes=1)
CHATTERS_FROM = 3
MOST_NAMED = 3
LOOK_BACK = timedelta(hours=1)
"""Of a flood that began before that only the end is known after a restart."""
PLANT = "alarms."
FLOOD, CHATTER = f"{PLANT}flood", f"{PLANT}chatter"
"""Subjects of the statuses: of the plant, and not of Givre's own health."""


@dataclass(slots=True, kw_only=True)
class Flood:
    """One flood: from the first alarm of the ten minutes in which it was seen; `ended_at` is None while it lasts."""

    began_at: datetime
    ended_at: datetime | None = None
    names: Counter[str] = field(default_factory=Counter)

    @property
    def alarms(self) -> int:
        """How many alarms were raised in it."""
        return self.names.total()

    @property
    def most(self) -> str:
        """The alarms that were raised most often, with how often."""
        return ", ".join(f"{name} ({count})" for name, count in self.names.most_common(MOST_NAMED))


class FloodWatch:
    """Counts what is raised; `said` is what was last told of the two subjects, before a restart say."""

    def __init__(self, said: Iterable[Status] = ()) -> None:
        self.flood: Flood | None = None
        self.floods = 0
        """How many have begun."""
        self._recent: deque[tuple[datetime, str]] = deque()
        self._chatters: dict[str, datetime] = {}
        self._told = {status.subject: status.ok for status in said}
        self._over: Flood | None = None
        self._named = ""

    @property
    def recent(self) -> int:
        """Alarms raised in the last ten minutes."""
        return len(self._recent)

    @property
    def chattering(self) -> list[str]:
        """Names of the alarms that chatter, or did within ten minutes."""
        return sorted(self._chatters)

    def take(self, records: Sequence[Record]) -> None:
        """Takes what the fast lane has decided, in its order."""
        for record in records:
            if isinstance(record, Alert) and raised(record):
                self.pass_to(record.at)
                self._recent.append((record.at, record.alarm))
                if self.flood is not None:
                    self.flood.names[record.alarm] += 1
                elif len(self._recent) > BEGINS_ABOVE:
                    self.floods += 1
                    names = Counter(name for _, name in self._recent)
                    self.flood = Flood(began_at=self._recent[0][0], names=names)
                within = sum(name == record.alarm and record.at - at < CHATTER_SPAN for at, name in self._recent)
                if within >= CHATTERS_FROM:
                    self._chatters[record.alarm] = record.at

    def pass_to(self, now: datetime) -> None:
        """Lets time pass."""
        if self._recent and self._recent[-1][0] > now + SPAN:
            self._recent.clear()  # the clock was set back
            self._end(now)
        while self._recent and self._recent[0][0] <= now - SPAN:
            at, _ = self._recent.popleft()
            if len(self._recent) < ENDS_BELOW:
                self._end(at + SPAN)
        self._chatters = {name: at for name, at in self._chatters.items() if now - SPAN < at <= now + SPAN}

    def news(self, now: datetime) -> list[Status]:
        """What is to be told since the last call."""
        self.pass_to(now)
        flood, over, found = self.flood, self._over, []
        if flood is not None and self._told.get(FLOOD, True):
            found.append(
                _status(FLOOD, now, f"flood: {_count(flood)} since {_clock(flood.began_at)}; most often: {flood.most}")
            )
        elif flood is None and not self._told.get(FLOOD, True):
            said = "over" if over is None else f"over: {_count(over)} in {_minutes(over)}; most often: {over.most}"
            found.append(_status(FLOOD, now, said, ok=True))
        names = ", ".join(self.chattering)
        if names and names != self._named:
            found.append(
                _status(CHATTER, now, f"raised {CHATTERS_FROM} times a minute: {names}; give them a deadband or delays")
            )
        elif not names and not self._told.get(CHATTER, True):
            found.append(_status(CHATTER, now, "no alarm chatters", ok=True))
        self._named = names
        self._told |= {status.subject: status.ok for status in found}
        return found

    def _end(self, at: datetime) -> None:
        if self.flood is not None:
            self.flood.ended_at = max(at, self.flood.began_at)
            self._over, self.flood = self.flood, None


def flood_watch(journal: Journal, now: datetime) -> FloodWatch:
    """As it was when the service that wrote the journal stopped."""
    said = [s for subject in (FLOOD, CHATTER) for s in journal.history(kinds={Status}, tag=subject, limit=1)]
    watch = FloodWatch(status for status in said if isinstance(status, Status))
    watch.take(journal.history(kinds={Alert}, since=now - LOOK_BACK))
    return watch


def raised(alert: Alert) -> bool:
    """Whether an alert calls for an operator: the alarm is active now, and was not before."""
    return alert.state.active and not alert.previous.active


def _status(subject: str, at: datetime, detail: str, *, ok: bool = False) -> Status:
    return Status(subject=subject, ok=ok, detail=detail, at=at)


def _count(flood: Flood) -> str:
    return f"{flood.alarms} alarms raised"


def _minutes(flood: Flood) -> str:
    end = flood.ended_at or flood.began_at
    return f"{(end - flood.began_at).total_seconds() / 60:.0f} min"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"

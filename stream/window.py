"""What was the value of a tag at each step of its own regular grid?

Tags report by exception: between two reports the value is held, for at most `hold_s`; past that the tag is stale, and a
hole is a hole: the time axis is never squeezed and nothing is invented. The grid stands on whole multiples of the period
since 1970. A step that ends at T is closed once `now` is T + `lateness_s`, and is final then.

Policies for samples that do not come in order, each counted by the caller from the `Placement` it gets:

- *newest*: the usual case; its value is held from now on and is the one to judge.
- *out of order*: older than the newest report, and its step is still open: it takes its place there.
- *late*: its step is closed, and closed steps stay as they are. If it is the newest report all the same (*late newest*), its
  value is held from now on and is judged.
- *old*: the newest report of its tag, but made longer ago than it may be held (a retained message, a constant node at the
  first connection): kept as the last report, so that the tag is stale and says since when, and never judged as the present.
- *duplicate*: a source time that the tag has had already. The first report wins, the second is dropped.
- *future*: more than `AHEAD_S` ahead of now: a clock is wrong somewhere, and the sample is dropped.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from detectors.detector import Step
from detectors.records import Window

if TYPE_CHECKING:
    from detectors.records import Sample

__all__ = ["AHEAD_S", "Placement", "RollingWindow"]

AHEAD_S = 60.0
"""A source clock may be ahead of ours by so much."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Placement(StrEnum):
    """What became of a sample."""

    NEWEST = "newest"
    OUT_OF_ORDER = "out_of_order"
    LATE = "late"
    LATE_NEWEST = "late_newest"
    OLD = "old"
    DUPLICATE = "duplicate"
    FUTURE = "future"

    @property
    def dropped(self) -> bool:
        """Whether the sample is refused altogether."""
        return self in (Placement.DUPLICATE, Placement.FUTURE)

    @property
    def present(self) -> bool:
        """Whether it is the latest knowledge of its tag, fit to be judged as the present value."""
        return self in (Placement.NEWEST, Placement.LATE_NEWEST)


class _Report(NamedTuple):
    at_us: int
    value: float | None
    reason: str


class RollingWindow:
    """The steps of one tag: reports in, closed steps out, and the last `length` of them kept."""

    __slots__ = (
        "_hold_us",
        "_lateness_us",
        "_next_end_us",
        "_period_us",
        "_reports",
        "_values",
        "hold_s",
        "period_s",
        "tag",
    )

    def __init__(self, *, tag: str, period_s: float, hold_s: float, length: int, lateness_s: float) -> None:
        if not period_s >= 1e-3:
            raise ValueError(f"window of {tag}: expected a period of at least 0.001 s, found {period_s}")
        if length < 1:
            raise ValueError(f"window of {tag}: expected a length of at least 1 step, found {length}")
        self.tag = tag
        self.period_s = period_s
        self.hold_s = hold_s
        self._period_us = round(period_s * 1e6)
        self._hold_us = round(hold_s * 1e6)
        self._lateness_us = round(lateness_s * 1e6)
        self._values: deque[float] = deque(maxlen=length)
        # In source time order: the report held at the last closed step, then those of the open steps.
        self._reports: list[_Report] = []
        self._next_end_us: int | None = None

    @property
    def length(self) -> int:
        """How many closed steps are kept."""
        return self._values.maxlen or 1

    def known(self, steps: int) -> list[bool]:
        """Of each of the last steps, the newest first, whether it has a value; shorter where fewer have closed."""
        return [math.isfinite(value) for value, _ in zip(reversed(self._values), range(steps), strict=False)]

    @property
    def due_at(self) -> datetime | None:
        """When the next step closes; None before the first report."""
        return None if self._next_end_us is None else _moment(self._next_end_us + self._lateness_us)

    def offer(self, sample: Sample, now: datetime) -> Placement:
        """Takes a report at its place; steps that are due at `now` must have been closed before."""
        at_us, now_us = _micros(sample.source_at), _micros(now)
        if at_us > now_us + AHEAD_S * 1e6:
            return Placement.FUTURE
        report = _Report(at_us, sample.value, sample.reason)
        reports = self._reports
        if self._next_end_us is None:
            self._next_end_us = self._end_of(max(at_us, now_us - self._hold_us))
        late = at_us <= self._next_end_us - self._period_us
        if not reports or at_us > reports[-1].at_us:
            reports.append(report)
            if len(reports) > _COMPACT_ABOVE:
                self._compact()
            if at_us < now_us - self._hold_us:
                return Placement.OLD
            return Placement.LATE_NEWEST if late else Placement.NEWEST
        i = bisect_left(reports, at_us, key=lambda r: r.at_us)
        if reports[i].at_us == at_us:
            return Placement.DUPLICATE
        if late:
            return Placement.LATE
        reports.insert(i, report)
        return Placement.OUT_OF_ORDER

    def close(self, now: datetime) -> list[Step]:
        """Closes every step that is due, oldest first; after a long silence at most `length` of them."""
        if self._next_end_us is None:
            return []
        last_due_us = (_micros(now) - self._lateness_us) // self._period_us * self._period_us
        # Steps further back would fall out of the window at once.
        end_us = max(self._next_end_us, last_due_us - (self.length - 1) * self._period_us)
        steps = []
        while end_us <= last_due_us:
            steps.append(self._step(end_us))
            end_us += self._period_us
        self._next_end_us = end_us
        return steps

    def snapshot(self) -> Window | None:
        """The closed steps as a model reads them, holes as NaN; None before the first closed step."""
        if self._next_end_us is None or not self._values:
            return None
        return Window(
            tag=self.tag,
            period_s=self.period_s,
            end_at=_moment(self._next_end_us - self._period_us),
            values=tuple(self._values),
        )

    def _step(self, end_us: int) -> Step:
        i = bisect_right(self._reports, end_us, key=lambda r: r.at_us) - 1
        if i < 0:
            self._values.append(math.nan)
            return Step(tag=self.tag, end_at=_moment(end_us), value=None, age_s=None, reason="no_report")
        report = self._reports[i]
        del self._reports[:i]
        age_us = end_us - report.at_us
        value, reason = report.value, report.reason
        if age_us > self._hold_us:
            value, reason = None, "stale"
        self._values.append(math.nan if value is None else value)
        return Step(tag=self.tag, end_at=_moment(end_us), value=value, age_s=age_us / 1e6, reason=reason)

    def _end_of(self, at_us: int) -> int:
        return -(-at_us // self._period_us) * self._period_us

    def _compact(self) -> None:
        """Keeps the last report of each step: the only one that a closed step can show. Bounds the memory of a flood."""
        last = {self._end_of(report.at_us): report for report in self._reports}
        self._reports = list(last.values())


_COMPACT_ABOVE = 64


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _moment(us: int) -> datetime:
    return _EPOCH + us * _MICROSECOND

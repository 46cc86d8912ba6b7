"""Does a sensor show the same value for longer than it ever does?

Frozen is not constant: a set point or a closed valve may stand still for days. So a tag is measured against its own history -
the longest time for which it has shown exactly the same value lately - and against its siblings of the asset: where they
stand still as well the plant may be at rest, and the tag is given four times as long. How long a value was shown is taken from
the reports, not from the steps: between two steps a live sensor may come back to the same figure.

The history is bounded (a figure an hour), stands still while the tag does, and takes next to nothing from a run that was
longer than allowed: a stuck sensor stays found for as long as it is stuck, and is found the next time.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from detectors.facts import Facts
from detectors.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.detector import Step
    from detectors.line import Line
    from detectors.records import Sample

__all__ = ["Company", "Frozen"]

MIN_RUNS = 32
"""Changes seen before the tag's own history is believed."""
MARGIN = 1.5
"""Times the longest run of the history that a run may last where much is known; three times with just enough."""
FEW_RUNS_MARGIN = 48.0
LEAST_STEPS = 1
"""Steps that a run lasts at least before it is called frozen: below, there is nothing to see of it in the window."""
STILL_FACTOR = 4.0
"""Times as long where the siblings stand still too."""
ALONE_FACTOR = 2.0
"""Times as long where there are no siblings."""
MOVES = 3
"""Changes of siblings during a run that say that the plant is not at rest."""
CREEP = 1.2
"""Times the longest run that a run of any length may bring the history to."""
OVERDUE = 1.2
"""Times the heartbeat after which a report is missing."""
HOURS = 48

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Company:
    """The tags of an asset: how often any of them has changed, and how many they are."""

    def __init__(self) -> None:
        self.changes = 0
        self.size = 0


class Frozen:
    """How long one tag has shown the same value: an observer of its reports, judged at its steps.

    Where its `line` reports anew what stands (a heartbeat), a value is known to stand while it does so; where not, for as long
    as the line says anything at all. With `after_s` the history is not asked. At the values `at_rest` (a flow meter's 0) the
    tag may stand still for ever.
    """

    rule = "frozen"

    def __init__(
        self,
        *,
        company: Company,
        line: Line,
        period_s: float,
        hold_s: float,
        resolution: float = 0.0,
        after_s: float | None = None,
        at_rest: Sequence[float] = (),
    ) -> None:
        self._company = company
        self._line = line
        company.size += 1
        self._floor_s = LEAST_STEPS * period_s
        self._hold = timedelta(seconds=hold_s)
        self._resolution = resolution
        self._after_s = after_s
        self._at_rest = tuple(at_rest)
        self._value: float | None = None
        self._begun_at = self._reported_at = _EPOCH
        self._whole = False
        self._changes = 0
        self._others = 0
        self._runs = 0
        self._longest_s = 0.0
        self._hours: deque[tuple[int, float]] = deque(maxlen=HOURS)

    def see(self, sample: Sample) -> None:
        """Takes a report: the run goes on, or is over and is learnt from unless reports were missing from it."""
        at, value = sample.source_at, sample.value
        if at <= self._reported_at:
            return
        since = at - self._reported_at
        if since > self._hold:
            self._whole = False
        elif value is not None and value == self._value:
            self._line.heartbeat = max(self._line.heartbeat, since)
        self._reported_at = at
        if value is None:
            self._whole = False
        elif self._value is None or abs(value - self._value) > self._resolution:
            if self._value is not None:
                self._company.changes += 1
                self._changes += 1
                if self._whole and not self._resting(self._value):
                    self._learn((at - self._begun_at).total_seconds(), at)
            # Nobody knows for how long the first value had been there.
            self._whole = self._value is not None
            self._value, self._begun_at = value, at
            self._others = self._company.changes - self._changes

    @property
    def limit_s(self) -> float | None:
        """How long a run may last while the siblings move; None where too little is known."""
        if self._after_s is not None:
            return self._after_s
        if self._runs < MIN_RUNS:
            return None
        return max(self._floor_s, (MARGIN + FEW_RUNS_MARGIN / self._runs) * self._longest_s)

    def judge(self, step: Step) -> Verdict | None:
        """How long the value has stood, in units of how long it may."""
        if step.value is None or self._value is None:
            return None
        stood_s = max(0.0, (self._known_at(step.end_at) - self._begun_at).total_seconds())
        limit_s = self.limit_s
        if self._resting(self._value):
            return Verdict(tag=step.tag, rule=self.rule, at=step.end_at, score=0.0, value=step.value)
        if limit_s is None:
            # It has just moved, whatever is known of it.
            known = stood_s < self._floor_s
            return Verdict(tag=step.tag, rule=self.rule, at=step.end_at, score=0.0, value=step.value) if known else None
        moves = self._company.changes - self._changes - self._others
        if self._company.size == 1:
            limit_s *= ALONE_FACTOR
        elif moves < MOVES:
            limit_s *= STILL_FACTOR
        score = stood_s / limit_s
        facts = None
        if score > 1:
            history = () if self._after_s is not None else (("longest_s", self._longest_s),)
            facts = Facts(figures=(("stood_s", stood_s), *history, ("sibling_moves", moves)))
        return Verdict(tag=step.tag, rule=self.rule, at=step.end_at, score=score, value=step.value, facts=facts)

    def _known_at(self, now: datetime) -> datetime:
        """Until when it is known that the value stood: silence is no standing."""
        if heartbeat := self._line.heartbeat:
            return now if now - self._reported_at <= OVERDUE * heartbeat else self._reported_at
        return now if self._line.spoke_at is None else min(now, self._line.spoke_at)

    def _resting(self, value: float) -> bool:
        return any(abs(value - rest) <= self._resolution for rest in self._at_rest)

    def _learn(self, length_s: float, at: datetime) -> None:
        if (limit_s := self.limit_s) is not None and length_s > limit_s:
            length_s = CREEP * self._longest_s
        self._runs += 1
        hour = (at - _EPOCH) // timedelta(hours=1)
        if self._hours and self._hours[-1][0] == hour:
            if length_s > self._hours[-1][1]:
                self._hours[-1] = (hour, length_s)
        else:
            self._hours.append((hour, length_s))
            self._longest_s = max(longest for _, longest in self._hours)
        self._longest_s = max(self._longest_s, length_s)

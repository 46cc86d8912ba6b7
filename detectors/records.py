"""What flows through Givre: the frozen records that every other module stands on.

A *sample* is one value of one tag. A *window* is its regular snapshot on the tag's own period. A *forecast* says what
comes next, as quantiles; a *score* how surprising a value then was. A *verdict* is about one moment, an alarm has memory
(`detectors.alarm`), an *alert* is the message about a transition of an alarm. A tag is named ``asset/tag``, an alarm
``asset/tag/rule``; all times are aware UTC datetimes; all values are in the tag's engineering unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from detectors.facts import Facts

__all__ = [
    "LEVELS",
    "AlarmState",
    "Alert",
    "Explanation",
    "Forecast",
    "Mark",
    "Priority",
    "Quality",
    "Record",
    "Reply",
    "Sample",
    "Score",
    "Standing",
    "Status",
    "Verdict",
    "Window",
]

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Quantile levels of every forecast, in rising order; the fourth is the median."""


class Quality(StrEnum):
    """How far a sample may be trusted (OPC UA Part 8, severity of a status code)."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


class Priority(StrEnum):
    """How fast an operator must act (ISA-18.2)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class AlarmState(StrEnum):
    """States of an alarm (ISA-18.2)."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned_unacknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"

    @property
    def active(self) -> bool:
        """Whether the condition behind the alarm still holds."""
        return self in (AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One report of one tag.

    `value` is finite, and None exactly when `quality` is BAD: a Bad sample is a gap with a `reason`, never a value.
    """

    tag: str
    value: float | None
    source_at: datetime
    arrived_at: datetime
    quality: Quality = Quality.GOOD
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The latest closed steps of a tag on its own period, oldest first; a hole is NaN, and the axis is never squeezed.

    `values[-1]` is the value at `end_at`, `values[-2]` the one `period_s` before, and so on. `normal` says of each step
    whether it may be learnt from; a step in alarm, held or bad is False: forecast from it while it lasts, never learn from it.
    Empty, the usual case, means that all are normal.
    """

    tag: str
    period_s: float
    end_at: datetime
    values: tuple[float, ...]
    normal: tuple[bool, ...] = ()

    @property
    def disturbed(self) -> bool:
        """Whether the last step is not normal."""
        return bool(self.normal) and not self.normal[-1]

    @property
    def heeded(self) -> tuple[float, ...]:
        """The values to forecast from: all of them while things are not normal, and afterwards what was not is a hole."""
        if not self.normal or self.disturbed:
            return self.values
        return tuple(v if normal else math.nan for v, normal in zip(self.values, self.normal, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one forecaster expects of a tag at the next steps.

    `quantiles` has one row per step ahead and one column per level of `LEVELS`, each row in rising order. `paths`, where
    a forecaster draws them, has one row per drawn future and one column per step: only they can say how likely a limit is
    crossed at *some* step. Neither ever has a NaN, and both have the same number of steps.
    """

    tag: str
    forecaster: str
    made_at: datetime
    period_s: float
    quantiles: tuple[tuple[float, ...], ...]
    paths: tuple[tuple[float, ...], ...] = ()

    @property
    def horizon(self) -> int:
        """Number of steps ahead."""
        return len(self.quantiles)

    def at(self, lead: int) -> datetime:
        """Moment that step `lead` (1 is the next one) speaks of: computed, never generated."""
        return self.made_at + timedelta(seconds=lead * self.period_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What the value of one step was to a forecaster that knew everything before it.

    `pit` is the probability integral transform (Dawid 1984): the share of what was expected that lies below the value, half
    of its own cell included; uniform on 0..1 where the forecaster is right. `log_score` is the log of the predictive density
    at the value, in nats, per engineering unit; `log_probability` that of its cell alone. `outside` marks a value that had
    left the grid: it is scored as the outermost cell on its side, the least that can be said.
    """

    tag: str
    forecaster: str
    at: datetime
    value: float
    pit: float
    log_score: float
    log_probability: float
    outside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one rule says of one tag at one moment.

    `score` is normalised: 0 as expected, 1 at the edge of what is allowed, above 1 a violation. `low` and `high` are
    what was expected, `value` what was found; a breach verdict also has the `probability` of leaving the band within the
    horizon and the `lead_s` until it does. `facts` is what the rule knows beyond that, if anything.
    """

    tag: str
    rule: str
    at: datetime
    score: float
    value: float | None = None
    low: float | None = None
    high: float | None = None
    probability: float | None = None
    lead_s: float | None = None
    facts: Facts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """The message about one transition of one alarm.

    `sequence` counts the transitions of this alarm from 1 and is never reused, so that a repeated delivery is known for
    what it is. `since` is when the condition began, `at` when the transition took effect (after the on- or off-delay).
    """

    tag: str
    rule: str
    sequence: int
    state: AlarmState
    previous: AlarmState
    at: datetime
    since: datetime
    priority: Priority
    text: str
    verdict: Verdict | None = None
    by: str = ""
    unit: str = ""

    @property
    def alarm(self) -> str:
        """Name of the alarm, ``asset/tag/rule``."""
        return f"{self.tag}/{self.rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How one part of Givre itself is doing: a source, a sink, the model lane, the service."""

    subject: str
    ok: bool
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Of one tag at one lead: whom the panel of forecasters follows, and how well that went.

    `weights` are those of the members, by name, adding up to 1. `coverage80` and `coverage90` are the shares of values that lay
    within the published bands, `skill` is 1 - (pinball loss of the panel / that of persistence): above nought is better, 1
    is perfect. All three are means that forget; None until a step was judged (`steps` counts them), and `skill` where there
    is no persistence to be compared with, or that has made no error.
    """

    tag: str
    at: datetime
    lead: int
    lead_s: float
    steps: int
    weights: tuple[tuple[str, float], ...]
    coverage80: float | None
    coverage90: float | None
    skill: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment at which the fast lane was told something that is no sample.

    That is an operator's `command`, what follows of the model lane (scores, verdicts, and so many `forecasts`), or that the
    clock was set back by `back_s`. With the samples it is all that decides, so that what was recorded can be judged again.
    """

    at: datetime
    command: str = ""
    forecasts: int = 0
    back_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An alert at more length, some seconds later: by the language model (`by_model`), every figure checked, else by its facts.

    `sequence` and `at` are those of the alert.
    """

    tag: str
    rule: str
    sequence: int
    at: datetime
    text: str
    by_model: bool

    @property
    def alarm(self) -> str:
        """Name of the alarm, ``asset/tag/rule``."""
        return f"{self.tag}/{self.rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of an operator's command, and so who did what, when and why.

    `id` is the sender's, one for each command; empty where none could be read. `via` is where it came in: a sink, or the
    terminal. `done` is False where nothing was changed, and `text` says why.
    """

    id: str
    at: datetime
    command: str
    alarm: str
    by: str
    reason: str
    via: str
    done: bool
    text: str


Record = Sample | Forecast | Score | Verdict | Alert | Status | Standing | Mark | Explanation | Reply
"""Everything the journal keeps and the sinks deliver."""

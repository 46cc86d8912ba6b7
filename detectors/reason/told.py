"""What is there to tell of a transition? Its facts, and the few forms of them that all languages share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from detectors.facts import Facts
from detectors.records import AlarmState

if TYPE_CHECKING:
    from datetime import datetime

    from detectors.records import Alert, Verdict

__all__ = ["LONGEST", "SILENT", "Found", "Told", "digits", "short", "span"]

LONGEST = 199
"""Characters of a sentence."""
LONGEST_NAME = 24
LONGEST_WORD = 40
OLD_S = 60.0
"""A value so much older than the transition that speaks of it is said to be old."""
SILENT = (AlarmState.SHELVED, AlarmState.OUT_OF_SERVICE, AlarmState.SUPPRESSED)

_NOTHING = Facts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The facts of one transition of one alarm; `until` and `note` are those of a silence, times are UTC.

    Of a suppression `note` is the alarm that stands instead. `accepted`: what stood was taken for normal by an operator.
    """

    tag: str
    rule: str
    state: AlarmState
    previous: AlarmState
    at: datetime
    since: datetime
    unit: str
    verdict: Verdict | None
    by: str = ""
    until: datetime | None = None
    note: str = ""
    accepted: bool = False

    @classmethod
    def of(cls, alert: Alert) -> Told:
        """What an alert tells of itself."""
        return cls(
            tag=alert.tag,
            rule=alert.rule,
            state=alert.state,
            previous=alert.previous,
            at=alert.at,
            since=alert.since,
            unit=alert.unit,
            verdict=alert.verdict,
            by=alert.by,
        )

    @property
    def facts(self) -> Facts:
        """Those of the verdict."""
        return self.verdict.facts or _NOTHING if self.verdict is not None else _NOTHING

    def figure(self, name: str) -> float | None:
        """A figure of the verdict's facts."""
        return self.facts.figure(name)

    @property
    def found(self) -> bool:
        """Whether the verdict is one on what is wrong: an alarm that waits for its off-delay knows a later one."""
        return self.verdict is not None and self.verdict.score > 1

    @property
    def lasted_s(self) -> float:
        """From the beginning of the condition to the transition."""
        return (self.at - self.since).total_seconds()

    @property
    def age_s(self) -> float | None:
        """How old what was measured is, where that is worth telling."""
        age_s = 0.0 if self.verdict is None else (self.at - self.verdict.at).total_seconds()
        return age_s if age_s >= OLD_S else None


class Found(NamedTuple):
    """What is wrong: the words, what may be left out where they are too many, and how the sentence goes on to the time."""

    core: str
    extras: tuple[str, ...] = ()
    then: str = ""

    def before(self, end: str) -> str:
        """The whole, with as many of the extras as there is room for."""
        room = LONGEST - len(self.core) - len(end)
        said = self.core
        for extra in self.extras:
            if len(extra) <= room:
                said += extra
                room -= len(extra)
        return said + end


def digits(value: float) -> str:
    """Five significant digits and no exponent, but for what is very large or very small."""
    if 1e5 <= abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.5g}" if value else "0"


def span(seconds: float, day: str) -> str:
    """Two units of time at most; `day` is the sign for days."""
    whole = max(round(seconds), 0)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} {day} {whole % 86_400 // 3600} h"


def short(text: str, most: int = LONGEST_NAME) -> str:
    """A name or a word of somebody else's, its middle left out where it is long."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[: most - 1 - half]}…{text[-half:]}"

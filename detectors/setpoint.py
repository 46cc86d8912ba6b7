"""Is the value where the plant was told to bring it? The band follows a set point that is itself a tag.

A change of the set point gives the plant `settle_s` to follow: until then nothing is held against the value, and an alarm
that stood against the old set point is over. A set point that is not reported anew stays as it was last told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from detectors.limits import Tolerance

if TYPE_CHECKING:
    from datetime import datetime

    from detectors.breach import Breach
    from detectors.records import Forecast, Sample, Verdict

__all__ = ["FollowingBreach", "FollowingTolerance", "Setpoint"]


class Setpoint:
    """The last set point told, `value` until then; a change of more than `slack` begins the settling time anew."""

    def __init__(self, *, value: float | None = None, settle_s: float, slack: float = 0.0) -> None:
        self.value = value
        self._settle = timedelta(seconds=settle_s)
        self._slack = slack
        self._anchor: float | None = None
        self._told_at: datetime | None = None
        self._settled_at: datetime | None = None

    def see(self, sample: Sample) -> None:
        """Takes a report of the set point's tag; one without a value, or older than the last, changes nothing."""
        if sample.value is None or (self._told_at is not None and sample.source_at <= self._told_at):
            return
        self.value, self._told_at = sample.value, sample.source_at
        if self._anchor is None:
            self._anchor = sample.value
        elif abs(sample.value - self._anchor) > self._slack:
            self._anchor, self._settled_at = sample.value, sample.source_at + self._settle

    def settling(self, at: datetime) -> bool:
        """Whether the plant may still be on its way at `at`."""
        return self._settled_at is not None and at < self._settled_at


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingTolerance:
    """`tolerance` about the set point that holds now; no verdict before it was told."""

    setpoint: Setpoint
    tolerance: float
    rule: str = "tolerance"

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance: expected more than 0, found {self.tolerance}")

    def judge(self, sample: Sample) -> Verdict | None:
        """Distance from the set point, divided by the tolerance; 0 while the plant settles."""
        wanted = self.setpoint.value
        if wanted is None:
            return None
        verdict = Tolerance(setpoint=wanted, tolerance=self.tolerance, rule=self.rule).judge(sample)
        if verdict is None or not self.setpoint.settling(sample.source_at):
            return verdict
        return replace(verdict, score=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingBreach:
    """A predicted breach of a band that follows its set point; `breach` gives the rest of the rule."""

    setpoint: Setpoint
    tolerance: float
    breach: Breach

    @property
    def rule(self) -> str:
        """As the rule of a fixed band is called."""
        return self.breach.rule

    def judge(self, forecast: Forecast) -> Verdict | None:
        """Verdict on the band as it is now; none before a set point was told, or while the plant settles."""
        wanted = self.setpoint.value
        if wanted is None or self.setpoint.settling(forecast.made_at):
            return None
        return replace(self.breach, low=wanted - self.tolerance, high=wanted + self.tolerance).judge(forecast)

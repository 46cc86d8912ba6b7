"""Is the value inside the band, or on the right side of the level, that is allowed?

The band is set point +/- tolerance, both ends allowed. Limits are judged on every sample as it arrives and never wait for
a model. A Bad sample has no value and gets no verdict: the alarm stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detectors.records import Verdict

if TYPE_CHECKING:
    from detectors.records import Sample

__all__ = ["Level", "Tolerance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The band `setpoint` +/- `tolerance`; the score is the distance from the set point in tolerances."""

    setpoint: float
    tolerance: float
    rule: str = "tolerance"

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance: expected more than 0, found {self.tolerance}")

    @property
    def low(self) -> float:
        """Lower end of the band."""
        return self.setpoint - self.tolerance

    @property
    def high(self) -> float:
        """Upper end of the band."""
        return self.setpoint + self.tolerance

    def judge(self, sample: Sample) -> Verdict | None:
        """Distance from the set point, divided by the tolerance."""
        if sample.value is None:
            return None
        return Verdict(
            tag=sample.tag,
            rule=self.rule,
            at=sample.source_at,
            score=abs(sample.value - self.setpoint) / self.tolerance,
            value=sample.value,
            low=self.low,
            high=self.high,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level that must not be passed: upwards where `limit` is above `reference`, downwards where it is below.

    The score is the way from the reference, where it is 0, to the limit, where it is 1; on the other side it stays 0.
    """

    limit: float
    reference: float
    rule: str

    def __post_init__(self) -> None:
        if self.limit == self.reference:
            raise ValueError(f"{self.rule}: expected a reference other than the limit {self.limit}")

    def judge(self, sample: Sample) -> Verdict | None:
        """How far the value is on its way to the limit."""
        if sample.value is None:
            return None
        above = self.limit > self.reference
        return Verdict(
            tag=sample.tag,
            rule=self.rule,
            at=sample.source_at,
            score=max(0.0, (sample.value - self.reference) / (self.limit - self.reference)),
            value=sample.value,
            low=None if above else self.limit,
            high=self.limit if above else None,
        )

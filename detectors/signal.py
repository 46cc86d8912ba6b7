"""Is the signal itself sound: of good quality, inside what the sensor can show, and still reporting?

These rules speak of the sensor and the line, not of the plant. What they refuse never becomes a value of a window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from detectors.facts import Facts
from detectors.records import Quality, Sample, Verdict

if TYPE_CHECKING:
    from detectors.detector import Step
    from detectors.line import Line

__all__ = ["Physical", "Soundness", "Stale"]

_QUALITY_SCORE = {Quality.GOOD: 0.0, Quality.UNCERTAIN: 0.5, Quality.BAD: 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Soundness:
    """Quality as the source gives it: Bad is a violation, Uncertain is half way."""

    rule: str = "quality"

    def judge(self, sample: Sample) -> Verdict | None:
        """Verdict on the quality alone."""
        return Verdict(
            tag=sample.tag,
            rule=self.rule,
            at=sample.source_at,
            score=_QUALITY_SCORE[sample.quality],
            value=sample.value,
            facts=Facts(code=sample.reason) if sample.reason else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Physical:
    """What the sensor can show at all, both ends included: an open circuit may read a legal-looking 150 C."""

    low: float
    high: float
    rule: str = "physical"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"physical: expected low below high, found low {self.low} and high {self.high}")

    def judge(self, sample: Sample) -> Verdict | None:
        """Distance from the middle of the range, in half ranges."""
        if sample.value is None:
            return None
        half = (self.high - self.low) / 2
        return Verdict(
            tag=sample.tag,
            rule=self.rule,
            at=sample.source_at,
            score=abs(sample.value - (self.low + half)) / half,
            value=sample.value,
            low=self.low,
            high=self.high,
        )

    def sieve(self, sample: Sample) -> Sample:
        """The sample itself, or a Bad one in its place if its value cannot be."""
        if sample.value is None or self.low <= sample.value <= self.high:
            return sample
        return replace(sample, value=None, quality=Quality.BAD, reason="outside_physical_range")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """No report for longer than a value may be held; the score is the age in hold times.

    With `line` there is no verdict while the tag's whole source is silent: that is one alarm, the source's own.
    """

    hold_s: float
    line: Line | None = None
    rule: str = "stale"

    def judge(self, step: Step) -> Verdict | None:
        """Age of the last report; a tag that has never reported has no verdict."""
        if step.age_s is None:
            return None
        if self.line is not None and step.age_s > self.hold_s and self.line.explains(step.tag, step.end_at):
            return None
        return Verdict(
            tag=step.tag,
            rule=self.rule,
            at=step.end_at,
            score=step.age_s / self.hold_s,
            value=step.value,
            facts=Facts(figures=(("age_s", step.age_s), ("hold_s", self.hold_s))) if step.age_s > self.hold_s else None,
        )

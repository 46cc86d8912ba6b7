"""What every detector promises: it looks at one thing and says how far it is from what is allowed.

There are four kinds, by what they look at: a sample the moment it arrives, a step of the grid once it is closed, the steps
of one or several tags over time, a forecast. All judge in engineering units, give one normalised score (0 as expected, 1 at
the edge, above 1 a violation) and keep no memory of alarms: delays and hysteresis belong to `detectors.alarm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from detectors.records import Forecast, Sample, Verdict

__all__ = ["ForecastDetector", "Observer", "SampleDetector", "SeriesDetector", "Step", "StepDetector"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One closed step of a tag's grid: final, whatever arrives later.

    `value` is the held value at `end_at`, or None for a hole; `age_s` is how long before `end_at` the last report was made
    (None if there never was one); `reason` says why it is a hole (``stale``, or the quality reason of a Bad sample).
    """

    tag: str
    end_at: datetime
    value: float | None
    age_s: float | None
    reason: str = ""


class SampleDetector(Protocol):
    """Judges a sample as it arrives, in microseconds. No verdict (None) where it cannot say, on a Bad sample for example."""

    @property
    def rule(self) -> str:
        """Name of the rule, the last part of the alarm's name."""

    def judge(self, sample: Sample) -> Verdict | None:
        """Verdict on one sample; the detector itself is not changed."""


class StepDetector(Protocol):
    """Judges a closed step."""

    @property
    def rule(self) -> str:
        """Name of the rule."""

    def judge(self, step: Step) -> Verdict | None:
        """Verdict on one closed step."""


class SeriesDetector(Protocol):
    """Judges from the steps that it remembers, of one tag or of several that belong together."""

    @property
    def rule(self) -> str:
        """Name of the rule."""

    def take(self, step: Step) -> None:
        """Takes a closed step of one of its tags; those of one tag come in the order of their ends."""

    def judge(self) -> Verdict | None:
        """Verdict on what was taken; asked once all the steps of a moment are closed."""


class Observer(Protocol):
    """Remembers reports for detectors that need to know more than one tag, or more than one report."""

    def see(self, sample: Sample) -> None:
        """Is told of each report that was not dropped, Bad ones included, in the order of arrival."""


class ForecastDetector(Protocol):
    """Judges a forecast."""

    @property
    def rule(self) -> str:
        """Name of the rule."""

    def judge(self, forecast: Forecast) -> Verdict | None:
        """Verdict on one forecast."""

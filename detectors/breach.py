"""Is the band about to be left, how likely is that, and when?

The probability is the share of drawn futures that leave the band for two steps running within the horizon, the lead time
the median first crossing among them. One step alone is not believed: a mixture weighs its members anew at every lead, and where
one of them is biased at a single lead, half of all futures jump out of the band there and back in at the next. A forecaster that
draws no futures gives a lower bound: the largest probability, read off its quantiles, of being outside at two neighbouring steps.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from operator import and_
from statistics import median_low
from typing import TYPE_CHECKING

from detectors.records import LEVELS, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.records import Forecast

__all__ = ["Breach"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """The band `low`..`high` is left within the horizon with at least `probability`; the score is their ratio."""

    low: float
    high: float
    probability: float
    rule: str = "breach"

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise ValueError(f"breach: expected a probability between 0 and 1, found {self.probability}")
        if not self.low < self.high:
            raise ValueError(f"breach: expected low below high, found low {self.low} and high {self.high}")

    def judge(self, forecast: Forecast) -> Verdict | None:
        """Probability and lead time of leaving the band; `at` is the moment the forecast was made.

        No verdict on a forecast that is unsure already of the next step: one whose 5-95 % there is wider than the band itself
        knows too little to call anything a breach.
        """
        if forecast.quantiles[0][-1] - forecast.quantiles[0][0] > self.high - self.low:
            return None
        probability, lead = (
            self._from_paths(forecast.paths) if forecast.paths else self._from_quantiles(forecast.quantiles)
        )
        return Verdict(
            tag=forecast.tag,
            rule=self.rule,
            at=forecast.made_at,
            score=probability / self.probability,
            low=self.low,
            high=self.high,
            probability=probability,
            lead_s=None if lead is None else lead * forecast.period_s,
        )

    def _from_paths(self, paths: Sequence[Sequence[float]]) -> tuple[float, int | None]:
        crossings = [lead for path in paths if (lead := self._first_crossing(path)) is not None]
        return len(crossings) / len(paths), median_low(crossings) if crossings else None

    def _first_crossing(self, path: Sequence[float]) -> int | None:
        outside = [not self.low <= x <= self.high for x in path]
        both = map(and_, outside, outside[1:] or outside)
        return next((lead for lead, left in enumerate(both, start=1) if left), None)

    def _from_quantiles(self, quantiles: Sequence[Sequence[float]]) -> tuple[float, int | None]:
        single = [_cdf(row, self.low) + 1 - _cdf(row, self.high) for row in quantiles]
        outside = list(map(min, single, single[1:] or single))
        worst = max(outside)
        # The first step that is as likely outside as not is the best single guess of the crossing.
        lead = next((lead for lead, p in enumerate(outside, start=1) if p >= min(worst, 0.5)), None)
        return worst, lead if worst > 0 else None


def _cdf(row: Sequence[float], x: float) -> float:
    """P(X < x) from one row of quantiles: linear between levels, 0 and 1 beyond the outermost by half their tail."""
    if x <= row[0]:
        return 0.0 if x < row[0] else LEVELS[0]
    if x >= row[-1]:
        return 1.0 if x > row[-1] else LEVELS[-1]
    i = bisect_left(row, x)
    width = row[i] - row[i - 1]
    share = (x - row[i - 1]) / width if width > 0 else 1.0
    return LEVELS[i - 1] + share * (LEVELS[i] - LEVELS[i - 1])

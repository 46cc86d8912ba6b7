"""Is the measured value where the forecast said it would be?

The forecast of a step is the newest one made before it. The distance from the median counts in half widths of the 5-95 %
band on its side, and never in less than `minimum` engineering units: a band may be very narrow, and a deviation too small
to matter is no alarm. Persistence belongs to the alarm's on-delay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.records import LEVELS, Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from detectors.detector import Step
    from detectors.records import Forecast

__all__ = ["Deviation"]

_LOW, _MEDIAN, _HIGH = LEVELS.index(0.05), LEVELS.index(0.5), LEVELS.index(0.95)


class Deviation:
    """Residual against the forecast band of one tag; remembers one horizon of expectations and no more."""

    rule = "deviation"

    def __init__(self, *, minimum: float) -> None:
        if not minimum > 0:
            raise ValueError(f"deviation: expected a minimum above 0, found {minimum}")
        self._minimum = minimum
        self._expected: dict[datetime, tuple[float, ...]] = {}

    def expect(self, forecast: Forecast) -> None:
        """Takes a forecast: it replaces what older ones said of the same steps, and of all later ones."""
        kept = {at: row for at, row in self._expected.items() if at <= forecast.made_at}
        kept.update((forecast.at(lead), row) for lead, row in enumerate(forecast.quantiles, start=1))
        self._expected = kept

    def judge(self, step: Step) -> Verdict | None:
        """Verdict on a measured step; none for a hole, or where no forecast spoke of it."""
        row = self._expected.get(step.end_at)
        if len(self._expected) > 1:
            self._expected = {at: kept for at, kept in self._expected.items() if at > step.end_at}
        if row is None or step.value is None:
            return None
        residual = step.value - row[_MEDIAN]
        half = row[_HIGH] - row[_MEDIAN] if residual > 0 else row[_MEDIAN] - row[_LOW]
        return Verdict(
            tag=step.tag,
            rule=self.rule,
            at=step.end_at,
            score=abs(residual) / max(half, self._minimum),
            value=step.value,
            low=row[_MEDIAN] - max(row[_MEDIAN] - row[_LOW], self._minimum),
            high=row[_MEDIAN] + max(row[_HIGH] - row[_MEDIAN], self._minimum),
        )

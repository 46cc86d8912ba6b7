"""What does the time of day, of the week and of the year say? Waves of a few lengths, and the days of the week, as regressors.

Times are UTC, as everywhere: where clocks change, a plant's day moves by an hour twice a year, and the errors of the
regression (`detectors.forecasters.harmonic`) carry that until the next fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.season import DAY_S, WEEK_S, YEAR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Layout", "layout"]

DAY_WAVES = 6
YEAR_WAVES = 3
"""Seen day by day, a year is climate, which is smooth."""
MONTHLY_WAVES = 6
"""Seen month by month, it is also holidays and the lengths of months."""
SEEN = 2.0
"""A season is taken for one where the history holds it so many times."""
_FIRST_WEEKDAY = 3
"""1970 began on a Thursday; Monday is 0."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which regressors there are: waves a day, whether days of the week differ, waves a year."""

    day_waves: int
    weekdays: bool
    year_waves: int

    def regressors(self, at_s: Array) -> tuple[Array, Array]:
        """(n, q) at times in seconds since 1970, and how rough each one is (q,): 0 for the level, which is never shrunk."""
        columns = [np.ones(len(at_s))]
        rough = [0.0]
        for k in range(1, self.year_waves + 1):
            columns += _wave(at_s, YEAR_S / k)
            rough += [float(k * k)] * 2
        day = np.floor(at_s / DAY_S)
        weekday = np.mod(day + _FIRST_WEEKDAY, 7.0)
        kinds = [np.ones(len(at_s))]
        if self.weekdays:
            days = [(weekday == i) - 1 / 7 for i in range(6)]
            columns += days
            rough += [1.0] * 6
            # Saturdays and Sundays have a shape of their own over the day.
            kinds += [(weekday == 5).astype(np.float64), (weekday == 6).astype(np.float64)]
        for kind in kinds:
            for k in range(1, self.day_waves + 1):
                columns += [kind * wave for wave in _wave(at_s, DAY_S / k)]
                rough += [1.0] * 2
        return np.stack(columns, axis=1), np.array(rough)


def layout(period_s: float, length: int) -> Layout:
    """What a history of so many steps can tell."""
    span_s = period_s * length
    seen_day = span_s >= SEEN * DAY_S
    most = MONTHLY_WAVES if period_s > WEEK_S else YEAR_WAVES
    return Layout(
        day_waves=min(DAY_WAVES, int(DAY_S / period_s / 2)) if seen_day else 0,
        weekdays=period_s <= DAY_S and span_s >= SEEN * WEEK_S,
        year_waves=min(most, int(YEAR_S / period_s / 2)) if span_s >= SEEN * YEAR_S else 0,
    )


def _wave(at_s: Array, length_s: float) -> list[Array]:
    angle = at_s * (2.0 * np.pi / length_s)
    return [np.sin(angle), np.cos(angle)]

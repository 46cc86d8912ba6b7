"""Does a tolerance mean anything? It is compared with the sensor's noise and with what the value does within a sampling period.

A band narrower than the noise is left by the sensor alone; one narrower than what the value changes from one sample to the
next is left before anyone could know of it. The noise is taken from second differences (Rice 1984 uses first ones), with the
median for a scale, so that neither a trend nor a fault counts; where the value itself is rough it is an upper bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Suitability", "measure"]

NOISES = 3.0
"""Standard deviations of the noise that a tolerance must leave room for."""
USUAL = 0.95
"""Share of the changes within a sampling period that it must leave room for."""
ENOUGH = 100
"""Differences that such figures are worth something from."""
_MEDIAN_TO_DEVIATION = 1.4826
_SECOND_DIFFERENCE = math.sqrt(6.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suitability:
    """Of one tag on its grid: standard deviation of the noise, and changes of the value within `period_s`, in its unit."""

    period_s: float
    steps: int
    noise: float
    mean_change: float
    usual_change: float

    @property
    def least(self) -> float:
        """The smallest tolerance that means something, rounded up to two digits."""
        return _rounded_up(max(NOISES * self.noise, self.usual_change))

    def suits(self, tolerance: float) -> bool:
        """Whether a tolerance is above both the noise and the natural change."""
        return tolerance >= NOISES * self.noise and tolerance >= self.usual_change


def measure(values: NDArray[np.float64], *, period_s: float) -> Suitability | None:
    """Figures of a tag's values on a regular grid, holes NaN; None where there are too few next to each other."""
    changes = np.abs(np.diff(values))
    changes = changes[np.isfinite(changes)]
    bends = np.abs(np.diff(values, n=2))
    bends = bends[np.isfinite(bends)]
    if len(bends) < ENOUGH:
        return None
    return Suitability(
        period_s=period_s,
        steps=int(np.isfinite(values).sum()),
        noise=_MEDIAN_TO_DEVIATION * float(np.median(bends)) / _SECOND_DIFFERENCE,
        mean_change=float(changes.mean()),
        usual_change=float(np.quantile(changes, USUAL)),
    )


def _rounded_up(value: float) -> float:
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit - 1e-9) * unit, 12)

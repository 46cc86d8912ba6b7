"""Do the bands still hold as often as they say? Their widths follow what was missed, online.

Quantile tracking of conformal inference (Gibbs & Candes 2021; Angelopoulos, Candes & Tibshirani 2023, the P part of conformal
PID control). Each level but the median has one number c, nought at first, and lies exp(c) times as far from the median as the
forecast put it. Its score is the logarithm of how far out a value was, in units of the forecast's own distance; c follows the
quantile of that score: every miss widens by `rate` * (1 - miss share), every other step narrows by `rate` * miss share. So on
any sequence of T steps in which c stays within `LARGEST`, the share of misses is at most
LARGEST / (rate * T) above what it should be.

A value that lies exactly on its quantile is no miss. Where a forecast is certain (no distance), nothing is corrected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detectors.records import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["LARGEST", "corrected", "learnt"]

LARGEST = 4.0
"""No band is made wider or narrower by more than a factor of e^4 = 55 to either side."""

_MEDIAN = LEVELS.index(0.5)
_LOW = np.arange(_MEDIAN)
_HIGH = np.arange(_MEDIAN + 1, len(LEVELS))
_MISSES = np.minimum(LEVELS, 1.0 - np.array(LEVELS))
"""Share of values that lie beyond each level, on its side."""


def corrected(quantiles: Array, widths: Array) -> Array:
    """Quantiles with their distances from the median corrected: both (..., 7); sorted, finite, the median untouched.

    `widths` holds c for each level (that of the median is not used); all nought is no correction.
    """
    middle = quantiles[..., _MEDIAN : _MEDIAN + 1]
    with np.errstate(over="ignore"):
        found: Array = middle + (quantiles - middle) * np.exp(np.clip(widths, -LARGEST, LARGEST))
    found[..., _MEDIAN] = quantiles[..., _MEDIAN]
    found = np.clip(found, -1e300, 1e300)
    # Levels are tracked each on its own: an outer one is never inside of an inner one.
    found[..., _HIGH] = np.maximum.accumulate(found[..., _MEDIAN:], axis=-1)[..., 1:]
    found[..., _LOW] = np.minimum.accumulate(found[..., _MEDIAN::-1], axis=-1)[..., :0:-1]
    return found


def learnt(widths: Array, quantiles: Array, value: Array, *, rate: Array | float) -> Array:
    """The widths after a value: `widths` and the forecast's own `quantiles` (..., 7), `value` and `rate` (...).

    Where the value or the forecast is NaN nothing is learnt.
    """
    given = corrected(quantiles, widths)
    x = np.asarray(value)[..., None]
    missed = np.zeros(widths.shape, dtype=bool)
    missed[..., _LOW] = x < given[..., _LOW]
    missed[..., _HIGH] = x > given[..., _HIGH]
    known = np.isfinite(x) & np.isfinite(quantiles)
    certain = quantiles == quantiles[..., _MEDIAN : _MEDIAN + 1]
    step = np.asarray(rate)[..., None] * (missed - _MISSES)
    found: Array = np.clip(np.where(known & ~certain, widths + step, widths), -LARGEST, LARGEST)
    found[..., _MEDIAN] = 0.0
    return found

"""Do the bands still hold as often as they say? Their widths follow what was missed, online.

Quantile tracking of conformal inference (Gibbs & Candes 2021; Angelopoulos, Candes & Tibshirani 2023, the P part of conformal
PID control). Each level but the median has one number c, nought at first, and lies exp(c) times as far from the median as the
forecast put it. Its score is the logarithm of how far out a value was, in units of the forecast's own distance; c follows the
quantile of that score: every miss widens by `rate` * (1 - miss share), every other step narrows by `rate` * miss share. So on any
sequence of T steps in which c stays within `LARGEST`, the share of misses, each step weighed by its rate, is at most
LARGEST / (mean rate * T) above what it should be.

The rate is not the same throughout: a small one keeps bands still, a large one follows a plant that has changed. The mean surplus
of misses over the last steps tells which it is: beyond `ALARM` standard deviations of what chance makes of it the rate grows
with its square, up to `FASTEST` times. Measured on bands that are suddenly three times too narrow: 80 % are held again (on
average over 20 steps) after 160 steps in place of 550.

A value that lies exactly on its quantile is no miss. Where a forecast is certain (no distance), nothing is corrected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detectors.records import LEVELS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["LARGEST", "corrected", "learnt"]

LARGEST = 4.0
"""No band is made wider or narrower by more than a factor of e^4 = 55 to either side."""
ALARM = 1.5
FASTEST = 8.0
MEMORY = 0.02
"""Share of the latest step in the mean surplus of misses."""

_MEDIAN = LEVELS.index(0.5)
_LOW = np.arange(_MEDIAN)
_HIGH = np.arange(_MEDIAN + 1, len(LEVELS))
_MISSES = np.minimum(LEVELS, 1.0 - np.array(LEVELS))
"""Share of values that lie beyond each level, on its side."""
_CHANCE = np.sqrt(_MISSES * (1.0 - _MISSES) * MEMORY / (2.0 - MEMORY))
"""Standard deviation of the mean surplus where misses are independent and as many as they should be."""


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


def learnt(
    widths: Array, surplus: Array, quantiles: Array, value: Array, *, rate: float, overlap: ArrayLike = 1.0
) -> tuple[Array, Array]:
    """The widths and the mean surplus of misses after a value.

    `widths`, `surplus` and the forecast's own `quantiles` are (..., 7), `value` and `overlap` (...): how many forecasts speak
    of the same step, whose misses come together. Where the value or the forecast is NaN nothing is learnt.
    """
    given = corrected(quantiles, widths)
    x = np.asarray(value)[..., None]
    root = np.sqrt(np.asarray(overlap))[..., None]
    missed = np.zeros(widths.shape, dtype=bool)
    missed[..., _LOW] = x < given[..., _LOW]
    missed[..., _HIGH] = x > given[..., _HIGH]
    certain = quantiles == quantiles[..., _MEDIAN : _MEDIAN + 1]
    learns = np.isfinite(x) & np.isfinite(quantiles) & ~certain
    error = missed - _MISSES
    mean = np.where(learns, surplus + MEMORY * (error - surplus), surplus)
    # By the surplus before this step: a rate that knew of the miss itself would favour misses.
    faster = np.clip((surplus / (ALARM * _CHANCE * root)) ** 2, 1.0, FASTEST)
    found: Array = np.clip(np.where(learns, widths + rate / root * faster * error, widths), -LARGEST, LARGEST)
    found[..., _MEDIAN] = mean[..., _MEDIAN] = 0.0
    return found, mean

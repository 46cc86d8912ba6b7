"""How far was a forecast from what then happened, and how honest was its band?

Small pure functions over arrays: `measured` has one row per origin and one column per lead (N, H), `quantiles` one more axis
for the levels of `LEVELS` (N, H, 7). A step that was not measured is NaN and counts nowhere; a figure of which nothing was
measured is NaN. The error is measured - median, so a positive one is a forecast that was too low.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detectors.records import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = [
    "Accuracy",
    "Error",
    "Scale",
    "Summary",
    "absolute_error",
    "coverage",
    "crps",
    "mase_scale",
    "pinball",
    "summarise",
]

MEDIAN = LEVELS.index(0.5)
_WEIGHTS = np.diff([0.0, *(np.array(LEVELS[1:]) + LEVELS[:-1]) / 2, 1.0])
"""Share of the unit interval that is nearest to each level: the weights of the integral over all levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a series is like as a whole; the variance is that of the values at hand, not an estimate (divided by n)."""

    mean: float
    median: float
    standard_deviation: float
    variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Absolute errors of the median."""

    mean: float
    maximum: float
    minimum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Values onto a range of 0 to 1, by the lowest and highest value of the history before the held-out part."""

    low: float
    high: float

    @classmethod
    def of(cls, history: Array) -> Scale:
        """The scale of a history; of a constant one, or none, the width is 1."""
        known = history[np.isfinite(history)]
        if not len(known):
            return cls(low=0.0, high=1.0)
        low, high = float(known.min()), float(known.max())
        return cls(low=low, high=high if high > low else low + 1.0)

    def normalise(self, values: Array) -> Array:
        """The values on this scale: outside of 0 to 1 where they leave the history's range."""
        return (values - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The field's figures, of all leads together or of one.

    `mase` is the mean absolute error over that of the seasonal naive forecast in the history (Hyndman & Koehler 2006);
    `pinball` the mean over the levels of `LEVELS`; `crps` the continuous ranked probability score from the quantiles;
    `coverage80` and `coverage90` the share of the measured values within those bands, ends included; `log_score` the mean
    logarithm of the probability given to the measured value's cell (higher is better); `count` how many values were measured.
    """

    count: int
    mean_absolute_error: float
    mase: float
    pinball: float
    crps: float
    coverage80: float
    coverage90: float
    log_score: float = math.nan


def summarise(values: Array) -> Summary:
    """Mean, median, standard deviation and variance of what is known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Summary(mean=math.nan, median=math.nan, standard_deviation=math.nan, variance=math.nan)
    return Summary(
        mean=float(known.mean()),
        median=float(np.median(known)),
        standard_deviation=float(known.std()),
        variance=float(known.var()),
    )


def absolute_error(measured: Array, median: Array) -> Error:
    """Mean, largest and smallest absolute error; the arrays have the same shape, whatever it is."""
    errors = np.abs(measured - median)
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        return Error(mean=math.nan, maximum=math.nan, minimum=math.nan)
    return Error(mean=float(errors.mean()), maximum=float(errors.max()), minimum=float(errors.min()))


def pinball(measured: Array, quantiles: Array) -> Array:
    """Pinball loss at each level (Koenker & Bassett 1978), shape of `quantiles`; NaN where nothing was measured."""
    residual = measured[..., None] - quantiles
    levels = np.array(LEVELS)
    loss: Array = np.maximum(levels * residual, (levels - 1) * residual)
    return loss


def crps(measured: Array, quantiles: Array) -> Array:
    """Twice the integral of the pinball loss over all levels, each level standing for those nearest to it; shape (N, H).

    (Gneiting & Raftery 2007, eq. 28.) Seven levels say little of the tails: the outermost two stand for all beyond them.
    """
    score: Array = 2.0 * (pinball(measured, quantiles) * _WEIGHTS).sum(axis=-1)
    return score


def coverage(measured: Array, quantiles: Array, *, share: float) -> float:
    """Share of the measured values within the central band that should hold `share` of them (0.8 or 0.9)."""
    margin = (1 - share) / 2
    low = LEVELS.index(round(margin, 6))
    high = LEVELS.index(round(1 - margin, 6))
    known = np.isfinite(measured)
    if not known.any():
        return math.nan
    inside = (measured >= quantiles[..., low]) & (measured <= quantiles[..., high])
    return float(inside[known].mean())


def mase_scale(history: Array, *, season: int = 1) -> float:
    """Mean absolute change over one season in the history; NaN where it is zero or unknown (there is no scale then)."""
    if len(history) <= season:
        return math.nan
    changes = np.abs(history[season:] - history[:-season])
    changes = changes[np.isfinite(changes)]
    mean = float(changes.mean()) if len(changes) else 0.0
    return mean if mean > 0 else math.nan


def accuracy(measured: Array, quantiles: Array, *, scale: float, log_scores: Array | None = None) -> Accuracy:
    """All of the field's figures; `scale` is that of `mase_scale`, `log_scores` has the shape of `measured`."""
    known = np.isfinite(measured)
    values, rows = measured[known], quantiles[known]
    if not len(values):
        nan = math.nan
        return Accuracy(
            count=0, mean_absolute_error=nan, mase=nan, pinball=nan, crps=nan, coverage80=nan, coverage90=nan
        )
    error = absolute_error(values, rows[:, MEDIAN]).mean
    return Accuracy(
        count=len(values),
        mean_absolute_error=error,
        mase=error / scale,
        pinball=float(pinball(values, rows).mean()),
        crps=float(crps(values, rows).mean()),
        coverage80=coverage(values, rows, share=0.8),
        coverage90=coverage(values, rows, share=0.9),
        log_score=math.nan if log_scores is None else float(log_scores[known].mean()),
    )

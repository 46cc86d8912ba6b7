"""What do the last values alone say of the next ones? A direct linear regression for each lead, blind to clock and calendar.

It learns a rhythm from the values themselves, where that shows in the lags, and so keeps up with a process whose hours
have changed; the harmonic regression (`detectors.forecasters.harmonic`) is better where they have not.

Where nothing ever drifted a regression takes every drift for a wave that will turn. One that is steeper than any before
(`detectors.forecasters.trend`) is taken off, the regression says how the rest goes on, and the drift is put back as a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.fitted import FittedForecaster
from detectors.forecasters.lag_regression import lag_weights
from detectors.forecasters.season import DAY_S
from detectors.forecasters.trend import LONGEST, drift, usual_rise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detectors.forecasters.fit import Past

    Array = NDArray[np.float64]

__all__ = ["Autoregression"]

LAGS = (48, 120)
"""Fewest and most; in between a day and a few steps."""


class Autoregression(FittedForecaster):
    """Linear regression on the last values. It remembers 6000 steps: 48 to 96 kB per tag."""

    name = "autoregression"
    patience = 128

    def __init__(self, *, limit: int = 6000, samples: int = 16, seed: int = 0) -> None:
        super().__init__(limit=limit, samples=samples, seed=seed)

    def _fit(self, values: Array, end_s: float, period_s: float) -> dict[str, Array] | None:  # noqa: ARG002 # blind to the clock
        lags = min(max(LAGS[0], round(DAY_S / period_s) + 4), LAGS[1], len(values) // 4)
        level = float(np.median(values))
        weights = lag_weights(values - level, lags=lags, leads=self.leads)
        return {
            "weights": weights,
            "level": level * (1.0 - weights.sum(axis=0)),
            "usual_rise": usual_rise(values),
            "context": np.array(float(max(lags, LONGEST))),
            "season": np.array(0.0),
        }

    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        weights, level = numbers["weights"][:, :horizon], numbers["level"][:horizon]
        values = past.values[:, -len(weights) :]
        rise, span = drift(past.values, numbers["usual_rise"], past.holes)
        if not rise.any():
            plain: Array = values @ weights + level
            return plain
        # Nought up to where the drift begins.
        risen = np.maximum(np.arange(values.shape[1]) - (values.shape[1] - span)[:, None], 0) * rise[:, None]
        ahead = rise[:, None] * np.arange(1, horizon + 1)
        found: Array = (values - risen) @ weights + level + risen[:, -1:] + ahead
        return found

"""What do the last values alone say of the next ones? A direct linear regression for each lead, blind to clock and calendar.

It learns a rhythm from the values themselves, where that shows in the lags, and so keeps up with a process whose hours
have changed; the harmonic regression (`detectors.forecasters.harmonic`) is better where they have not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.fitted import FittedForecaster
from detectors.forecasters.lag_regression import lag_weights
from detectors.forecasters.season import DAY_S

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
            "context": np.array(float(lags)),
            "season": np.array(0.0),
        }

    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        found: Array = past.values @ numbers["weights"][:, :horizon] + numbers["level"][:horizon]
        return found

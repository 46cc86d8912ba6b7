"""What comes next if the last day, week or year repeats itself? The value of the same time of the season before.

Which season, and how many of them back, is chosen for each lead by what has been off least over the history (mean
absolute difference): a week for the next days, the year for the next months. Where no season is known yet, the last
value is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.fitted import FittedForecaster
from detectors.forecasters.season import seasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detectors.forecasters.fit import Past

    Array = NDArray[np.float64]

__all__ = ["SeasonalNaive"]


class SeasonalNaive(FittedForecaster):
    """The value of a season ago. It remembers two years of hours: 280 to 560 kB per tag."""

    name = "seasonal"
    patience = 256

    def __init__(self, *, limit: int = 17_568, samples: int = 16, seed: int = 0) -> None:
        super().__init__(limit=limit, samples=samples, seed=seed)

    def _fit(self, values: Array, end_s: float, period_s: float) -> dict[str, Array]:  # noqa: ARG002 # the time of day is not looked at
        # A season that was seen twice has been compared with itself once.
        found = seasons(period_s, longest=(len(values) - 1) // 2)
        leads = np.arange(1, self.leads + 1)
        if not found:
            back = leads
        else:
            lags = np.array([season * -(-leads // season) for season in found])
            loss = {lag: _loss(values, lag) for lag in np.unique(lags).tolist()}
            losses = np.array([[loss[lag] for lag in row] for row in lags.tolist()])
            back = lags[np.argmin(losses, axis=0), np.arange(self.leads)]
        context = int((back - leads).max()) + 1
        return {
            "back": back.astype(np.float64),
            "context": np.array(float(context)),
            "season": np.array(float(found[0] if found else 0)),
        }

    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        leads = np.arange(1, horizon + 1)
        at = leads - numbers["back"][:horizon].astype(np.int64) - 1
        found: Array = past.values[:, at]
        return found


def _loss(values: Array, lag: int) -> float:
    """Mean absolute difference at a lag; infinite where the history is no longer than that."""
    return float(np.abs(values[lag:] - values[:-lag]).mean()) if lag < len(values) else np.inf

"""What can be seen of a tag's last values and of the clock, each number one feature of a table?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.season import DAY_S, YEAR_S, seasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detectors.forecasters.fit import Past

    Array = NDArray[np.float64]

__all__ = ["CLOSEST", "Lookback"]

LAGS = 24
"""So many of the last values, each as its distance to the last one."""
SPANS = (4, 6, 12, 24, 96)
"""Over so many last values the mean, and the mean change, is a feature."""
CLOSEST = SPANS[-1] + 1
"""Values that are looked at closely; farther back only the seasons are."""


class Lookback:
    """Features from rows of values; `numbers` holds which differences are formed (`of` makes them)."""

    def __init__(self, numbers: Mapping[str, Array]) -> None:
        self.numbers = numbers

    @classmethod
    def of(cls, period_s: float, *, context: int, leads: NDArray[np.int64]) -> Lookback:
        """What rows of `context` values can show: lags, and what happened a season ago until each of the `leads`."""
        pairs = [(lag, 0) for lag in range(1, min(LAGS, context))]
        for season in seasons(period_s, longest=context - 1):
            pairs.append((season, 0))
            for lead in leads.tolist():
                whole = season * -(-lead // season)
                if whole < context:
                    pairs.append((whole - lead, whole))
        later, former = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
        return cls({"later": later, "former": former})

    def features(self, past: Past) -> Array:
        """The features (n, q)."""
        values = past.values
        later, former = (-1 - self.numbers[name].astype(np.int64) for name in ("later", "former"))
        near = values[:, -CLOSEST:]
        level = near[:, 1:] - near[:, -1:]
        changes = np.abs(near[:, 1:] - near[:, :-1])
        spans = [span for span in SPANS if span < near.shape[1]]
        means = [part[:, -span:].sum(axis=1, keepdims=True) / span for part in (level, changes) for span in spans]
        day = past.ends_s[:, None] / DAY_S
        whole = np.floor(day)
        year = past.ends_s[:, None] / YEAR_S
        moved = values[:, later] - values[:, former]
        return np.concatenate((near[:, -1:], moved, *means, day - whole, whole % 7.0, year - np.floor(year)), axis=1)

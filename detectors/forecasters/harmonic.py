"""What do the calendar and the last values say together? A regression on waves, and one of its errors on their own lags.

First the values are regressed on the time of day, week and year, so that outliers and holidays count little (Huber's
weights). What is left over is forecast from its last values (`detectors.forecasters.lag_regression`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.calendar_waves import Layout, layout
from detectors.forecasters.fitted import FittedForecaster
from detectors.forecasters.lag_regression import lag_weights
from detectors.forecasters.season import DAY_S, seasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detectors.forecasters.fit import Past

    Array = NDArray[np.float64]

__all__ = ["Harmonic", "HarmonicModel"]

ROUGHNESS = 0.3
"""How strongly waves are shrunk, the more the shorter they are: in values that would have to speak for them."""
HUBER = 1.5
"""Errors beyond so many spreads count less, in proportion."""
PASSES = 6
LAGS = (24, 120)
"""Lags of the errors, fewest and most; in between a day and a few steps."""
ROWS = 6000
"""The weights of the lags are found from so many of the latest steps at most."""


class Harmonic(FittedForecaster):
    """Harmonic regression with errors from their own lags. It remembers two years of hours: 280 to 560 kB per tag."""

    name = "harmonic"
    patience = 256

    def __init__(self, *, limit: int = 17_568, samples: int = 16, seed: int = 0) -> None:
        super().__init__(limit=limit, samples=samples, seed=seed)
        self._model = HarmonicModel(leads=self.leads)

    def _fit(self, values: Array, end_s: float, period_s: float) -> dict[str, Array] | None:
        return self._model.fit(values, end_s, period_s)

    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        return self._model.predict(numbers, past, horizon)


class HarmonicModel:
    """The regression of one tag, as numbers, and what follows from them; it keeps what the calendar said of a few moments."""

    def __init__(self, *, leads: int) -> None:
        self._leads = leads
        self._seen: dict[tuple[object, ...], Array] = {}

    def fit(self, values: Array, end_s: float, period_s: float) -> dict[str, Array]:
        """What is found in a history without holes, whose last value is that at `end_s`."""
        count = len(values)
        lags = min(max(LAGS[0], round(DAY_S / period_s) + 4), LAGS[1]) if period_s <= DAY_S else LAGS[0]
        lags = min(lags, count // 4)
        chosen = layout(period_s, count)
        at_s: Array = end_s - period_s * np.arange(count - 1, -1, -1, dtype=np.float64)
        regressors, rough = chosen.regressors(at_s)
        waves = _robust(regressors, values, ROUGHNESS * rough)
        left = values - regressors @ waves
        return {
            "waves": waves,
            "layout": np.array([chosen.day_waves, chosen.weekdays, chosen.year_waves], dtype=np.float64),
            "weights": lag_weights(left[-ROWS:], lags=lags, leads=self._leads),
            "context": np.array(float(lags)),
            "season": np.array(float(next(iter(seasons(period_s, longest=count // 2)), 0))),
        }

    def predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        """The expected values (n, horizon); the rows of `past` follow each other."""
        rows, context = past.values.shape
        expected = self._regressors(numbers["layout"], past) @ numbers["waves"]
        if rows == 1:
            before, ahead = expected[None, :context], expected[None, context : context + horizon]
        else:
            before = np.lib.stride_tricks.sliding_window_view(expected, context)[:rows]
            ahead = np.lib.stride_tricks.sliding_window_view(expected[context:], horizon)[:rows]
        found: Array = ahead + (past.values - before) @ numbers["weights"][:, :horizon]
        return found

    def _regressors(self, chosen: Array, past: Past) -> Array:
        """From the first value of the first row to the last lead of the last one: the rows of `past` follow each other."""
        rows, context = past.values.shape
        end_s = float(past.ends_s[-1])
        key = (*chosen.tolist(), end_s, past.period_s, rows, context)
        known = self._seen.get(key)
        if known is None:
            steps = np.arange(2 - rows - context, self._leads + 1, dtype=np.float64)
            day_waves, weekdays, year_waves = (int(x) for x in chosen)
            known, _ = Layout(day_waves, bool(weekdays), year_waves).regressors(end_s + past.period_s * steps)
            # Tags on one grid ask for the same; what was asked for some steps ago is not asked for again.
            if len(self._seen) >= 8:
                self._seen = {}
            self._seen[key] = known
        return known


def _robust(regressors: Array, values: Array, shrink: Array) -> Array:
    """Ridge regression with Huber's weights, by reweighting."""
    weight: Array = np.ones(len(values))
    found: Array = np.zeros(regressors.shape[1])
    for _ in range(PASSES):
        weighted = regressors.T * weight
        gram = weighted @ regressors
        gram[np.diag_indices_from(gram)] += shrink + 1e-9 * len(values)
        found[:] = np.linalg.solve(gram, weighted @ values)
        off = np.abs(values - regressors @ found)
        spread = 1.4826 * float(np.median(off))
        weight = np.minimum(1.0, HUBER * spread / np.maximum(off, 1e-12)) if spread > 1e-9 else weight
    return found

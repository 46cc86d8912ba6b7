"""What comes next if the tag is an ARIMA process? The orders that information criteria choose, with a season and without.

Orders and constants are found by statsforecast's AutoARIMA (Hyndman & Khandakar 2008) over the latest part of the
history, the slow part, and only in a fit. With the constants given, a forecast is a linear map of the last values: the
errors of the process are worked out over the context from nought (conditional least squares), then the recursion runs
ahead. As with smoothing, the map is found once, from unit impulses, so that a step costs one product. At each lead the
model is taken, the one with a season or the one without, that was off less over the history.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.forecasters.fitted import FittedForecaster
from detectors.forecasters.season import seasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detectors.forecasters.fit import Past

    Array = NDArray[np.float64]

__all__ = ["Arima"]

LATEST = (600, 1000)
"""Steps that the constants are found from: without a season, and with one at most."""
LONGEST_SEASON = 168
CONTEXT = 512
LARGEST_WEIGHT = 100.0
"""A map with a larger weight is that of a process that cannot be inverted."""
LEAST_SPREAD = 1e-6
"""Values, in units of the tag's spread, that lie closer together stand still: there is no process to be found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Process:
    """`w_t = sum ar_i w_(t-i) + e_t + sum ma_j e_(t-j)`, where w is what is left of `value - mean - drift * t` after differences.

    `differences` (k,) are the weights of the last values, nearest first, in the value expected by them alone; `ar` and `ma` are
    nearest first too, with the seasonal terms multiplied out.
    """

    differences: Array
    ar: Array
    ma: Array
    mean: float
    drift: float


class Arima(FittedForecaster):
    """ARIMA with a season or without. It remembers 2048 steps: 16 to 32 kB per tag, and at most 256 kB for the map of a tag.

    Raises ImportError where statsforecast is not installed (the extra `panel`).
    """

    name = "arima"
    patience = 256
    once = True

    def __init__(self, *, limit: int = 2048, samples: int = 16, seed: int = 0) -> None:
        super().__init__(limit=limit, samples=samples, seed=seed)
        import statsforecast  # noqa: F401, PLC0415 # heavy: only where there is such a forecaster, and soon if it is not there

    def _fit(self, values: Array, end_s: float, period_s: float) -> dict[str, Array] | None:  # noqa: ARG002 # blind to the clock
        # A season is believed in where a fit sees four of it.
        found = seasons(period_s, longest=min(LONGEST_SEASON, len(values) // 4))
        season = found[0] if found else 0
        context = min(CONTEXT, len(values), max(64, 8 * season))
        maps = []
        for length in (0, season) if season else (0,):
            process = _process(values, length)
            made = None if process is None else _map(process, context, self.leads)
            if made is not None:
                maps.append(made)
        if not maps:
            return None
        losses = np.stack([_losses(values, weights, level) for weights, level in maps])
        best = losses.argmin(axis=0)
        return {
            "weights": np.stack([maps[k][0][:, lead] for lead, k in enumerate(best.tolist())], axis=1),
            "level": np.array([maps[k][1][lead] for lead, k in enumerate(best.tolist())]),
            "context": np.array(float(context)),
            "season": np.array(float(season)),
        }

    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        found: Array = past.values @ numbers["weights"][:, :horizon] + numbers["level"][:horizon]
        return found


def _process(values: Array, season: int) -> _Process | None:
    """What AutoARIMA finds; None where it finds nothing."""
    from statsforecast.models import AutoARIMA  # noqa: PLC0415 # seconds to import, in the first fit

    latest = values[-min(max(LATEST[0], 8 * season), LATEST[1]) :]
    if float(np.ptp(latest)) < LEAST_SPREAD:
        return None
    bounds: dict[str, Any] = {"max_p": 3, "max_q": 3, "nmodels": 20}
    if season:
        bounds = {"max_p": 2, "max_q": 2, "max_P": 1, "max_Q": 1, "nmodels": 10, "D": 1, "method": "CSS"}
    with warnings.catch_warnings():
        # Of models that it tries and drops it also says where they did not converge.
        warnings.simplefilter("ignore")
        try:
            model = AutoARIMA(season_length=max(season, 1), approximation=True, **bounds).fit(latest).model_
        except (ValueError, ArithmeticError, IndexError, np.linalg.LinAlgError):
            return None  # what it raises where no model fits
    inner, named = model["model"], model["coef"]
    return _Process(
        differences=np.asarray(inner["delta"], dtype=np.float64),
        ar=np.asarray(inner["phi"], dtype=np.float64),
        ma=np.asarray(inner["theta"], dtype=np.float64),
        mean=float(named.get("intercept", 0.0)),
        drift=float(named.get("drift", 0.0)),
    )


def _map(process: _Process, context: int, leads: int) -> tuple[Array, Array] | None:
    """Weights (context, leads) of the last values, oldest first, and what is added (leads,); None if they grow out of bounds."""
    total = context + leads
    # One row per step; columns are the impulses.
    values = np.zeros((total, context))
    values[:context] = np.eye(context)
    left = np.zeros((total, context))
    errors = np.zeros((total, context))
    before = len(process.differences)
    begin = before + len(process.ar)
    terms = [
        [(int(i) + 1, weights[i]) for i in np.flatnonzero(weights)]
        for weights in (process.differences, process.ar, process.ma)
    ]
    differences, ar, ma = terms
    for t in range(before, total):
        expected = sum((weight * values[t - back] for back, weight in differences), np.zeros(context))
        known = sum((weight * left[t - back] for back, weight in ar), np.zeros(context)) if t >= begin else 0.0
        known = known + sum((weight * errors[t - back] for back, weight in ma if back <= t), np.zeros(context))
        if t < context:
            left[t] = values[t] - expected
            errors[t] = left[t] - known if t >= begin else 0.0
        else:
            left[t] = known
            values[t] = expected + known
    weights = values[context:].T.copy()
    if not np.isfinite(weights).all() or np.abs(weights).max() > LARGEST_WEIGHT:
        return None
    line = process.mean + process.drift * np.arange(total)
    return weights, line[context:] - line[:context] @ weights


def _losses(values: Array, weights: Array, level: Array) -> Array:
    """Mean absolute error at each lead (leads,) over the history; infinite at leads that it is too short for."""
    context, leads = weights.shape
    views = np.lib.stride_tricks.sliding_window_view(values, context)[:-1]
    said = views @ weights + level
    out = np.full(leads, np.inf)
    for lead in range(1, min(leads, len(views)) + 1):
        out[lead - 1] = np.abs(values[context - 1 + lead :] - said[: len(views) - lead + 1, lead - 1]).mean()
    return out

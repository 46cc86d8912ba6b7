"""What comes next if level, trend and season each move on slowly? Exponential smoothing, the best of its family for the tag.

Additive Holt-Winters in error-correction form (Hyndman, Koehler, Ord & Snyder 2008), with and without damped trend,
with and without a season of a day or a week; simple smoothing is the case without both. All combinations of some
constants run over the history side by side, and for the next steps, the later and the far ones each that is taken which
was off least there: the likeliest model of one step, which AutoETS finds, tends to forget the season of a tag whose
level wanders.

With the constants given, a forecast is a linear map of the last values. That map is found once, by smoothing unit
impulses, so a step costs one product, and a forecast depends on the values alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.fitted import FittedForecaster
from detectors.forecasters.season import seasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detectors.forecasters.fit import Past

    Array = NDArray[np.float64]

__all__ = ["Smoothing", "smoothing_found"]

LEVEL = (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97)
TREND = ((0.0, 0.0), (0.05, 0.9), (0.1, 0.98), (0.3, 0.8), (0.8, 0.8))
"""Its own constant, as a share of the level's, and by how much it is damped a step; the first is no trend."""
SEASON = (0.05, 0.1, 0.2, 0.4)
LEADS = (1, 2, 4, 8, 24)
"""Leads at which constants are compared; each other lead takes those of the nearest of them, by ratio."""
CONTEXT = 512
"""A forecast is made from so many values at most: at least three seasons."""
SEASONS = 21
"""A season's first profile is the mean over so many of them at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Constants:
    """Columns of equal length, one entry per combination; `season` is the same for all, 0 for none."""

    level: Array
    trend: Array
    damping: Array
    seasonal: Array
    season: int

    def only(self, i: int) -> _Constants:
        part = slice(i, i + 1)
        return _Constants(
            level=self.level[part],
            trend=self.trend[part],
            damping=self.damping[part],
            seasonal=self.seasonal[part],
            season=self.season,
        )


class Smoothing(FittedForecaster):
    """Exponential smoothing. It remembers 4096 steps: 32 to 64 kB per tag, and at most 256 kB for the map of a tag."""

    name = "smoothing"
    patience = 128

    def __init__(self, *, limit: int = 4096, samples: int = 16, seed: int = 0) -> None:
        super().__init__(limit=limit, samples=samples, seed=seed)

    def _fit(self, values: Array, end_s: float, period_s: float) -> dict[str, Array] | None:  # noqa: ARG002 # blind to the clock
        return smoothing_found(values, period_s, leads=self.leads)

    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        found: Array = past.values @ numbers["weights"][:, :horizon]
        return found


def smoothing_found(values: Array, period_s: float, *, leads: int) -> dict[str, Array]:
    """The `weights` (context, leads) of the last values in each forecast, the constants they stand for, context and season."""
    values = values[-2048:]
    longest = min(CONTEXT, len(values)) // 3
    families = [_constants(season) for season in (0, *seasons(period_s, longest=longest))]
    losses = np.concatenate([_losses(values, family) for family in families])
    sizes = [len(family.level) for family in families]
    each = [family.only(i) for family, size in zip(families, sizes, strict=True) for i in range(size)]
    best = losses.argmin(axis=0)
    chosen = [each[i] for i in best.tolist()]
    season = max(one.season for one in chosen)
    context = min(len(values), CONTEXT, max(SEASONS * season, 64))
    compared = np.array(LEADS[: losses.shape[1]])
    nearest = np.abs(np.log(np.arange(1, leads + 1)[:, None] / compared)).argmin(axis=1)
    maps = {i: _map(each[i], context, leads) for i in set(best.tolist())}
    return {
        "weights": np.stack([maps[best[at]][:, lead] for lead, at in enumerate(nearest.tolist())], axis=1),
        "constants": np.array([[one.level, one.trend, one.damping, one.seasonal] for one in chosen])[..., 0],
        "context": np.array(float(context)),
        "season": np.array(float(season)),
    }


def _constants(season: int) -> _Constants:
    """All combinations for which level and season do not move by more than the error between them."""
    rows = [
        (level, trend, damping, seasonal)
        for level, (trend, damping), seasonal in product(LEVEL, TREND, SEASON if season else (0.0,))
        if level + seasonal <= 1.0
    ]
    level, trend, damping, seasonal = np.array(rows).T
    return _Constants(level=level, trend=trend, damping=damping, seasonal=seasonal, season=season)


class _Filter:
    """Level, trend and profile of many series side by side (n,), each with its own constants, or all with the same ones."""

    def __init__(self, constants: _Constants, first: Array) -> None:
        """`first` (k, n) are the first values, whole seasons of them: their mean is the level, their mean shape the profile."""
        self._constants = constants
        self._trend_gain = constants.level * constants.trend
        season = constants.season
        self.level = first.mean(axis=0)
        self.trend = np.zeros(first.shape[1])
        shaped = first.reshape(-1, season, first.shape[1]) if season else first[:, None]
        self.profile = (shaped - shaped.mean(axis=1, keepdims=True)).mean(axis=0)

    def step(self, t: int, values: Array | float) -> None:
        """Takes the values of step `t`, counted from the first one."""
        constants = self._constants
        trend = constants.damping * self.trend
        place = t % len(self.profile)
        error = values - (self.level + trend + self.profile[place])
        self.level = self.level + trend + constants.level * error
        self.trend = trend + self._trend_gain * error
        if constants.season:
            self.profile[place] += constants.seasonal * error

    def ahead(self, t: int, lead: int) -> Array:
        """What is expected `lead` steps after step `t`."""
        damping = self._constants.damping
        run = damping * (1.0 - damping**lead) / (1.0 - damping)
        found: Array = self.level + run * self.trend + self.profile[(t + lead) % len(self.profile)]
        return found


def _losses(values: Array, constants: _Constants) -> Array:
    """Mean absolute error of each combination at each of `LEADS` over the later half of a history: (combinations, leads)."""
    count, season = len(values), constants.season
    size = len(constants.level)
    whole = min(max(count // 2 // season, 1), SEASONS) * season if season else min(16, count // 4)
    running = _Filter(constants, np.repeat(values[:whole, None], size, axis=1))
    leads = [lead for lead in LEADS if lead <= count // 4]
    sums = np.zeros((len(leads), size))
    for t, value in enumerate(values.tolist()):
        running.step(t, value)
        if t >= count // 2:
            for i, lead in enumerate(leads):
                if t + lead < count:
                    sums[i] += np.abs(values[t + lead] - running.ahead(t, lead))
    found: Array = (sums / (count - count // 2 - np.array(leads))[:, None]).T
    return found


def _map(chosen: _Constants, context: int, leads: int) -> Array:
    """The weights (context, leads) of the last values in each forecast: what smoothing makes of an impulse at each of them."""
    season = chosen.season
    # Whole seasons only; what lies before them has no weight.
    used = context - context % season if season else context
    impulses = np.eye(used)
    running = _Filter(chosen, impulses if season else impulses[: min(16, used)])
    for t in range(used):
        running.step(t, impulses[t])
    found = np.zeros((context, leads))
    found[context - used :] = np.stack([running.ahead(used - 1, lead) for lead in range(1, leads + 1)], axis=1)
    return found

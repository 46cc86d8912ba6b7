"""Which seasons may a tag have? Day, week and year, in steps of its own period, and how its holes are bridged with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["DAY_S", "WEEK_S", "YEAR_S", "bridged", "seasons"]

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
YEAR_S = 365.25 * DAY_S
"""The mean year of the Julian calendar; a history of decades drifts by a day in a century."""


def seasons(period_s: float, *, longest: int) -> tuple[int, ...]:
    """Lengths in steps, rising, of the seasons that have at least two steps and at most `longest`.

    Where a step is at most a day, a year counts as 52 weeks, so that a Monday is told by Mondays.
    """
    year_s = 52 * WEEK_S if period_s <= DAY_S else YEAR_S
    steps = (round(season_s / period_s) for season_s in (DAY_S, WEEK_S, year_s))
    return tuple(sorted({count for count in steps if 2 <= count <= longest}))


def bridged(values: Array, season: int = 0) -> Array:
    """The same values with their holes filled, for a model that needs a value at every step.

    With a season, a hole is what was there a season before, moved by as much as the values at its edges have moved since; where
    that is not known, and without a season, it lies on the line between its edges. Holes at an end hold the nearest value.
    All holes: nought.
    """
    holes = np.isnan(values)
    if not holes.any():
        return values
    known = np.flatnonzero(~holes)
    if not len(known):
        return np.zeros(len(values))
    at = np.flatnonzero(holes)
    out = values.copy()
    out[at] = np.interp(at, known, values[known])
    if season and len(values) > season:
        # The line between the edges is right for what differs from the season before.
        before = np.full(len(values), np.nan)
        before[season:] = out[:-season]
        before[: known[0]] = np.nan
        seasonal = at[(at >= season + known[0]) & np.isfinite(before[at])]
        change = values - before
        sure = np.flatnonzero(np.isfinite(change))
        if len(sure):
            out[seasonal] = before[seasonal] + np.interp(seasonal, sure, change[sure])
    return out

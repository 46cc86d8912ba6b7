"""How far has a forecaster been wrong, lead by lead? Its own errors on what it had not been fitted to, kept as whole futures.

An error is value - forecast, and one *trajectory* has the errors of one origin at all leads: so bands come from what
happened at each lead, and futures drawn from the library hang together from step to step as the errors did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detectors.records import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["ErrorLibrary", "collect"]

PRIOR_FUTURES = 10.0
"""So many futures that do not overlap must have been seen until half of a lead's median error is taken for a bias."""
FEW = 8
"""A lead of which fewer errors are known takes the spread of the lead before it, widened as a random walk's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ErrorLibrary:
    """`quantiles` (leads, 7) of the errors, in rising order, `futures` (kept, leads) some of the trajectories.

    `usual` is the mean absolute error at lead 1, `drift` the largest absolute median of `RECENT` lead-1 errors in a row.
    """

    quantiles: Array
    futures: Array
    usual: float
    drift: float

    def bands(self, horizon: int) -> Array:
        """The quantiles (horizon, 7); beyond the known leads they grow as a random walk's."""
        return self.quantiles[:horizon] if horizon <= len(self.quantiles) else _prolonged(self.quantiles, horizon)

    def drawn(self, horizon: int) -> Array:
        """The futures (kept, horizon), prolonged likewise."""
        known = self.futures.shape[1]
        return self.futures[:, :horizon] if horizon <= known else _prolonged(self.futures.T, horizon).T


RECENT = 16
"""Errors in a row whose median says whether the level has shifted."""


def collect(errors: Array, *, keep: int, generator: np.random.Generator) -> ErrorLibrary | None:
    """The library of errors (origins, leads), one origin a step and rising, NaN where no value is known; None for fewer than 8.

    The median of each lead is a bias as far as there were futures to tell it from chance (`PRIOR_FUTURES`): the rest of it is
    taken out.
    """
    first = errors[:, 0]
    known_first = first[np.isfinite(first)]
    if len(known_first) < FEW:
        return None
    leads = errors.shape[1]
    quantiles = np.empty((leads, len(LEVELS)))
    moved = np.empty(leads)
    for lead in range(leads):
        column = errors[:, lead]
        column = column[np.isfinite(column)]
        if len(column) < FEW:
            growth = np.sqrt((lead + 1) / lead)
            quantiles[lead], moved[lead] = quantiles[lead - 1] * growth, moved[lead - 1]
            continue
        found = np.quantile(column, LEVELS)
        separate = len(column) / (lead + 1)
        moved[lead] = found[len(LEVELS) // 2] * PRIOR_FUTURES / (separate + PRIOR_FUTURES)
        # A quantile of few draws lies too far inside: n of them have n + 1 gaps.
        independent = max(separate, 2.0)
        quantiles[lead] = (found - moved[lead]) * np.sqrt(1.0 + 2.0 / independent)
    whole = np.flatnonzero(np.isfinite(errors).all(axis=1))
    if len(whole):
        futures = errors[np.sort(generator.choice(whole, keep, replace=len(whole) < keep))] - moved
    else:
        # No origin has a value at every lead: futures keep their rank from lead to lead.
        ranks = generator.permutation((np.arange(keep) + 0.5) / keep)
        futures = np.stack([np.interp(ranks, LEVELS, row) for row in quantiles], axis=1)
    runs = np.lib.stride_tricks.sliding_window_view(known_first, min(RECENT, len(known_first)))
    return ErrorLibrary(
        quantiles=np.sort(quantiles, axis=1),
        futures=futures,
        usual=float(np.abs(known_first).mean()),
        drift=float(np.abs(np.median(runs, axis=1)).max()),
    )


def _prolonged(rows: Array, horizon: int) -> Array:
    """(leads, n) with the last row repeated, growing with the root of the lead."""
    known = len(rows)
    growth = np.sqrt(np.arange(known + 1, horizon + 1) / known)
    found: Array = np.concatenate((rows, rows[-1] * growth[:, None]))
    return found

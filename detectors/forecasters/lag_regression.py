"""What do the last values say of each of the next ones? A ridge regression for each lead, direct, not step by step.

How much the weights are shrunk, and whether towards nought, the last value or the mean of the last values, is chosen
per lead by what was off least on the last quarter of the history, and the weights are then found from all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["SHRINK", "lag_weights"]

SHRINK = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Shares of the lags' own mean variance by which weights are shrunk."""
OUTLIER = 6.0
"""A value counts for at most so many spreads from the middle."""
_NOUGHT, _LAST, _MEAN = range(3)


def lag_weights(values: Array, *, lags: int, leads: int) -> Array:
    """The weights (lags, leads) of the last values, oldest first; `values` (n,) should lie around nought, and n be above `lags`.

    A lead that the history is too short for has no weights at all: nought is expected there.
    """
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    if spread > 1e-9:
        middle = float(np.median(values))
        values = np.clip(values, middle - OUTLIER * spread, middle + OUTLIER * spread)
    count = len(values) - lags + 1
    rows = np.lib.stride_tricks.sliding_window_view(values, lags)
    targets = np.full((count, leads), np.nan)
    for lead in range(1, min(leads, count - 1) + 1):
        targets[: count - lead, lead - 1] = values[lags - 1 + lead :]
    known = np.isfinite(targets)
    split = count - max(count // 4, 1)
    # What is known on the eve of the last quarter.
    before = known[:split] & (np.arange(split)[:, None] + np.arange(1, leads + 1) < split)
    best = np.full(leads, np.inf)
    weights = np.zeros((lags, leads))
    for kind, anchor in enumerate((np.zeros(count), rows[:, -1], rows.mean(axis=1))):
        moved = rows - anchor[:, None]
        aims = np.where(known, targets - anchor[:, None], 0.0)
        tried = _solved(moved[:split], np.where(before, aims[:split], 0.0))
        final = _solved(moved, aims)
        for early, late in zip(tried, final, strict=True):
            off = np.where(known[split:], aims[split:] - moved[split:] @ early, 0.0)
            loss = np.abs(off).sum(axis=0)
            better = (loss < best) & known.any(axis=0)
            best[better] = loss[better]
            weights[:, better] = _from_anchor(late[:, better], kind)
    return weights


def _solved(rows: Array, targets: Array) -> list[Array]:
    """The weights for each strength of shrinking."""
    size, turned = np.linalg.eigh(rows.T @ rows)
    size = np.maximum(size, 0.0)
    along = turned.T @ (rows.T @ targets)
    mean = float(size.mean()) + 1e-9
    return [turned @ (along / (size + share * mean)[:, None]) for share in SHRINK]


def _from_anchor(weights: Array, anchor: int) -> Array:
    """Weights of the values themselves, from those of their distances to an anchor."""
    found = weights.copy()
    rest = 1.0 - weights.sum(axis=0)
    if anchor == _LAST:
        found[-1] += rest
    elif anchor == _MEAN:
        found += rest / len(found)
    return found

"""How do the steps of a mixture hang together? As those of the members' own futures do.

Ensemble copula coupling (Schefzik, Thorarinsdottir & Gneiting 2013, the equidistant form): futures are taken from the members in
proportion to their weights, and at each step the values are replaced, rank by rank, by evenly spread quantiles of the mixture.
So the futures have the mixture's distribution at each step, and the members' dependence between the steps.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.distribution import quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Paths = tuple[tuple[float, ...], ...]

__all__ = ["Paths", "drawn_paths"]


def drawn_paths(paths: Sequence[Mapping[int, Paths]], weights: Array, quantiles: Array, count: int) -> list[Paths]:
    """`count` futures of each window, none where no member drew any.

    `paths` has, for each window, the futures of each member that drew some; `weights` is (n, K), `quantiles` (n, horizon, 7).
    """
    found: list[Paths] = [()] * len(paths)
    ready = [i for i, drawn in enumerate(paths) if drawn] if count else []
    if not ready:
        return found
    horizon = quantiles.shape[1]
    counts = _counts(paths, weights, count)
    picked = [row for i in ready for row in _pick(paths[i], counts[i].tolist(), horizon)]
    flat = np.fromiter(chain.from_iterable(picked), np.float64, count=len(ready) * count * horizon)
    courses = flat.reshape(len(ready), count, horizon).transpose(0, 2, 1)
    even = (np.arange(count) + 0.5) / count
    values = np.clip(quantile(quantiles[ready], even), -1e300, 1e300)
    # Futures that agree at a step keep their order from step to step: what stands still moves together.
    order = np.argsort(courses, axis=2, kind="stable")
    laid: Array = np.empty(order.shape)
    np.put_along_axis(laid, order, values, axis=2)
    for i, steps in zip(ready, laid.tolist(), strict=True):
        found[i] = tuple(zip(*steps, strict=True))
    return found


def _counts(paths: Sequence[Mapping[int, Paths]], weights: Array, count: int) -> NDArray[np.int64]:
    """How many futures each member gives (n, K): in proportion to the weights of those that drew some, `count` in all."""
    drew = np.zeros(weights.shape, dtype=bool)
    for row, drawn in zip(drew, paths, strict=True):
        row[list(drawn)] = True
    # The least weight that a member can have keeps the sum above nought.
    ends = np.cumsum(np.where(drew, np.maximum(weights, 1e-12), 0.0), axis=1)
    marks = np.floor(ends / np.where(drew.any(axis=1), ends[:, -1], 1.0)[:, None] * count + 0.5).astype(np.int64)
    return np.diff(marks, axis=1, prepend=np.int64(0))


def _pick(drawn: Mapping[int, Paths], counts: Sequence[int], horizon: int) -> list[tuple[float, ...]]:
    """So many futures of each member, evenly spread over its own; one that has not as many steps is held still."""
    rows = [own[i * len(own) // counts[k]] for k, own in drawn.items() for i in range(counts[k])]
    return [row if len(row) == horizon else (row[0],) * horizon if row else (0.0,) * horizon for row in rows]

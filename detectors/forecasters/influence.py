"""Which tags of an asset act on which? Those whose changes are followed by changes of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["learnt_graph"]

SOURCES = 3
"""A tag is taken to be acted on by so many others at most."""
LEAST_CORRELATION = 0.2
LATEST_CAUSE = 3
"""A change follows another one after so many steps at most."""
JUMP = 8.0
"""A change counts for at most so many usual ones, so that one jump makes no correlation."""


def learnt_graph(values: Array) -> Array:
    """Which tags (columns) act on which (rows), from values (tags, steps): the correlation of changes with earlier changes.

    Each tag is acted on by the `SOURCES` others at most with which its changes are correlated most, at a delay of up to
    `LATEST_CAUSE` steps, and by at least `LEAST_CORRELATION`.
    """
    changes = np.diff(values, axis=1)
    usual = np.median(np.abs(changes), axis=1, keepdims=True)
    changes = np.clip(changes, -JUMP * usual - 1e-12, JUMP * usual + 1e-12)
    nodes, count = changes.shape
    found = np.zeros((nodes, nodes))
    for delay in range(min(LATEST_CAUSE, count - 2) + 1):
        after, before = changes[:, delay:], changes[:, : count - delay]
        after, before = (part - part.mean(axis=1, keepdims=True) for part in (after, before))
        sizes = np.sqrt(np.outer((after**2).sum(axis=1), (before**2).sum(axis=1)))
        found = np.maximum(found, np.abs(after @ before.T) / np.maximum(sizes, 1e-12))
    np.fill_diagonal(found, 0.0)
    found[found < LEAST_CORRELATION] = 0.0
    ranked = np.argsort(-found, axis=1)
    np.put_along_axis(found, ranked[:, SOURCES:], 0.0, axis=1)
    return found

"""How far do a tag's values lie apart, and how finely is it measured?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from detectors.records import Window

    Array = NDArray[np.float64]

__all__ = ["spread_and_step"]

LATEST = 512
"""Of a longer window only so many values are looked at."""
NOISE = 1e-4
"""Values closer together than this share of the spread are the same one."""


def spread_and_step(windows: Sequence[Window]) -> Array:
    """Of each window (n, 2): the 5-95 % width of its values, and the smallest step between two that differ.

    A tag that hardly ever moves has the whole range for its width; one that has stood still a thousandth of its value, and no
    step. Steps that are not normal are left out. NaN where nothing is known.
    """
    most = min(max((len(window.values) for window in windows), default=0), LATEST)
    values = np.full((len(windows), max(most, 1)), np.nan)
    for row, window in zip(values, windows, strict=True):
        tail = window.values[-most:]
        row[len(row) - len(tail) :] = tail
        if window.normal:
            row[len(row) - len(tail) :][~np.array(window.normal[-most:], dtype=bool)] = np.nan
    values[~np.isfinite(values)] = np.nan
    # NaN is sorted behind all others.
    values.sort(axis=1)
    last = np.isfinite(values).sum(axis=1) - 1
    rows = np.arange(len(values))
    low, high = (values[rows, np.maximum(np.round(share * last), 0).astype(int)] for share in (0.05, 0.95))
    lowest, highest = values[:, 0], values[rows, np.maximum(last, 0)]
    with np.errstate(over="ignore", invalid="ignore"):
        width = np.where(high > low, high - low, highest - lowest)
        still = np.maximum(1e-3 * np.maximum(np.abs(lowest), np.abs(highest)), 1e-300)
        width = np.where(width > 0, width, still)
        gaps = np.diff(values, axis=1)
        gaps = np.where(gaps > NOISE * width[:, None], gaps, np.inf)
        step = gaps.min(axis=1, initial=np.inf)
    found: Array = np.stack((width, np.where(np.isfinite(step), step, 0.0)), axis=1)
    found[last < 0] = np.nan
    np.minimum(found, 1e300, out=found)
    return found

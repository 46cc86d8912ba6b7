"""Does a tag drift as it never has? The rise of the last values that is steeper throughout than any in its history.

The last 32 and 64 values are each cut into four parts. Their means and medians must rise, or fall, from part to part: a
step, or a lonely peak, is no drift, and neither is the bridge over a hole. How much the smallest of the three steps comes to is
compared with what it ever was in the history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["LONGEST", "drift", "usual_rise"]

SPANS = np.array((32, 64))
"""Values that a drift is looked for in."""
LONGEST = 64
PARTS = 4
EVEN = 0.2
"""The smallest step from part to part is at least such a share of the mean one."""
STEEPER = 1.15
"""How much steeper than ever before a drift must be."""
BRIDGED = 1 / 16
"""At most such a share of a span may be bridged: the line from before a fault to behind it looks like a drift."""
FEWEST_SPANS = 6
"""A history of so many spans has shown how steep it usually gets."""


def usual_rise(values: Array) -> Array:
    """The steepest that each span of a history (n,) ever rose or fell throughout, per step; inf where it is too short to say."""
    found = np.full(len(SPANS), np.inf)
    if len(values) >= LONGEST:
        least, _ = _rises(np.lib.stride_tricks.sliding_window_view(values, LONGEST))
        enough = len(values) >= FEWEST_SPANS * SPANS
        found[enough] = least.max(axis=0)[enough]
    return found


def drift(values: Array, usual: Array, holes: NDArray[np.bool_] | None = None) -> tuple[Array, NDArray[np.int64]]:
    """Of each row (n, at least LONGEST): the rise per step of the drift that stands out most, and over how many values.

    Nought where nothing is steeper than usual. `holes`, of the shape of `values`, is where a value was bridged.
    """
    rise, span = np.zeros(len(values)), np.full(len(values), SPANS[0])
    last = values[:, -LONGEST:]
    rows = _may_drift(last)
    if not rows:
        return rise, span
    least, found = _rises(last[rows])
    strength = least / np.maximum(STEEPER * usual, 1e-12)
    if holes is not None:
        bridged = np.stack([holes[rows, -span:].mean(axis=1) for span in SPANS.tolist()], axis=1)
        strength[bridged > BRIDGED] = 0.0
    most = strength.argmax(axis=1)
    each = np.arange(len(rows))
    rise[rows] = np.where(strength[each, most] > 1.0, found[each, most], 0.0)
    span[rows] = SPANS[most]
    return rise, span


def _may_drift(rows: Array) -> list[int]:
    """The rows in which the sums of the parts of some span rise or fall throughout: few, and quick to see."""
    eighths = rows.reshape(len(rows), 2 * PARTS, -1).sum(axis=2)
    return [
        i
        for i, (a, b, c, d, e, f, g, h) in enumerate(eighths.tolist())
        if _one_way(e, f, g, h) or _one_way(a + b, c + d, e + f, g + h)
    ]


def _one_way(a: float, b: float, c: float, d: float) -> bool:
    return a < b < c < d or a > b > c > d


def _rises(rows: Array) -> tuple[Array, Array]:
    """How steeply each row rises or falls throughout, at least, and in all: both (n, spans), per step."""
    least, rise = np.empty((len(rows), len(SPANS))), np.empty((len(rows), len(SPANS)))
    for i, span in enumerate(SPANS.tolist()):
        middle = span // PARTS // 2
        parts = np.sort(rows[:, -span:].reshape(len(rows), PARTS, -1), axis=2)
        steps = np.diff((parts[..., middle - 1] + parts[..., middle]) / 2, axis=1) * (PARTS / span)
        rise[:, i] = steps.mean(axis=1)
        least[:, i] = (steps * np.sign(rise[:, i, None])).min(axis=1)
    return np.where(least >= EVEN * np.abs(rise), least, 0.0), rise

"""How does a number become digits, and digits a number?

A value becomes a fixed number of digits on a grid laid over what is known of the tag, with head-room on both sides, so that
every value of every tag costs the same tokens. A value that leaves the grid is never clipped: it has no code, and the caller
lays a new grid. Pure arithmetic, no model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DIGITS", "HEAD_ROOM", "KEPT", "Anchor", "Grid", "anchor", "in_text", "life"]

DIGITS = 3
"""Digits per value: 1,000 cells."""
HEAD_ROOM = 0.5
"""Room below and above the known values, as a share of their span: half of the cells are for what was never seen."""
KEPT = 0.25
"""Share of the context that a text begins anew with: what is more is read twice more often, and foretells no better."""
RELATIVE_SPAN = 1e-3
"""A tag that has stood still gets a span of this share of its magnitude, so that a first small change has a code."""
LEAST_RELATIVE_CELL = 2.0**-44
"""A cell is never so fine that a double at this magnitude could not tell its edges."""
LARGEST = 1e150
"""Beyond it the arithmetic of a grid could overflow; no plant signal is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Cells of equal width from `low` upwards; cell i stands for low + (i + 1/2) * cell."""

    low: float
    cell: float
    digits: int = DIGITS

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return int(10**self.digits)

    @classmethod
    def lay(cls, values: Sequence[float], *, digits: int = DIGITS, head_room: float = HEAD_ROOM) -> Grid:
        """The grid over finite values; raises ValueError for none, or for one beyond 1e150."""
        if not values:
            raise ValueError("grid: expected at least one value, found none")
        low, high = min(values), max(values)
        magnitude = max(abs(low), abs(high))
        if not magnitude <= LARGEST:
            raise ValueError(f"grid: expected finite values up to {LARGEST:g}, found {low:g} to {high:g}")
        cells = 10**digits
        span = high - low
        if span <= magnitude * RELATIVE_SPAN * 1e-3:
            span = magnitude * RELATIVE_SPAN
        cell = max(span * (1 + 2 * head_room) / cells, magnitude * LEAST_RELATIVE_CELL, 1e-300)
        middle = low + (high - low) / 2
        # The middle is the middle of a cell: what stands still is decoded as exactly that.
        return cls(low=middle - cell * (cells // 2 + 0.5), cell=cell, digits=digits)

    def encode(self, value: float) -> int | None:
        """The cell of a value; None if it has left the grid."""
        place = (value - self.low) / self.cell
        # The comparison is false for NaN as well.
        return int(place) if 0 <= place < self.cells else None

    def decode(self, cell: int) -> float:
        """The middle of a cell: never further than half a cell from what was encoded."""
        return self.low + (cell + 0.5) * self.cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """From which value of a window the text begins, and on which grid it is written."""

    start: int
    grid: Grid


def life(context: int, shortest: int) -> int:
    """After how many steps a text begins anew: what is left of the context when it begins with `KEPT` of it."""
    return max(context - max(int(context * KEPT), shortest), 1)


def anchor(
    values: Sequence[float],
    first_step: int,
    *,
    context: int,
    shortest: int,
    offset: int = 0,
    normal: Sequence[bool] = (),
) -> Anchor | None:
    """Where the text of a window begins; a function of the window alone, so that any reader of it agrees.

    `values` are the steps of a window, holes as NaN; `first_step` is the number of the first one on the tag's own time axis.
    The text starts behind the last hole (a gap is never bridged), and at a step number that is `offset` modulo its `life`:
    so it holds between a quarter and a whole context, and is begun anew once in three quarters of it. Steps that are not
    `normal` (as many as values; none: all are) are left out of it, whatever they hold; where that leaves too few, it starts
    behind the last hole. The grid is laid over the first quarter (over the first `shortest` values where the run itself is
    younger), and anew over all so far when a value leaves it. None if there are fewer than `shortest` values to be read, or
    one that no grid can hold.
    """
    end = len(values)
    flags = normal or (True,) * end
    run = end
    while run > 0 and (math.isfinite(values[run - 1]) or not flags[run - 1]):
        run -= 1
    lives = life(context, shortest)
    kept = max(context - lives, shortest)
    last = first_step + end
    # The latest aligned step with enough behind it to begin with.
    aligned = (last - kept - offset) // lives * lives + offset - first_step
    start = max(aligned, run)
    text = in_text(values, flags, start)
    if len(text) < shortest:
        start = run
        text = in_text(values, flags, start)
        if len(text) < shortest:
            return None
    base = kept if start == aligned else shortest
    try:
        grid = Grid.lay(text[:base])
        for i in range(base, len(text)):
            if grid.encode(text[i]) is None:
                grid = Grid.lay(text[: i + 1])
    except ValueError:
        return None
    return Anchor(start=start, grid=grid)


def in_text(values: Sequence[float], normal: Sequence[bool], start: int) -> list[float]:
    """The values of a window that its text holds: the normal ones from `start` on."""
    if all(normal[start:]):
        return list(values[start:])
    return [value for value, flag in zip(values[start:], normal[start:], strict=True) if flag]

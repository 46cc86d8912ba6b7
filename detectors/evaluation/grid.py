"""What does recorded history look like on a regular grid, and what had to be done to it?

The value of a step is the last one reported within it; without a report the value before it is held for a while, and past
that the step is a hole (NaN): nothing is interpolated. What was done, and what looks wrong but was left as it is, is said in
sentences, the `treatments` of the series.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from detectors.evaluation.backtest import Series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["LONGEST", "GridError", "common_period", "lay", "span_words", "tell_rejections"]

LONGEST = 2_000_000
"""Steps of a grid at most: beyond it the period is too short for the history, or a date is centuries off."""
HELD_SHARE = 0.99
"""Without a hold time of its own a tag is held as long as this share of its own gaps lasted."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROUND_S = (
    1,
    2,
    5,
    10,
    15,
    20,
    30,
    60,
    120,
    180,
    300,
    600,
    900,
    1200,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    86_400,
)
_UNIT_FACTOR = 8.0
"""Two groups of values further apart than this factor, with nothing in between, are perhaps in two units."""


class GridError(ValueError):
    """History that no grid can hold: subject, what was expected, what was found, and what to do."""


def common_period(moments_s: NDArray[np.float64]) -> float:
    """The most common spacing of rising moments, snapped to a round one within 2 %; NaN for fewer than two moments."""
    gaps = np.diff(np.unique(moments_s))
    if not len(gaps):
        return math.nan
    rounded = np.round(gaps, 3)
    sizes, counts = np.unique(rounded, return_counts=True)
    common = float(sizes[counts == counts.max()].min())
    return next((float(size) for size in _ROUND_S if abs(size - common) <= 0.02 * size), common)


def lay(
    tag: str,
    moments_s: NDArray[np.float64],
    values: NDArray[np.float64],
    *,
    period_s: float,
    hold_s: float | None = None,
    span_s: tuple[float, float] | None = None,
) -> Series:
    """A tag's reports, in the order of the file, on its grid; moments in seconds since 1970.

    `span_s` is the first and the last moment of the grid, the tag's own without it. Of reports at the same moment the last
    one counts. The grid stands on whole multiples of the period; months and years are not regular and cannot be periods.
    Raises GridError for fewer than two values, and for more than `LONGEST` steps.
    """
    if len(np.unique(moments_s)) < 2:
        raise GridError(
            f"{tag}: expected at least two values at different moments, found {len(np.unique(moments_s))}. "
            "A forecast needs a past and a future"
        )
    told: list[str] = []
    order = np.argsort(moments_s, kind="stable")
    moments, reports = moments_s[order], values[order]
    if not np.array_equal(order, np.arange(len(order))):
        told.append("The rows were not in the order of time and were sorted.")
    moments, reports = _without_duplicates(moments, reports, told)
    gaps = np.diff(moments)
    regular = float(np.mean(np.abs(gaps - period_s) <= 0.02 * period_s))
    low, high = span_s or (float(moments[0]), float(moments[-1]))
    offset = _offset(moments, period_s)
    first, last = math.ceil((low - offset) / period_s - 1e-6), math.ceil((high - offset) / period_s - 1e-6)
    steps = last - first + 1
    if steps > LONGEST:
        raise GridError(
            f"{tag}: expected at most {LONGEST:,} steps, found {steps:,} of {period_s:g} s between {_day(low)} and "
            f"{_day(high)}. Set a longer period, or correct the dates"
        )
    held_s = hold_s if hold_s is not None else max(float(np.quantile(gaps, HELD_SHARE, method="lower")), period_s)
    ends = offset + np.arange(first, last + 1, dtype=np.float64) * period_s
    latest = np.searchsorted(moments, ends + 1e-6 * period_s, side="right") - 1
    age = np.where(latest >= 0, ends - moments[np.maximum(latest, 0)], np.inf)
    known = age < held_s - 1e-6 * period_s
    grid = np.where(known, reports[np.maximum(latest, 0)], np.nan)
    reported = float(np.mean((age < period_s * (1 - 1e-6))[known])) if known.any() else 0.0
    if regular < 0.98:
        told.append(
            f"Reported at irregular moments ({regular:.0%} of the spacings are {span_words(period_s)}): each step has the last "
            f"value reported within it, else the one before it, held for at most {span_words(held_s)} "
            f"({1 - reported:.1%} of the steps)."
        )
    _tell_holes(grid, ends, period_s, told)
    _tell_doubts(grid, told)
    start_at = _EPOCH + timedelta(seconds=float(ends[0]))
    return Series(tag=tag, period_s=period_s, start_at=start_at, values=grid, treatments=tuple(told))


def tell_rejections(counts: Mapping[str, int], examples: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence per reason for which rows were left out, with the first one of each."""
    return tuple(
        f"{count} {'row or cell' if count == 1 else 'rows or cells'} left out ({reason.replace('_', ' ')}): {examples[reason]}."
        for reason, count in sorted(counts.items())
    )


def _without_duplicates(
    moments: NDArray[np.float64], values: NDArray[np.float64], told: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    last = np.append(np.diff(moments) > 0, True)
    doubled = len(moments) - int(last.sum())
    if doubled:
        places = np.flatnonzero(~last)
        differing = int(np.sum(values[places] != values[places + 1]))
        told.append(
            f"{doubled} {'date occurs' if doubled == 1 else 'dates occur'} more than once (the first at "
            f"{_moment(float(moments[places[0]]))}), {differing} with another value: the last one counts. "
            "Dates in local time double an hour at a clock change: name the time zone if that is it."
        )
    return moments[last], values[last]


def _offset(moments: NDArray[np.float64], period_s: float) -> float:
    """Where the grid stands within a period: at 0, or where nine in ten of the moments are (days that begin at 23:00 UTC)."""
    phases = np.round(np.mod(moments, period_s), 3)
    found, counts = np.unique(phases, return_counts=True)
    most = int(counts.argmax())
    return float(found[most]) if counts[most] >= 0.9 * len(moments) else 0.0


def _tell_holes(grid: NDArray[np.float64], ends: NDArray[np.float64], period_s: float, told: list[str]) -> None:
    holes = ~np.isfinite(grid)
    if not holes.any():
        return
    edges = np.flatnonzero(np.diff(np.concatenate(([0], holes.astype(np.int8), [0]))))
    lengths = edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    told.append(
        f"{int(holes.sum()):,} of {len(grid):,} steps ({holes.mean():.1%}) have no value, in {len(lengths)} "
        f"{'gap' if len(lengths) == 1 else 'gaps'}, the longest of {span_words(float(lengths[longest]) * period_s)} from "
        f"{_moment(float(ends[edges[2 * longest]]))}: they stay holes, nothing is invented, and they are not scored."
    )


def _tell_doubts(grid: NDArray[np.float64], told: list[str]) -> None:
    known = grid[np.isfinite(grid)]
    if len(known) and known.min() == known.max():
        told.append(
            f"The value never changes ({known[0]:g}): MASE has no scale, and every forecast of that value is right."
        )
        return
    sizes = np.sort(np.abs(known[known != 0]))
    if len(sizes) < 20:
        return
    widest = int(np.argmax(np.diff(np.log(sizes)))) + 1
    below, above = sizes[:widest], sizes[widest:]
    factor = float(np.median(above) / np.median(below))
    if above[0] / below[-1] >= _UNIT_FACTOR and min(len(below), len(above)) >= 0.05 * len(sizes):
        told.append(
            f"The values form two groups with nothing between them, up to {below[-1]:g} and from {above[0]:g} on, their medians "
            f"a factor {_thousands(factor)} apart: perhaps two units. They were left as they are; convert them if so."
        )


def _thousands(factor: float) -> str:
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.3g}"


def span_words(seconds: float) -> str:
    """A duration as one reads it."""
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds / size
            return f"{count:.4g} {word}{'' if count == 1 else 's'}"
    return f"{seconds:g} s"


def _moment(seconds: float) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M UTC")


def _day(seconds: float) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d")

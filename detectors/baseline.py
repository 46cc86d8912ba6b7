"""What is normal for the tags of an asset: how much does each scatter, how much does its level wander, and where is it now?

Two things that a standard deviation mixes are kept apart. *Noise* is the scatter within a short stretch of steps, *wander* the
scatter of the means of such stretches. A tag that wanders further than it scatters drifts: a motor that warms up, a tank that
fills. Its level of an hour ago says nothing of the next hour, so its level is not judged; of a steady tag it is. Nobody has
to say which is which, and a tag that has never moved is left to the rules for frozen sensors.

The scale of a steady tag is the distance from its slowly following baseline at which it is news: so many times what that distance
was while it was normal that one of all steady tags lies beyond it by chance in `CHANCE` of the moments (4.0 times for six
tags), and never less than `NOTICEABLE` times its noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Baseline", "Nature", "survey"]

DRIFTING_FROM = 1.5
"""Wander in noises from which a tag drifts: on SKAB water loops steady tags lie below 1.5 and temperatures above 1.7."""
CHANCE = 4e-4
"""How often a normal moment may lie beyond the scale of any tag of an asset, were distances normally distributed.

Short means overlap, so that such moments come in runs: one run in about 25,000 moments, for tags of the usual period of a minute
one in two and a half weeks. Tags of a second want a smaller chance, or an on-delay.
"""
NOTICEABLE = 1.2
FEWEST_BLOCKS = 8


class Nature(StrEnum):
    """What kind of signal a tag is."""

    STEADY = "steady"
    DRIFTING = "drifting"
    CONSTANT = "constant"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What was learnt of the tags of an asset, in the tags' units; arrays have one entry per tag.

    `level` is where each tag stood at the end of the training window, `scale` the distance from it that is news (NaN for a tag
    whose level is not judged). `deviations` has a row per normal moment: the distances found there, in scales, steady tags only.
    """

    tags: tuple[str, ...]
    length: int
    follow: int
    natures: tuple[Nature, ...]
    noise: NDArray[np.float64]
    wander: NDArray[np.float64]
    level: NDArray[np.float64]
    scale: NDArray[np.float64]
    deviations: NDArray[np.float64]

    @property
    def steady(self) -> NDArray[np.bool_]:
        """Which tags are judged by their level."""
        return np.isfinite(self.scale)


def survey(
    values: NDArray[np.float64], tags: Sequence[str], *, length: int = 10, follow: int = 200, chance: float = CHANCE
) -> Baseline:
    """Learns what is normal from `values`, a row per step and a column per tag, oldest first.

    What must not be learnt from (in alarm, held, bad) is NaN. `length` is the steps of a short mean, `follow` the steps in which
    the baseline follows to two thirds; a smaller `chance` makes the scales wider. Raises ValueError for fewer rows than give a
    judgement, or another number of columns.
    """
    if values.ndim != 2 or values.shape[1] != len(tags):
        raise ValueError(f"baseline: expected a column for each of {len(tags)} tags, found shape {values.shape}")
    if len(values) < FEWEST_BLOCKS * length:
        raise ValueError(
            f"baseline: expected at least {FEWEST_BLOCKS * length} steps to learn from, found {len(values)}"
        )
    known = [_Column(column, length) for column in values.T]
    natures = tuple(column.nature for column in known)
    means = _rolling_mean(values, length)
    level = np.array([column.median for column in known])
    far = np.full_like(values, np.nan)
    for row in range(length, len(values)):
        far[row] = means[row] - level
        level = np.where(np.isnan(values[row]), level, level + (values[row] - level) / follow)
    # The first rows are still near the median of all, which they could not have known.
    far = far[max(length, min(follow // 2, len(values) // 4)) :]
    noise = np.array([column.noise for column in known])
    usual = np.array([_rms(column) for column in far.T])
    steady = np.array([nature is Nature.STEADY for nature in natures])
    beyond = NormalDist().inv_cdf(1 - chance / (2 * max(int(steady.sum()), 1)))
    scale = np.where(steady, np.maximum(beyond * usual, NOTICEABLE * noise), np.nan)
    deviations = (far / scale)[:, steady]
    return Baseline(
        tags=tuple(tags),
        length=length,
        follow=follow,
        natures=natures,
        noise=noise,
        wander=np.array([column.wander for column in known]),
        level=level,
        scale=scale,
        deviations=deviations[np.isfinite(deviations).all(axis=1)],
    )


class _Column:
    """One tag, cut into stretches of `length` steps; the oldest steps are left out where they do not fill one."""

    def __init__(self, column: NDArray[np.float64], length: int) -> None:
        blocks = column[len(column) % length :].reshape(-1, length)
        whole = blocks[np.isfinite(blocks).all(axis=1)]
        self.median = float(np.nanmedian(column)) if np.isfinite(column).any() else np.nan
        self.noise = self.wander = np.nan
        if len(whole) < FEWEST_BLOCKS:
            self.nature = Nature.UNKNOWN
            return
        within = whole.var(axis=1, ddof=1)
        # A few rough stretches do not make a signal noisy; one that mostly stands still has no other measure.
        self.noise = float(np.sqrt(np.median(within) or within.mean()))
        self.wander = float(whole.mean(axis=1).std(ddof=1))
        if self.noise <= 1e-12 * max(1.0, abs(self.median)):
            self.nature = Nature.CONSTANT if self.wander <= self.noise else Nature.DRIFTING
        else:
            drifts = self.wander >= DRIFTING_FROM * float(np.sqrt(within.mean()))
            self.nature = Nature.DRIFTING if drifts else Nature.STEADY


def _rolling_mean(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Mean of each row and the `length` - 1 before it; NaN where fewer than half are known."""
    held = np.isfinite(values)
    total = np.cumsum(np.vstack([np.zeros(values.shape[1]), np.where(held, values, 0.0)]), axis=0)
    count = np.cumsum(np.vstack([np.zeros(values.shape[1]), held]), axis=0)
    begin = np.maximum(np.arange(len(values)) + 1 - length, 0)
    known = count[1:] - count[begin]
    return np.where(2 * known >= length, (total[1:] - total[begin]) / np.maximum(known, 1), np.nan)


def _rms(column: NDArray[np.float64]) -> float:
    known = column[np.isfinite(column)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else np.nan

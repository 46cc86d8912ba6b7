"""Do the tags of an asset, taken together, stand where they normally do?

Short means of all steady tags are laid against a baseline that follows slowly (`detectors.baseline`), in scales in which 1 is
the edge for a tag alone; a model of the outlier (`detectors.outlier`) makes one score of them and says which tags it is. What
is in alarm is judged and not learnt: neither the baseline nor the model moves until it is over.

A tag that is missing counts as standing on its baseline; that it is missing is said by other rules.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detectors.facts import Facts, Part
from detectors.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from detectors.baseline import Baseline
    from detectors.outlier import Outlier

__all__ = ["Moment", "Multivariate"]

NAMED = 3
"""Contributions that are named in a verdict, and from what share on."""
NAMED_FROM = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The closed steps of all tags of an asset at one moment; None or absent is a hole."""

    asset: str
    end_at: datetime
    values: Mapping[str, float | None]


class Multivariate:
    """Judges the moments of one asset by one model; verdicts are of `tag`, the name under which the whole is known.

    `judge` changes nothing; `learn` is called once for each moment after it. A new `Baseline` and model, fitted elsewhere, are
    taken over by making a new detector.
    """

    def __init__(self, *, tag: str, baseline: Baseline, outlier: Outlier) -> None:
        self.rule = outlier.rule
        self.tag = tag
        self._baseline, self._outlier = baseline, outlier
        steady = np.flatnonzero(baseline.steady)
        self._tags = tuple(baseline.tags[i] for i in steady)
        self._scale = baseline.scale[steady]
        self._level = baseline.level[steady].copy()
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=baseline.length - 1)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that are judged: those that are steady."""
        return self._tags

    def judge(self, moment: Moment) -> Verdict | None:
        """Verdict on a moment; none before a short mean is full, or where nothing steady is known of it."""
        if not self._tags or len(self._recent) < self._baseline.length - 1:
            return None
        rows = np.array([*self._recent, self._row(moment)])
        held = np.isfinite(rows)
        count = held.sum(axis=0)
        known = 2 * count >= len(rows)
        if not known.any():
            return None
        means = np.where(held, rows, 0.0).sum(axis=0) / np.maximum(count, 1)
        far = np.where(known, (means - self._level) / self._scale, 0.0)
        score, parts = self._outlier.judge(far)
        facts = Facts(parts=self._contributions(parts, np.where(known, means, np.nan))) if score > 1 else None
        return Verdict(tag=self.tag, rule=self.rule, at=moment.end_at, score=score, facts=facts)

    def learn(self, moment: Moment, *, normal: bool) -> None:
        """Takes a moment that was judged: the short means always, the baseline only if it is normal."""
        row = self._row(moment)
        self._recent.append(row)
        if normal:
            self._level = np.where(
                np.isfinite(row), self._level + (row - self._level) / self._baseline.follow, self._level
            )

    def _row(self, moment: Moment) -> NDArray[np.float64]:
        values = (moment.values.get(tag) for tag in self._tags)
        return np.array([math.nan if value is None else value for value in values])

    def _contributions(self, parts: NDArray[np.float64], means: NDArray[np.float64]) -> tuple[Part, ...]:
        """Which tags it is, the short mean of each against its baseline; a tag that is missing has no value."""
        whole = float(parts.sum())
        if whole <= 0:
            return ()
        order = np.argsort(parts)[::-1][:NAMED]
        return tuple(
            Part(
                tag=self._tags[i],
                value=float(means[i]) if math.isfinite(means[i]) else None,
                expected=float(self._level[i]),
                share=float(parts[i] / whole),
            )
            for i in order
            if i == order[0] or parts[i] >= NAMED_FROM * whole
        )

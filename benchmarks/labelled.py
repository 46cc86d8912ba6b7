"""Labelled recordings of plants, and what detectors of the product say to them, moment by moment and causally.

Nothing here decides: the detectors judge, the product's own alarms (`detectors.alarm`) have the memory, and what is in alarm is
not learnt from, as in the service. A detector sees values and, of time, only that a step has passed.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from detectors.alarm import Alarm, AlarmRule
from detectors.multivariate import Moment, Multivariate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from detectors.baseline import Baseline
    from detectors.outlier import Outlier

__all__ = ["ASSET_ALARM", "Counts", "Heard", "listen", "read_table"]

START = datetime(2026, 1, 1, tzinfo=UTC)
ASSET_ALARM = AlarmRule(clear_below=0.5)
"""The alarm of an asset's models as it comes: no delay, over at half the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was found, a row per judged step: the scores of each detector and whether its alarm stood."""

    scores: dict[str, NDArray[np.float64]]
    alarms: dict[str, NDArray[np.bool_]]
    details: dict[int, str]

    @property
    def any(self) -> NDArray[np.bool_]:
        """Whether any alarm stood."""
        return np.logical_or.reduce(list(self.alarms.values()))


@dataclass(slots=True, kw_only=True)
class Counts:
    """Rows by what they were and what was said of them."""

    hit: int = 0
    false: int = 0
    missed: int = 0
    quiet: int = 0

    def add(self, truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> None:
        self.hit += int((truth & said).sum())
        self.false += int((~truth & said).sum())
        self.missed += int((truth & ~said).sum())
        self.quiet += int((~truth & ~said).sum())

    @property
    def f1(self) -> float:
        return 2 * self.hit / max(2 * self.hit + self.false + self.missed, 1)

    @property
    def far(self) -> float:
        """Percent of the normal rows that were called anomalous."""
        return 100 * self.false / max(self.false + self.quiet, 1)

    @property
    def mar(self) -> float:
        """Percent of the anomalous rows that were missed."""
        return 100 * self.missed / max(self.missed + self.hit, 1)


def listen(
    baseline: Baseline, outliers: Sequence[Outlier], before: NDArray[np.float64], values: NDArray[np.float64], *, period_s: float
) -> Heard:
    """Lets detectors judge `values` row by row; `before` are the last rows of the training time, which fill the short means."""
    detectors = [Multivariate(tag="bench/all", baseline=baseline, outlier=outlier) for outlier in outliers]
    alarms = [Alarm(tag="bench/all", rule_name=detector.rule, rule=ASSET_ALARM) for detector in detectors]
    for row in before[len(before) + 1 - baseline.length :]:
        for detector in detectors:
            # The baseline has had these rows already.
            detector.learn(_moment(baseline, row, START), normal=False)
    scores = {detector.rule: np.zeros(len(values)) for detector in detectors}
    active = {detector.rule: np.zeros(len(values), dtype=bool) for detector in detectors}
    details: dict[int, str] = {}
    for i, row in enumerate(values):
        moment = _moment(baseline, row, START + timedelta(seconds=i * period_s))
        for detector, alarm in zip(detectors, alarms, strict=True):
            verdict = detector.judge(moment)
            if verdict is not None:
                alarm.judge(verdict, moment.end_at)
                scores[detector.rule][i] = verdict.score
                details[i] = verdict.detail
            active[detector.rule][i] = alarm.memory.state.active
        normal = not any(alarm.memory.state.active for alarm in alarms)
        for detector in detectors:
            detector.learn(moment, normal=normal)
    return Heard(scores=scores, alarms=active, details=details)


def read_table(path: Path, *, delimiter: str = ",") -> tuple[list[str], list[list[str]]]:
    """Header and rows of a packed table."""
    with gzip.open(path, mode="rt", encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines, delimiter=delimiter)
    return header, rows


def _moment(baseline: Baseline, row: NDArray[np.float64], at: datetime) -> Moment:
    return Moment(asset="bench", end_at=at, values=dict(zip(baseline.tags, row.tolist(), strict=True)))

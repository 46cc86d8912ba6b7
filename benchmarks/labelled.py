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
from detectors.detector import Step
from detectors.multivariate import Moment, Multivariate
from detectors.shift import shifts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from detectors.baseline import Baseline
    from detectors.outlier import Outlier

__all__ = ["ASSET_ALARM", "Counts", "Heard", "listen", "read_table"]

START = datetime(2026, 1, 1, tzinfo=UTC)
ASSET_ALARM = AlarmRule(clear_below=0.5)
"""The alarm of shifts and models as it comes: no delay, over at half the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was said: of every judged step whether an alarm stood, and of those where one did, why."""

    alarm: NDArray[np.bool_]
    reasons: dict[int, list[str]]


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
    baseline: Baseline,
    outlier: Outlier | None,
    before: NDArray[np.float64],
    values: NDArray[np.float64],
    *,
    period_s: float,
    shifted: bool = True,
) -> Heard:
    """Lets detectors judge `values` row by row; `before` are the last rows of the training time, which fill the short means.

    The set is the shifts of all steady tags, unless `shifted` is False, and one `outlier` for them together, if any.
    """
    whole = None if outlier is None else Multivariate(tag="bench/all", baseline=baseline, outlier=outlier)
    alone = shifts(baseline) if shifted else {}
    alarms = {tag: Alarm(tag=tag, rule_name="shift", rule=ASSET_ALARM) for tag in alone}
    together = Alarm(tag="bench/all", rule_name="all", rule=ASSET_ALARM)
    for row in before[len(before) + 1 - baseline.length :]:
        moment = _moment(baseline, row, START)
        for tag, detector in alone.items():
            # The baseline has had these rows already.
            detector.learn(_step(moment, tag), normal=False)
        if whole is not None:
            whole.learn(moment, normal=False)
    said = np.zeros(len(values), dtype=bool)
    reasons: dict[int, list[str]] = {}
    for i, row in enumerate(values):
        moment = _moment(baseline, row, START + timedelta(seconds=i * period_s))
        for tag, detector in alone.items():
            verdict = detector.judge(_step(moment, tag))
            if verdict is not None:
                alarms[tag].judge(verdict, moment.end_at)
        if whole is not None and (verdict := whole.judge(moment)) is not None:
            together.judge(verdict, moment.end_at)
            if together.memory.state.active:
                named = ", ".join(part.tag for part in verdict.facts.parts) if verdict.facts else ""
                reasons.setdefault(i, []).append(f"{verdict.rule}: {named}")
        standing = [tag for tag, alarm in alarms.items() if alarm.memory.state.active]
        if standing:
            reasons.setdefault(i, []).append(f"shift: {', '.join(standing)}")
        said[i] = bool(standing) or together.memory.state.active
        for tag, detector in alone.items():
            detector.learn(_step(moment, tag), normal=not said[i])
        if whole is not None:
            whole.learn(moment, normal=not said[i])
    return Heard(alarm=said, reasons=reasons)


def read_table(path: Path, *, delimiter: str = ",") -> tuple[list[str], list[list[str]]]:
    """Header and rows of a packed table."""
    with gzip.open(path, mode="rt", encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines, delimiter=delimiter)
    return header, rows


def _step(moment: Moment, tag: str) -> Step:
    return Step(tag=tag, end_at=moment.end_at, value=moment.values[tag], age_s=0.0)


def _moment(baseline: Baseline, row: NDArray[np.float64], at: datetime) -> Moment:
    return Moment(asset="bench", end_at=at, values=dict(zip(baseline.tags, row.tolist(), strict=True)))

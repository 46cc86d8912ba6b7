"""How much, and how fast? Counters and latencies of the running service, in memory, bounded."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

from detectors.records import Alert

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detectors.records import Record
    from stream.model.process import Answer

__all__ = ["Latency", "Metrics"]

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram that a monitoring system reads; a last one is infinite."""
_KEPT = 10_000


class Latency:
    """Durations in seconds; quantiles are of the last 10,000, count, sum and histogram of all."""

    def __init__(self) -> None:
        self._values = array("d")
        self._buckets = [0] * (len(BOUNDS_S) + 1)
        self.count = 0
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Takes one duration."""
        if len(self._values) < _KEPT:
            self._values.append(seconds)
        else:
            self._values[self.count % _KEPT] = seconds
        self.count += 1
        self.sum_s += seconds
        self._buckets[bisect_left(BOUNDS_S, seconds)] += 1

    @property
    def histogram(self) -> list[tuple[str, float]]:
        """How many were at most so long, by the upper bound in seconds; the last bound is ``+Inf``."""
        return list(zip([*map(str, BOUNDS_S), "+Inf"], accumulate(self._buckets), strict=True))

    def quantile(self, level: float) -> float | None:
        """Nearest-rank quantile in seconds; None before the first duration."""
        if not self._values:
            return None
        ordered = sorted(self._values)
        return ordered[min(len(ordered) - 1, int(level * len(ordered)))]


class Metrics:
    """What the pipeline counts.

    `rejected` is by (source, tag, reason), `dropped` by (part, why), `placements` by where in its window a sample came,
    `forecasts` by the forecaster.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.placements: Counter[str] = Counter()
        self.forecasts: Counter[str] = Counter()
        self.raised = 0
        self.cleared = 0
        self.scores = 0
        self.rejected: Counter[tuple[str, str, str]] = Counter()
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.to_verdict = Latency()
        self.to_journal = Latency()
        self.to_forecast = Latency()
        self.loop_late = Latency()
        """How much later than asked the event loop came back, machine seconds."""
        self.first_forecast_s: float | None = None
        self.first_score_s: float | None = None

    def answered(self, answer: Answer, since_start_s: float) -> None:
        """Counts what the model lane gave, and notes when it first gave anything."""
        self.scores += answer.spent.scored
        self.forecasts.update(one.forecaster for one in (*answer.forecasts, *answer.opinions))
        if answer.spent.scored and self.first_score_s is None:
            self.first_score_s = since_start_s
        if answer.by_model and answer.forecasts and self.first_forecast_s is None:
            self.first_forecast_s = since_start_s

    def count(self, records: Iterable[Record]) -> None:
        """Counts what alarms are raised and cleared."""
        for record in records:
            if isinstance(record, Alert):
                self.raised += record.state.active and not record.previous.active
                self.cleared += record.previous.active and not record.state.active

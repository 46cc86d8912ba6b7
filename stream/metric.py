"""How much, and how fast? Counters and latencies of the running service, in memory, bounded."""

from __future__ import annotations

from array import array
from collections import Counter

__all__ = ["Latency", "Metrics"]

_KEPT = 100_000


class Latency:
    """Durations in seconds; quantiles are of the last 100,000."""

    def __init__(self) -> None:
        self._values = array("d")
        self.count = 0

    def add(self, seconds: float) -> None:
        """Takes one duration."""
        if len(self._values) < _KEPT:
            self._values.append(seconds)
        else:
            self._values[self.count % _KEPT] = seconds
        self.count += 1

    def quantile(self, level: float) -> float | None:
        """Nearest-rank quantile in seconds; None before the first duration."""
        if not self._values:
            return None
        ordered = sorted(self._values)
        return ordered[min(len(ordered) - 1, int(level * len(ordered)))]


class Metrics:
    """What the pipeline counts; `rejected` is by (source, tag, reason), `forecasts` by the forecaster."""

    def __init__(self) -> None:
        self.samples = 0
        self.forecasts: Counter[str] = Counter()
        self.raised = 0
        self.cleared = 0
        self.scores = 0
        self.rejected: Counter[tuple[str, str, str]] = Counter()
        self.to_verdict = Latency()
        self.to_journal = Latency()
        self.to_forecast = Latency()
        self.first_forecast_s: float | None = None
        self.first_score_s: float | None = None

"""What is read in the benchmarks of the reader: the same windows each time."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from detectors.records import Window

__all__ = ["make_windows"]


def make_windows(batch: int, context: int, step: int) -> list[Window]:
    """A plant-like window of each tag, `step` steps on: a slow wave with noise, in steps of a sensor's resolution."""
    count = context + step
    end_at = datetime.fromtimestamp(1_760_000_000 + count, tz=UTC)
    return [
        Window(tag=f"bench/{i}", period_s=1.0, end_at=end_at, values=tuple(_series(i)[step:count]))
        for i in range(batch)
    ]


_made: dict[int, list[float]] = {}


def _series(number: int) -> list[float]:
    if number not in _made:
        rng = np.random.default_rng(number)
        at = np.arange(1024)
        noisy = 5 + 0.1 * np.sin(at / (9 + number % 7)) + 0.02 * rng.standard_normal(len(at))
        _made[number] = np.round(noisy, 3).tolist()
    return _made[number]

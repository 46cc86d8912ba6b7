"""What was recorded of each tag, wherever it is kept, and what of it can be evaluated?"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from detectors.evaluation.grid import GridError, common_period, lay, tell_rejections
from stream.sources.history import EveryTag, HistoryError, read_history
from stream.sources.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from detectors.evaluation.backtest import Series
    from detectors.records import Sample
    from stream.sources.source import Rejection

    History = Path | Stored

__all__ = ["Recording", "history_name", "read_recording", "record", "samples_of"]


@dataclass(slots=True)
class Recording:
    """Every report of every tag in the order it came, and what was left out of what was read."""

    reports: dict[str, tuple[array[float], array[float]]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def reject(self, rejection: Rejection) -> None:
        """Counts an input that was refused, and keeps the first of its kind."""
        self.refused[rejection.reason] += 1
        self.examples.setdefault(rejection.reason, rejection.detail)

    @property
    def told(self) -> tuple[str, ...]:
        """One sentence per reason for which something was left out."""
        return tell_rejections(self.refused, self.examples)

    def lay(
        self, *, period_s: float | None = None, hold_s: float | None = None
    ) -> tuple[list[list[Series]], list[str]]:
        """The tags on their grids, those on the same one together, and a sentence per tag that no grid can hold."""
        series, left_out = [], []
        spans: dict[float, tuple[float, float]] = {}
        periods: dict[str, float] = {}
        arrays = {tag: (np.array(moments), np.array(values)) for tag, (moments, values) in self.reports.items()}
        for tag, (moments, _) in arrays.items():
            period = period_s or common_period(moments)
            if np.isfinite(period):
                periods[tag] = period
                low, high = spans.get(period, (np.inf, -np.inf))
                spans[period] = (min(low, float(moments.min())), max(high, float(moments.max())))
        for tag, (moments, values) in arrays.items():
            own = periods.get(tag, 1.0)
            try:
                series.append(lay(tag, moments, values, period_s=own, hold_s=hold_s, span_s=spans.get(own)))
            except GridError as error:
                left_out.append(f"{error}.")
        groups: dict[object, list[Series]] = {}
        for one in series:
            groups.setdefault((one.period_s, one.start_at, len(one.values)), []).append(one)
        return list(groups.values()), left_out


def record(samples: Callable[[Callable[[Rejection], None]], Iterable[Sample]]) -> Recording:
    """Reads all samples; the argument is told where to leave what it rejects. Errors of the source pass through."""
    recording = Recording()
    for sample in samples(recording.reject):
        if sample.tag not in recording.reports:
            recording.reports[sample.tag] = (array("d"), array("d"))
        moments, values = recording.reports[sample.tag]
        moments.append(sample.source_at.timestamp())
        # What was said to be bad is a hole from then on, until something good is said.
        values.append(math.nan if sample.value is None else sample.value)
    return recording


def samples_of(
    history: History,
    *,
    tags: Mapping[str, str],
    timezone: str = "UTC",
    reject: Callable[[Rejection], None],
    note: Callable[[str], None],
) -> Iterator[Sample]:
    """The samples of a CSV or Parquet file in its order, or of a sink by time. Raises HistoryError."""
    if isinstance(history, Stored):
        return history.samples(tags=tags, reject=reject)
    if history.suffix.casefold() in {".parquet", ".pq"}:
        from stream.sources.parquet import read_parquet as read
    else:
        read = read_history
    return read(history, tags=tags, timezone=timezone, reject=reject, note=note)


def history_name(history: History) -> str:
    """What a history is called in a sentence."""
    return history.label if isinstance(history, Stored) else history.name


def read_recording(history: History, *, tags: Iterable[str] = (), timezone: str = "UTC") -> Recording:
    """The recording in a file or sink; without `tags` every name in it. Raises HistoryError."""
    wanted: Mapping[str, str] = {tag: tag for tag in tags} or EveryTag()
    notes: list[str] = []
    recording = record(
        lambda reject: samples_of(history, tags=wanted, timezone=timezone, reject=reject, note=notes.append)
    )
    missing = [tag for tag in wanted if tag not in recording.reports]
    if missing or not recording.reports:
        found = "; ".join([*recording.told, *notes]) or "none"
        what = f"values of {', '.join(map(repr, missing))}" if missing else "values of at least one tag"
        raise HistoryError(f"{history}: expected {what}, found: {found}")
    return recording

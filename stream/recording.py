"""What was recorded of each tag, wherever it is kept, and what of it can be evaluated?"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

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

__all__ = ["Pace", "Recording", "history_name", "read_recording", "record", "samples_of"]


class Pace(NamedTuple):
    """How far the steps of a tag's window lie apart, and for how long a value holds without a new one, in seconds."""

    period_s: float
    hold_s: float


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

    def renamed(self, tags: Iterable[str]) -> list[str]:
        """Gives these tags their reports, also where the recording has them under their own name, without the asset's.

        That is so where no two of them share it. What is of no tag is dropped, and told in a sentence.
        """
        known = set(tags)
        short = Counter(tag.partition("/")[2] for tag in known)
        whole = {tag.partition("/")[2]: tag for tag in known if short[tag.partition("/")[2]] == 1} | {
            t: t for t in known
        }
        strangers = [name for name in self.reports if name not in whole]
        self.reports = {whole[name]: found for name, found in self.reports.items() if name in whole}
        return [f"{name}: no tag of the configuration" for name in strangers]

    def lay(
        self, *, period_s: float | None = None, hold_s: float | None = None, paces: Mapping[str, Pace] | None = None
    ) -> tuple[list[list[Series]], list[str]]:
        """The tags on their grids, those on the same one together, and a sentence per tag that no grid can hold.

        A tag that has a pace is laid on that, unless its values come too seldom to be held from one to the next.
        """
        series, left_out = [], []
        holds: dict[str, float | None] = {}
        spans: dict[float, tuple[float, float]] = {}
        periods: dict[str, float] = {}
        arrays = {tag: (np.array(moments), np.array(values)) for tag, (moments, values) in self.reports.items()}
        for tag, (moments, _) in arrays.items():
            period = period_s or common_period(moments)
            holds[tag] = hold_s
            pace = (paces or {}).get(tag)
            if pace is not None and period_s is None and np.isfinite(period) and period <= pace.hold_s:
                period, holds[tag] = pace
            if np.isfinite(period):
                periods[tag] = period
                low, high = spans.get(period, (np.inf, -np.inf))
                spans[period] = (min(low, float(moments.min())), max(high, float(moments.max())))
        for tag, (moments, values) in arrays.items():
            own = periods.get(tag, 1.0)
            try:
                series.append(lay(tag, moments, values, period_s=own, hold_s=holds[tag], span_s=spans.get(own)))
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

"""What does recorded history say of the tolerances? For `givre check --history`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from detectors.evaluation.grid import GridError, common_period, lay, span_words
from detectors.suitability import NOISES, USUAL, Suitability, measure
from stream.recording import history_name, read_recording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream.recording import History

__all__ = ["Asked", "check_tolerances"]


class Asked(NamedTuple):
    """What the settings say of a tag that has a tolerance."""

    tolerance: float
    unit: str
    period_s: float
    hold_s: float


def check_tolerances(
    history: History, asked: Mapping[str, Asked], *, timezone: str = "UTC"
) -> tuple[list[str], list[str]]:
    """Warnings and notes, one of either for each tag with a tolerance. A file may use a tag's own name where it is the only one.

    Raises HistoryError for a file that cannot be read.
    """
    recording = read_recording(history, timezone=timezone)
    short = Counter(name.partition("/")[2] for name in asked)
    warnings, notes = [], []
    notes += list(recording.told)
    for name, of in asked.items():
        own = name.partition("/")[2]
        found = recording.reports.get(name) or (recording.reports.get(own) if short[own] == 1 else None)
        if found is None:
            warnings.append(
                f"{name}: not in {history_name(history)}, which has {', '.join(sorted(recording.reports)[:8])}"
            )
            continue
        moments, values = np.array(found[0]), np.array(found[1])
        sampled_s = common_period(moments)
        period_s = max(of.period_s, sampled_s if np.isfinite(sampled_s) else 0.0)
        try:
            series = lay(name, moments, values, period_s=period_s, hold_s=max(of.hold_s, 1.5 * period_s))
        except GridError as error:
            warnings.append(f"{error}.")
            continue
        suitability = measure(series.values, period_s=period_s)
        if suitability is None:
            warnings.append(f"{name}: {len(values)} values are too few to tell whether its tolerance means anything")
        elif suitability.suits(of.tolerance):
            notes.append(
                f"{name}: tolerance {of.tolerance:g} {of.unit} means something: {_figures(suitability, of.unit)}"
            )
        else:
            warnings.append(_unsuited(name, of, suitability))
    return warnings, notes


def _unsuited(name: str, of: Asked, found: Suitability) -> str:
    reasons = []
    if of.tolerance < NOISES * found.noise:
        reasons.append(f"{NOISES:g} standard deviations of its noise")
    if of.tolerance < found.usual_change:
        reasons.append(f"what it changes by itself from one sample to the next, {span_words(found.period_s)} later")
    return (
        f"{name}: tolerance {of.tolerance:g} {of.unit} is less than {' and '.join(reasons)}: {_figures(found, of.unit)}; "
        f"a tolerance means something from {found.least:g} {of.unit} on"
    )


def _figures(found: Suitability, unit: str) -> str:
    return (
        f"noise at most {found.noise:.2g} {unit} (standard deviation), change within {span_words(found.period_s)} "
        f"{found.mean_change:.2g} {unit} on average and {found.usual_change:.2g} {unit} at the {USUAL:.0%} quantile, "
        f"of {found.steps:,} values"
    )

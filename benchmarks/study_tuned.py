"""The field study's fine-tuning, repeated: the language model trained on the load that every other forecaster is given.

Each half-hour of the day is a tag of its own with a value a day, so that 34 months of days are enough for texts; nothing from
the test on, or from behind it, is read. The newest fifth of those days judges, as in `givre train`: by it one is told whether
the adapter would have been promoted.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.shared_series import read_group
from detectors.evaluation.backtest import Series
from detectors.training.dataset import Dataset, Recipe, prepare

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["PRESET_WORDS", "Tuned", "daily_tags", "tune"]

PRESET_WORDS = {"ours": "tuned", "study": "tuned as the study advises"}
PER_DAY = 48
CONTEXT = 96
TUNE, JUDGE = 0.2, 0.2
"""Shares of the days: a part must hold a whole text, and 34 months are few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """An adapter's folder, and what the gate says of it; `gain` in nats per value."""

    preset: str
    folder: Path
    gain: float
    minutes: float
    objections: tuple[str, ...]

    def __str__(self) -> str:
        verdict = f"refused: {'; '.join(self.objections)}" if self.objections else "promoted"
        return (
            f"{PRESET_WORDS[self.preset]}: {self.minutes:.0f} min, {self.gain:+.3f} nats per held-out value, {verdict}"
        )


def daily_tags(halfhours: Series, end: datetime) -> list[Series]:
    """The days before `end`, each half-hour of the day as a tag with a value a day."""
    days = round((end - halfhours.start_at).total_seconds()) // 86_400
    table = halfhours.values[: days * PER_DAY].reshape(days, PER_DAY)
    return [
        Series(tag=f"french/{i // 2:02}:{i % 2 * 30:02}", period_s=86_400.0, start_at=halfhours.start_at, values=column)
        for i, column in enumerate(table.T.copy())
    ]


def tune(data: Path, model: Path, preset: str, *, end: datetime, minutes: float, folder: Path, threads: int) -> Tuned:
    """Trains in a process of its own, whose memory is free again afterwards. Raises DatasetError or ModelError."""
    (halfhours,) = read_group(data, "french_load half-hourly")
    dataset = prepare([daily_tags(halfhours, end)], Recipe(context=CONTEXT, tune=TUNE, judge=JUDGE))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_tune, (dataset, model, preset, minutes, folder, threads))


def _tune(  # noqa: PLR0917 - a pool hands them over in order
    dataset: Dataset, model: Path, preset: str, minutes: float, folder: Path, threads: int
) -> Tuned:
    from detectors.training.apprentice import Apprentice
    from detectors.training.lora import PRESETS
    from detectors.training.promotion import judge

    begun = time.perf_counter()
    # A fifth of the time is for loading, and for judging before and after.
    apprentice = Apprentice(
        model, dataset, PRESETS[preset], clock=time.monotonic, budget_s=minutes * 48, threads=threads
    )
    lesson = apprentice.work(folder, show=lambda _: None)
    trial = judge(lesson.blocks)
    apprentice.write_card(folder, lesson, trial, told={"trained_at": "", "history": "french_load half-hourly"})
    gain = sum(tag.gain for tag in trial.tags) / len(trial.tags)
    return Tuned(
        preset=preset,
        folder=folder,
        gain=gain,
        minutes=(time.perf_counter() - begun) / 60,
        objections=trial.objections,
    )

"""The field study's experiment, repeated: French daily load, the 61 days from 2014-11-01, one shot, from all days before.

Every forecaster that can be had takes part, the language model as it came in each of its styles, and tuned on the days before
the test with each preset (`--minutes` each, 0 leaves them out). Writes study.md and study.svg; the last line is JSON: the mean
absolute error in % of the mean, by forecaster.

usage: python -m benchmarks.study [--data ../shared/data] [--out docs] [--minutes 20] [--only 'NAME;NAME']
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.study_page import Entry, study_page
from benchmarks.study_tuned import PRESET_WORDS, tune
from detectors.evaluation.backtest import Plan, backtest
from detectors.evaluation.figures import evaluate
from detectors.evaluation.report import FIELD, STUDY, Result, render_charts, words
from detectors.language.codec import KEPT
from detectors.language.error import ModelError
from detectors.training.dataset import DatasetError
from stream.meter import ProcessMeter
from stream.model.roster import Roster, RosterError
from stream.model.weights import cached_model
from stream.recording import read_recording

if TYPE_CHECKING:
    from detectors.evaluation.backtest import Run, Series

__all__ = ["entries", "french_load", "one_shot"]

FIRST = datetime(2014, 11, 1, tzinfo=UTC)
DAYS = 61
FILE = "french_load/daily_2012_2016.csv"
DAY_AHEAD = "french_load/rte_dayahead_daily_2012_2016.csv"
PANEL_WARM_UP = 364
"""Days before the test over which a panel forecasts and learns from its errors, an origin a week."""
CONTEXTS = (128, 365)
"""Days that the language model reads in the digit style: what a live tag has at most, and a year."""


def entries(roster: Roster) -> list[Entry]:
    """All that can be named, the digit style once per context, as it came and with each preset's adapter."""
    out = []
    for name in roster.names:
        if name == "language":
            out += [Entry(label=f"language, {days} days", name=name, context=days) for days in CONTEXTS]
            out += [
                Entry(label=f"language, {days} days, {words}", name=name, context=days, preset=preset)
                for preset, words in PRESET_WORDS.items()
                for days in CONTEXTS
            ]
        elif name.startswith("language-"):
            out.append(Entry(label=f"language, {name.removeprefix('language-')}", name=name))
        else:
            out.append(Entry(label=name, name=name))
    return out


def french_load(data: Path) -> Series:
    """The daily means of 2012 to 2016."""
    groups, _ = read_recording(data / FILE, tags=["load_mw"]).lay()
    return groups[0][0]


def one_shot(series: Series, entry: Entry, roster: Roster) -> Run:
    """Its one forecast of the 61 days. Raises RosterError or ModelError where it cannot be had."""
    first = round((FIRST - series.start_at).total_seconds() / series.period_s)
    if entry.context:
        # A text may begin anew at any step with a share of its context: with so much of it the whole window is that share.
        roster = replace(roster, context=math.ceil(entry.context / KEPT))
    panel = entry.name == "panel"
    plan = Plan(
        horizon=DAYS,
        first=first,
        one_shot=True,
        stride=7 if panel else 1,
        warm_up=PANEL_WARM_UP if panel else 0,
        refit_every=None,
        context=entry.context,
    )
    (run,) = backtest([series], roster.make(entry.name), plan, meter=ProcessMeter())
    return replace(run, forecaster=entry.label)


@dataclass(kw_only=True)
class Tried:
    """What has been asked so far and what came of it; a sentence for each that could not be had, and for each adapter."""

    series: Series
    console: Console
    runs: list[Run] = field(default_factory=list)
    asked: list[Entry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    tuned: list[str] = field(default_factory=list)

    def ask(self, entry: Entry, roster: Roster) -> None:
        """Its forecast, or why there is none."""
        start = time.perf_counter()
        try:
            self.runs.append(one_shot(self.series, entry, roster))
        except (RosterError, ModelError) as error:
            self.missing.append(f"{entry.label}: {error}")
            return
        self.asked.append(entry)
        percent = evaluate(self.runs[-1]).plain.error_percent
        self._say(f"{entry.label}: {percent:.2f} % in {time.perf_counter() - start:.1f} s")

    def tune(self, mine: list[Entry], preset: str, options: argparse.Namespace, folder: Path) -> None:
        """The forecasts of one adapter, once it is trained."""
        model = options.model or cached_model()
        if model is None or not options.minutes:
            why = "not trained (--minutes 0)" if model else "expected the default model in the cache, found none"
            self.missing += [f"{entry.label}: {why}" for entry in mine]
            return
        try:
            adapter = tune(
                options.data, model, preset, end=FIRST, minutes=options.minutes, folder=folder, threads=options.threads
            )
        except (DatasetError, ModelError, ImportError) as error:
            self.missing += [f"{entry.label}: {error}" for entry in mine]
            return
        self.tuned.append(str(adapter))
        self._say(str(adapter))
        roster = Roster(model=model, adapter=adapter.folder)
        for entry in mine:
            self.ask(entry, roster)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)


def main() -> None:
    """Runs the study and writes what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0, help="of training for each preset; 0: none is trained")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", default="", help="labels or names, with semicolons; nothing is written then")
    options = parser.parse_args()
    if not (options.data / FILE).is_file():
        sys.exit(f"--data {options.data}: expected {FILE} in it, found none")
    console = Console(stderr=True)
    series = french_load(options.data)
    tried = Tried(series=series, console=console)
    plain = Roster(model=options.model)
    wanted = {name.strip() for name in options.only.split(";") if name.strip()}
    chosen = [entry for entry in entries(plain) if not wanted or wanted & {entry.label, entry.name}]
    for entry in chosen:
        if not entry.preset:
            tried.ask(entry, plain)
    for preset in dict.fromkeys(entry.preset for entry in chosen if entry.preset):
        mine = [entry for entry in chosen if entry.preset == preset]
        with tempfile.TemporaryDirectory() as folder:
            tried.tune(mine, preset, options, Path(folder))
    runs, asked, missing = tried.runs, tried.asked, tried.missing
    figures = [evaluate(run) for run in runs]
    if not wanted:
        result = Result(tag="French load", runs=runs, figures=figures, treatments=())
        title = "French daily load (MW): the 61 days from 2014-11-01, one shot"
        (options.out / "study.svg").write_text(render_charts(result, columns=2, title=title) + "\n", encoding="utf-8")
        page = study_page(
            asked, figures, missing, tried.tuned, day_ahead=_day_ahead(options.data, series), warm_up=PANEL_WARM_UP
        )
        (options.out / "study.md").write_text(page, encoding="utf-8")
    table = Table("forecaster", *(column.name for column in (*STUDY, *FIELD)))
    for one in figures:
        table.add_row(one.forecaster, *(words(column.of(one)) for column in (*STUDY, *FIELD)))
    Console(width=220).print(table)
    print(json.dumps({one.forecaster: round(one.plain.error_percent, 3) for one in figures}))


def _day_ahead(data: Path, series: Series) -> float:
    """The error of the grid operator's own day-ahead forecast over the same days, in % of the mean."""
    groups, _ = read_recording(data / DAY_AHEAD).lay()
    other = groups[0][0]
    start = round((FIRST - series.start_at).total_seconds() / series.period_s)
    theirs = round((FIRST - other.start_at).total_seconds() / other.period_s)
    measured = series.values[start : start + DAYS]
    said = other.values[theirs : theirs + DAYS]
    return float(100 * np.abs(measured - said).mean() / measured.mean())


if __name__ == "__main__":
    main()

"""Is the panel as good as its best member, wherever that changes, and better than what is simple? Rolling origins on real data.

On every series of the shared data the panel forecasts at each step, and each member is overheard while the panel asks it: one run
scores all. The panel learns whom to trust before the held-out part (warm-up, not scored). Ratios of mean pinball losses over all
steps ahead: to the best single member in hindsight, and to the best simple one (persistence, seasonal, smoothing).
The language model is not among the members here: at every step of every series it would take hours on a processor. French
load one shot is `benchmarks.study`'s experiment.

usage: python -m benchmarks.forecast [--data ../shared/data] [--quick] [--groups NAME,NAME] [--no-study]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.overheard import Overheard, overhear
from benchmarks.shared_series import GROUPS, read_group
from benchmarks.study import entries, french_load, one_shot
from detectors.evaluation.backtest import Plan, backtest
from detectors.evaluation.figures import Figures, evaluate
from stream.meter import ProcessMeter
from stream.model.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from detectors.evaluation.backtest import Series

SIMPLE = ("persistence", "seasonal", "smoothing")
HORIZON = 12
LONGEST = 20_000
"""Steps of history at most: more than any member remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Steps that are held out and that warm the panel up, at most: of a short series a fifth, and half."""

    held_out: int
    warm_up: int

    def plan(self, length: int) -> Plan:
        """The plan for series of a length; a horizon always fits in a fifth of the shortest."""
        held_out = min(self.held_out, max(length // 5, 2))
        return Plan(
            horizon=min(HORIZON, held_out),
            first=length - held_out,
            warm_up=min(self.warm_up, length // 2),
            refit_every=None,
            context=512,
        )


FULL = Size(held_out=400, warm_up=400)
QUICK = Size(held_out=60, warm_up=60)


def main() -> None:
    """Measures and prints; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--groups", default="", help=f"some of: {', '.join(GROUPS)}")
    parser.add_argument("--members", default="", help="names, with commas; else all that need no language model")
    parser.add_argument("--quick", action="store_true", help="60 held-out steps in place of 400")
    parser.add_argument("--no-study", action="store_true", help="leave the one-shot forecast of French load out")
    options = parser.parse_args()
    console = Console(width=200)
    console.print(machine())
    roster = Roster()
    names = _split(options.members) or roster.members
    start = time.perf_counter()
    figures: list[dict[str, Figures]] = []
    for group in _split(options.groups) or GROUPS:
        began = time.perf_counter()
        figures += _group(read_group(options.data, group), roster, names, QUICK if options.quick else FULL, console)
        console.print(f"{group}: {time.perf_counter() - began:.0f} s", highlight=False)
    _print(figures, console)
    percent = {}
    if not options.no_study:
        series = french_load(options.data)
        for entry in entries(roster):
            if not entry.language:
                percent[entry.label] = round(evaluate(one_shot(series, entry, roster)).plain.error_percent, 3)
    print(
        json.dumps(
            {
                "panel_vs_best": _mean_ratio(figures, names),
                "panel_vs_simple": _mean_ratio(figures, [name for name in SIMPLE if name in names]),
                "french_load_percent": percent,
                "coverage80": round(_coverage(figures), 4),
                "series": len(figures),
                "worst_vs_best": round(max(_ratio(one, names) for one in figures), 3),
                "members": list(names),
                "seconds": round(time.perf_counter() - start, 1),
                "machine": machine(),
            }
        )
    )


def _group(
    group: Sequence[Series], roster: Roster, names: Sequence[str], size: Size, console: Console
) -> list[dict[str, Figures]]:
    """The figures of the panel and of every member, per series of one group."""
    skip = max(len(group[0].values) - LONGEST, 0)
    group = [replace(one, values=one.values[skip:], start_at=one.at(skip)) for one in group]
    members: list[Overheard] = [overhear(roster.make(name)) for name in names]
    panel = roster.panel(members)
    runs = backtest(group, panel, size.plan(len(group[0].values)), meter=ProcessMeter())
    for name, fault in getattr(panel, "faults", {}).items():
        console.print(f"{group[0].tag}: {name} failed: {fault}", style="red", highlight=False, markup=False)
    out = []
    for run in runs:
        if np.isfinite(run.measured).any():
            out.append({one.forecaster: evaluate(one) for one in (run, *(member.run(run) for member in members))})
    return out


def _print(figures: Sequence[dict[str, Figures]], console: Console) -> None:
    names = list(dict.fromkeys(name for one in figures for name in one))
    table = Table(title="mean pinball loss over the panel's (below 1: better than the panel)")
    for column in ("series", *names[1:], "panel covers 80 %"):
        table.add_column(column, justify="left" if column == "series" else "right")
    for one in figures:
        panel = one["panel"]
        ratios = [
            _over(one[name].overall.pinball, panel.overall.pinball) if name in one else math.nan for name in names[1:]
        ]
        best = min((ratio for ratio in ratios if math.isfinite(ratio)), default=math.nan)
        cells = [f"[bold]{ratio:.3f}[/]" if ratio == best else f"{ratio:.3f}" for ratio in ratios]
        table.add_row(panel.tag, *cells, f"{panel.overall.coverage80:.1%}")
    console.print(table)


def _ratio(one: dict[str, Figures], names: Iterable[str]) -> float:
    """The panel's loss over that of the best of some members on one series."""
    best = min(one[name].overall.pinball for name in names if math.isfinite(one[name].overall.pinball))
    return _over(one["panel"].overall.pinball, best)


def _over(above: float, below: float) -> float:
    """A ratio; 1 where both are nothing, as on a series that stands still."""
    return above / below if below > 0 else (1.0 if above == 0 else math.inf)


def _mean_ratio(figures: Sequence[dict[str, Figures]], names: Sequence[str]) -> float:
    """Geometric mean over the series."""
    return round(float(np.exp(np.mean([math.log(_ratio(one, names)) for one in figures]))), 4)


def _coverage(figures: Sequence[dict[str, Figures]]) -> float:
    """Share of all measured values that the panel's 80 % band held, each series counting the same."""
    return float(np.mean([one["panel"].overall.coverage80 for one in figures]))


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    main()

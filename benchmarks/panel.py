"""How long does a step of the panel take, and does its memory stay where it is?

Two measurements on one core. First the panel alone: its members answer from forecasts drawn beforehand, as many tags, leads and
members as asked for, so that what is timed is the weighing, mixing, correcting and drawing of futures. Then with all members
there are but the language model, from their memories, some tags fitted before and the others lent their fits: a step is
`learn` and `forecast` of all tags.
With --soak the panel runs on for so many steps of one tag; the memory of the process is read at a tenth of them and at the end.

usage: python -m benchmarks.panel [--tags 100] [--horizon 12] [--members 7] [--steps 30] [--fit 10] [--soak 0]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from detectors.forecasters.fitted import FittedForecaster
from detectors.forecasters.forecaster import Learner
from detectors.forecasters.panel import Panel
from detectors.records import LEVELS, Forecast, Window
from stream.model.process import uncollected
from stream.model.roster import Roster, RosterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detectors.forecasters.forecaster import Forecaster

START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD_S = 900.0
CONTEXT = 128
PATHS = 32
"""Futures that the panel of a service draws."""
WARM = 5
"""Steps before the ones that count."""
TAUGHT = 96 * 28
"""Steps that members are taught before the clock runs: four weeks of quarters of an hour."""


class Ready:
    """A member whose forecasts were drawn beforehand."""

    def __init__(self, name: str, said: dict[datetime, list[Forecast]]) -> None:
        self.name = name
        self._said = said

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        assert horizon
        return self._said[windows[0].end_at]


class Flat:
    """Expects the last value, give or take a width."""

    def __init__(self, name: str, width: float) -> None:
        self.name = name
        self._offsets = [width * offset for offset in (-1.6, -1.3, -0.7, 0.0, 0.7, 1.3, 1.6)]

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        return [
            Forecast(
                tag=w.tag,
                forecaster=self.name,
                made_at=w.end_at,
                period_s=w.period_s,
                quantiles=(tuple(w.values[-1] + offset for offset in self._offsets),) * horizon,
                paths=tuple((w.values[-1] + offset,) * horizon for offset in self._offsets),
            )
            for w in windows
        ]


class Stopwatch:
    """A member, and how long it took in each step."""

    def __init__(self, member: Forecaster) -> None:
        self._member = member
        self._running = 0.0
        self.steps: list[float] = []

    @property
    def name(self) -> str:
        return self._member.name

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        with self._clock():
            return self._member.forecast(windows, horizon=horizon)

    def lap(self) -> None:
        """A step has ended."""
        self.steps.append(self._running)
        self._running = 0.0

    @contextmanager
    def _clock(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._running += time.perf_counter() - start

    def lend_fits(self, *, fitted: Sequence[str], to: Sequence[str]) -> None:
        """Each tag has the fit of its twin among those that are fitted; a fit of its own for each would take ten minutes."""
        if isinstance(self._member, FittedForecaster):
            fits = self._member._fits  # noqa: SLF001 # nobody else lends fits
            for tag, twin in zip(to, cycle(fitted)):
                if twin in fits and tag not in fits:
                    fits[tag] = replace(fits[twin], lately=fits[twin].lately.copy())


class LearnerStopwatch(Stopwatch):
    """The same of a member that learns."""

    def __init__(self, member: Learner) -> None:
        super().__init__(member)
        self._learner = member
        self.refit, self.save, self.restore = member.refit, member.save, member.restore

    @property
    def due(self) -> tuple[str, ...]:
        return self._learner.due

    def learn(self, windows: Sequence[Window]) -> None:
        with self._clock():
            self._learner.learn(windows)


def stopwatch(member: Forecaster) -> Stopwatch:
    return LearnerStopwatch(member) if isinstance(member, Learner) else Stopwatch(member)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tags", type=int, default=100)
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--members", type=int, default=7)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--fit", type=int, default=10, help="tags that are fitted before the clock runs")
    parser.add_argument("--soak", type=int, default=0)
    options = parser.parse_args()
    # One core: what is measured is the work, not how it is spread.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    series = _series(options.tags, TAUGHT + CONTEXT + options.steps)
    console = Console(width=120)
    console.print(machine())
    alone = _alone(series, options)
    whole, busy, shares, fitting = _whole(series, options)
    table = Table(title=f"{options.tags} tags, {options.horizon} leads: ms a step, median of {options.steps}")
    for column in ("part", "ms"):
        table.add_column(column, justify="right" if column == "ms" else "left")
    table.add_row(f"panel alone, {options.members} members", f"{1e3 * alone:.1f}")
    for name, seconds in shares.items():
        table.add_row(f"member {name}", f"{1e3 * seconds:.1f}")
    table.add_row(f"panel and all members, {options.fit} tags fitted in {fitting:.1f} s", f"{1e3 * whole:.1f}")
    console.print(table)
    found = {
        "panel_alone_s": round(alone, 5),
        "step_s": round(whole, 5),
        "step_processor_s": round(busy, 5),
        "members_s": {name: round(seconds, 5) for name, seconds in shares.items()},
        "fitted_tags": min(options.fit, options.tags),
        "fitting_s": round(fitting, 2),
        "tags": options.tags,
        "horizon": options.horizon,
    }
    if options.soak:
        found["soak"] = _soak(options.soak)
        console.print(found["soak"])
    print(json.dumps(found | {"machine": machine()}))


def _series(tags: int, steps: int) -> np.ndarray:
    """Days with noise that hangs together, each tag its own."""
    rng = np.random.default_rng(0)
    day = np.sin(np.arange(steps) / 96 * 2 * np.pi + rng.uniform(0, 6, (tags, 1))) * rng.uniform(1, 5, (tags, 1))
    noise = rng.normal(size=(tags, steps))
    for i in range(1, steps):
        noise[:, i] += 0.8 * noise[:, i - 1]
    return 20 + day + 0.3 * noise


def _windows(series: np.ndarray, end: int, length: int) -> list[Window]:
    at = START + timedelta(seconds=end * PERIOD_S)
    return [
        Window(
            tag=f"x/{i}", period_s=PERIOD_S, end_at=at, values=tuple(row[max(end - length + 1, 0) : end + 1].tolist())
        )
        for i, row in enumerate(series)
    ]


def _alone(series: np.ndarray, options: argparse.Namespace) -> float:
    rng = np.random.default_rng(1)
    ends = range(TAUGHT, TAUGHT + options.steps)
    windows = {end: _windows(series, end, CONTEXT) for end in ends}
    members = []
    for k in range(options.members):
        said = {
            windows[end][0].end_at: [_drawn(window, k, options.horizon, rng) for window in windows[end]] for end in ends
        }
        members.append(Ready("persistence" if k == 0 else f"member{k}", said))
    # What was drawn beforehand is none of the panel's garbage.
    gc.collect()
    gc.freeze()
    panel = Panel(members)
    return _timed(panel, windows, options.horizon)[0]


def _drawn(window: Window, member: int, horizon: int, rng: np.random.Generator) -> Forecast:
    paths = window.values[-1] + np.cumsum(rng.normal(size=(64, horizon)) * (0.3 + 0.1 * member), axis=1)
    return Forecast(
        tag=window.tag,
        forecaster=str(member),
        made_at=window.end_at,
        period_s=window.period_s,
        quantiles=tuple(map(tuple, np.quantile(paths, LEVELS, axis=0).T.tolist())),
        paths=tuple(map(tuple, paths.tolist())),
    )


def _whole(series: np.ndarray, options: argparse.Namespace) -> tuple[float, float, dict[str, float], float]:
    """Seconds a step and those of the processor in it, those of each member, and those of fitting some tags beforehand."""
    roster = Roster()
    members: list[Stopwatch] = []
    for name in roster.members:
        try:
            members.append(stopwatch(roster.make(name)))
        except RosterError as error:
            print(f"left out: {error}")
    panel = Panel(members, paths=PATHS)
    # Tags that borrow a fit are twins of the lender: with another series they would be taken for shifted.
    series = series[np.arange(options.tags) % max(options.fit, 1)]
    panel.learn(_windows(series, TAUGHT - 1, TAUGHT))
    start = time.perf_counter()
    for i in range(min(options.fit, options.tags)):
        panel.refit(f"x/{i}")
    fitting = time.perf_counter() - start
    for member in members:
        member.lend_fits(fitted=[f"x/{i}" for i in range(options.fit)], to=[f"x/{i}" for i in range(options.tags)])
    windows = {end: _windows(series, end, CONTEXT) for end in range(TAUGHT, TAUGHT + options.steps)}
    step, busy = _timed(panel, windows, options.horizon, members)
    for name, text in panel.faults.items():
        print(f"fault of {name}: {text}")
    return step, busy, {member.name: statistics.median(member.steps[WARM:]) for member in members}, fitting


def _timed(
    panel: Panel, windows: dict[int, list[Window]], horizon: int, members: Sequence[Stopwatch] = ()
) -> tuple[float, float]:
    """Medians of the seconds that a step takes, and of those that the processor works in it: less where others share it."""
    seconds, busy = [], []
    for now in windows.values():
        start, worked = time.perf_counter(), time.process_time()
        with uncollected():  # as in the service
            panel.learn(now)
            panel.forecast(now, horizon=horizon)
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - worked)
        for member in members:
            member.lap()
    return statistics.median(seconds[WARM:]), statistics.median(busy[WARM:])


def _soak(steps: int) -> dict[str, float]:
    """Steps of one tag with two members that cost nothing: memory of the process in MiB, and bytes that are saved."""
    rng = np.random.default_rng(2)
    values = (5 + np.sin(np.arange(steps + CONTEXT) / 50) + 0.1 * rng.normal(size=steps + CONTEXT)).tolist()
    panel = Panel([Flat("narrow", 0.1), Flat("wide", 1.0)])
    figures: dict[str, float] = {"steps": steps}
    for end in range(steps):
        at = START + timedelta(seconds=end * PERIOD_S)
        w = [Window(tag="x/t", period_s=PERIOD_S, end_at=at, values=tuple(values[end : end + 64]))]
        panel.learn(w)
        panel.forecast(w, horizon=3)
        if end + 1 in (steps // 10, steps):
            when = "end" if end + 1 == steps else "tenth"
            figures[f"mib_at_{when}"] = round(_resident_mib(), 1)
            figures[f"saved_bytes_at_{when}"] = len(panel.save())
    return figures


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()

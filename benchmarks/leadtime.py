"""How early is a fault found, how often is an alarm false, and is a predicted breach to be believed? On simulated plant days.

    python -m benchmarks.leadtime [--days 200] [--first-seed 10000] [--workers 2] [--period 60] [--horizon 24]

Every second day has one fault, of each kind in turn, at a time and of a size that its seed says; the other days have none. The
simulated plant reports as its PLC would; the reports go through the service's own fast lane and the service's own panel of
forecasters (without the language model), step by step, with the rules of the sample configuration, but in steps of a minute and
24 of them ahead. Seeds from 10,000 on were
not used while anything was developed.

- *found*: an alarm is raised between the beginning of a fault and 15 minutes after its end (on a fault day none stands before).
- *lead*: how long before the chilled water left its band a breach was predicted; a *prediction* is a breach alarm that is raised
  while the value is inside, and it is right if the value is outside within the horizon.
- *false alarms*: alarms raised on days without a fault, but for the first two hours, in which everything is new.
- *reliability*: of the steps at which the value was inside and a breach was foretold with such a probability, the share after
  which the band was left within the horizon; where the service itself would not believe a forecast (just behind a hole or
  an alarm), it does not count.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from bisect import bisect_right
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from config.load import load
from detectors.breach import Breach
from detectors.forecasters.panel import Panel
from detectors.records import Alert, Quality, Sample
from plant.faults import Fault, Kind
from plant.room import PlantRoom
from stream.assemble import PATHS, build_lane
from stream.lane import SETTLED_STEPS
from stream.model.roster import Roster
from stream.watch import SETTLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from config.schema import Settings, Tag
    from detectors.records import Forecast, Window

SAMPLE = Path(__file__).parent.parent / "config" / "heat_exchanger.yaml"
ASSET, WATER = "exchanger", "chilled_water"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY_S = 86_400
ARRIVAL_S = 0.2
GRACE_S = 900.0
WARM_UP_S = 7200.0
TOGETHER = 25
"""Days that are played side by side, so that the panel takes a step of all of them at once."""
DURATIONS_S: dict[Kind, tuple[float, float]] = {
    Kind.FOULING: (3 * 3600, 6 * 3600),
    Kind.PUMP_WEAR: (1200, 3600),
    Kind.VALVE_HUNTING: (1200, 3600),
    Kind.AIR_IN_LOOP: (1200, 3600),
    Kind.LOAD_STEP: (600, 3600),
    Kind.SENSOR_DRIFT: (2 * 3600, 5 * 3600),
    Kind.STUCK_SENSOR: (3600, 3 * 3600),
    Kind.BAD_QUALITY: (600, 3600),
    Kind.LOST_SOURCE: (600, 3600),
}
SIZES: dict[Kind, tuple[float, float]] = {
    Kind.FOULING: (0.5, 0.9),
    Kind.PUMP_WEAR: (0.2, 0.5),
    Kind.VALVE_HUNTING: (25.0, 60.0),
    Kind.AIR_IN_LOOP: (0.2, 0.5),
    Kind.LOAD_STEP: (0.3, 0.7),
    Kind.SENSOR_DRIFT: (0.5, 1.2),
    Kind.STUCK_SENSOR: (0.0, 0.0),
}


@dataclass(kw_only=True)
class Raised:
    """One alarm that was raised, in seconds of its day."""

    tag: str
    rule: str
    at_s: float
    inside: bool
    """Whether the chilled water was within its band then."""


@dataclass(kw_only=True)
class Outcome:
    """What came of one day."""

    seed: int
    fault: Fault | None
    raised: list[Raised] = field(default_factory=list)
    outside_s: list[float] = field(default_factory=list)
    """Seconds at which the shown chilled water was outside its band."""
    foretold: list[tuple[float, float]] = field(default_factory=list)
    """Seconds at which it was inside, and how likely a breach was said to be."""


class Day:
    """One plant day with a fast lane of its own."""

    def __init__(self, seed: int, settings: Settings, *, faulty: bool) -> None:
        self.fault = fault_of(seed) if faulty else None
        self.outcome = Outcome(seed=seed, fault=self.fault)
        self._room = PlantRoom(seed=seed, faults=[self.fault] if self.fault else (), second_of_day=0.0)
        self._lane = build_lane(settings, {})
        self._prefix = f"{seed}|"
        # The others are forecast as well in the service; here nobody would look at it.
        self._asked = {name for name, tag in settings.tags().items() if tag.breach or tag.deviation}
        band = settings.tags()[f"{ASSET}/{WATER}"].tolerance
        assert band is not None
        assert band.setpoint is not None
        self._low, self._high = band.setpoint - band.tolerance, band.setpoint + band.tolerance
        self._breach = Breach(low=self._low, high=self._high, probability=0.5)
        self._inside = True
        self._settled = False
        self._at_s = 0

    def play(self, seconds: int) -> list[Window]:
        """Plays on; the windows in which a step has closed, under names that no other day has."""
        for _ in range(seconds):
            scan = self._room.scan()
            at = BEGIN + timedelta(seconds=scan.at_s)
            arrived = at + timedelta(seconds=ARRIVAL_S)
            for reading in scan.reports:
                quality = Quality.GOOD if reading.value is not None else Quality.BAD
                self._lane.offer(
                    Sample(
                        tag=f"{ASSET}/{reading.tag}", value=reading.value, source_at=at, arrived_at=arrived,
                        quality=quality, reason=reading.reason,
                    )
                )  # fmt: skip
            value = next(reading.value for reading in scan.readings if reading.tag == WATER)
            self._inside = value is None or self._low <= value <= self._high
            if not self._inside:
                self.outcome.outside_s.append(scan.at_s)
            self._at_s += 1
            self._note(scan.at_s)
        self._lane.advance(BEGIN + timedelta(seconds=self._at_s))
        self._note(self._at_s)
        windows = [window for window in self._lane.windows() if window.tag in self._asked]
        self._settled = any(_settled(window) for window in windows if window.tag == f"{ASSET}/{WATER}")
        return [replace(window, tag=self._prefix + window.tag) for window in windows]

    def expect(self, forecasts: Iterable[Forecast]) -> None:
        """Takes the panel's forecasts of its own windows."""
        for forecast in forecasts:
            own = replace(forecast, tag=forecast.tag.removeprefix(self._prefix))
            self._lane.expect(own, BEGIN + timedelta(seconds=self._at_s))
            if own.tag == f"{ASSET}/{WATER}" and self._inside and self._settled:
                verdict = self._breach.judge(own)
                if verdict is not None and verdict.probability is not None:
                    self.outcome.foretold.append((self._at_s, verdict.probability))
        self._note(self._at_s)

    def _note(self, at_s: float) -> None:
        for record in self._lane.harvest().records:
            if isinstance(record, Alert) and record.state.active and not record.previous.active:
                raised = Raised(tag=record.tag, rule=record.rule, at_s=at_s, inside=self._inside)
                self.outcome.raised.append(raised)


def _settled(window: Window) -> bool:
    """Whether the service believes a forecast from this window, as it does in its own fast lane."""
    marks = window.normal or (True,) * len(window.values)
    good = [normal and math.isfinite(value) for normal, value in zip(marks, window.values, strict=True)][
        -SETTLED_STEPS:
    ]
    return good[-1] and sum(good) >= SETTLED * SETTLED_STEPS


def fault_of(seed: int) -> Fault:
    """The fault of a day: kinds take turns, the rest is drawn from the seed."""
    dice = random.Random(seed)
    kind = list(Kind)[seed // 2 % len(Kind)]
    begin_s = dice.uniform(6 * 3600, 16 * 3600)
    duration_s = dice.uniform(*DURATIONS_S[kind])
    size = dice.uniform(*SIZES.get(kind, (0.0, 0.0)))
    if kind is Kind.SENSOR_DRIFT:
        size *= dice.choice((-1, 1))
    tag = WATER if kind in {Kind.SENSOR_DRIFT, Kind.STUCK_SENSOR, Kind.BAD_QUALITY} else ""
    return Fault(kind=kind, tag=tag, begin_s=begin_s, end_s=begin_s + duration_s, size=size)


def play(seeds: Sequence[int], period_s: int, horizon: int) -> list[Outcome]:
    """Some days side by side, from midnight to midnight."""
    settings = settings_of(period_s, horizon)
    days = [Day(seed, settings, faulty=seed % 2 == 0) for seed in seeds]
    roster = Roster()
    panel = Panel([roster.make(name) for name in settings.panel.members], paths=PATHS)
    for _ in range(DAY_S // period_s):
        windows = [window for day in days for window in day.play(period_s)]
        panel.learn(windows)
        for tag in panel.due:
            panel.refit(tag)
        forecasts = panel.forecast(windows, horizon=settings.panel.horizon)
        mine: dict[str, list[Forecast]] = defaultdict(list)
        for forecast in forecasts:
            mine[forecast.tag.partition("|")[0]].append(forecast)
        for day in days:
            day.expect(mine[str(day.outcome.seed)])
    return [day.outcome for day in days]


def settings_of(period_s: int, horizon: int) -> Settings:
    """The sample configuration, its grid in another period and with another horizon.

    A breach must be foretold twice running: the sample's on-delay, of four steps of ten seconds, is less than a step here.
    """
    settings = load(SAMPLE).settings
    assets = {
        name: asset.model_copy(update={"tags": {n: _slower(tag, float(period_s)) for n, tag in asset.tags.items()}})
        for name, asset in settings.assets.items()
    }
    panel = settings.panel.model_copy(update={"horizon": horizon})
    return settings.model_copy(update={"assets": assets, "panel": panel})


def _slower(tag: Tag, period_s: float) -> Tag:
    changes: dict[str, Any] = {"period_s": period_s}
    if tag.breach is not None:
        changes["breach"] = tag.breach.model_copy(update={"on_delay_s": 1.5 * period_s})
    return tag.model_copy(update=changes)


def main() -> None:
    """Plays, prints two tables, and JSON as the last line."""
    options = _options()
    seeds = range(options.first_seed, options.first_seed + options.days)
    parts = [list(seeds[i : i + TOGETHER]) for i in range(0, len(seeds), TOGETHER)]
    begun = time.perf_counter()
    with ProcessPoolExecutor(options.workers) as pool:
        asked = partial(play, period_s=options.period, horizon=options.horizon)
        outcomes = [one for some in pool.map(asked, parts) for one in some]
    figures = judge(outcomes, options.period, options.horizon, len(load(SAMPLE).settings.tags()))
    console = Console()
    console.print(
        f"{machine()}\n{options.days} plant days, a step every {options.period} s, {time.perf_counter() - begun:.0f} s\n"
    )
    _print(figures, console)
    figures |= {"days": options.days, "period_s": options.period, "horizon": options.horizon, "machine": machine()}
    print(json.dumps({key: value for key, value in figures.items() if not key.startswith("_")}))


def judge(outcomes: Sequence[Outcome], period_s: float, horizon: int, tags: int) -> dict[str, Any]:
    """The figures of all days."""
    found: dict[str, list[bool]] = defaultdict(list)
    delays: dict[str, list[float]] = defaultdict(list)
    by: dict[str, list[str]] = defaultdict(list)
    leads: dict[str, list[float]] = defaultdict(list)
    right, wrong, quiet_days = [], 0, 0
    false: dict[str, int] = defaultdict(int)
    for outcome in outcomes:
        for one in outcome.raised:
            if one.rule != "breach" or not one.inside or one.at_s < WARM_UP_S:
                continue
            after = [s for s in outcome.outside_s if one.at_s < s <= one.at_s + horizon * period_s]
            if after:
                right.append((after[0] - one.at_s) / period_s)
            else:
                wrong += 1
        fault = outcome.fault
        if fault is None:
            quiet_days += 1
            for one in outcome.raised:
                if one.at_s >= WARM_UP_S:
                    false[f"{one.tag.partition('/')[2]}/{one.rule}"] += 1
            continue
        raised = [one for one in outcome.raised if fault.begin_s <= one.at_s <= fault.end_s + GRACE_S]
        found[fault.kind].append(bool(raised))
        if raised:
            delays[fault.kind].append(raised[0].at_s - fault.begin_s)
            by[fault.kind].append(raised[0].rule)
            left = next((s for s in outcome.outside_s if s >= fault.begin_s), None)
            if left is not None and left <= fault.end_s:
                leads[fault.kind].append(left - raised[0].at_s)
    count = sum(false.values())
    every_delay = [delay for some in delays.values() for delay in some]
    return {
        "found": {kind: round(sum(hits) / len(hits), 3) for kind, hits in sorted(found.items())},
        "median_delay_s": round(median(every_delay), 1) if every_delay else None,
        "breach_precision": round(len(right) / (len(right) + wrong), 3) if right or wrong else None,
        "breach_median_lead_steps": round(median(right), 1) if right else None,
        "breach_predictions": len(right) + wrong,
        "false_alarms_per_tag_week": round(count / tags / quiet_days * 7, 3) if quiet_days else None,
        "_reliability": reliability(outcomes, horizon * period_s),
        "_delays": delays,
        "_leads": leads,
        "_by": by,
        "_false": false,
    }


def reliability(outcomes: Sequence[Outcome], reach_s: float) -> list[tuple[float, float, int]]:
    """Lower edge of the foretold probability, share that came true, and how many steps that is of."""
    came: dict[int, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        outside = outcome.outside_s
        for at_s, probability in outcome.foretold:
            place = bisect_right(outside, at_s)
            true = place < len(outside) and outside[place] <= at_s + reach_s
            came[min(int(probability * 5), 4)].append(true)
    return [(fifth / 5, sum(hits) / len(hits), len(hits)) for fifth, hits in sorted(came.items())]


def _print(figures: dict[str, Any], console: Console) -> None:
    table = Table(title="faults", title_justify="left")
    for head in ("kind", "found", "median delay, s", "first raised by", "median lead before the band was left, s"):
        table.add_column(head, justify="left" if head in {"kind", "first raised by"} else "right")
    for kind, share in figures["found"].items():
        rules = figures["_by"].get(kind, [])
        ranked = ", ".join(f"{rule} {rules.count(rule)}" for rule in sorted(set(rules), key=rules.count, reverse=True))
        delays, leads = figures["_delays"].get(kind, []), figures["_leads"].get(kind, [])
        table.add_row(
            kind,
            f"{share:.0%}",
            f"{median(delays):.0f}" if delays else "",
            ranked,
            f"{median(leads):.0f}" if leads else "",
        )
    console.print(table)
    console.print(
        f"predicted breaches: {figures['breach_predictions']}, right {figures['breach_precision']}, "
        f"{figures['breach_median_lead_steps']} steps ahead"
    )
    reliability = ", ".join(
        f"{low:.0%} to {low + 0.2:.0%}: {share:.0%} of {n}" for low, share, n in figures["_reliability"]
    )
    console.print(f"reliability: {reliability}")
    rules = ", ".join(f"{rule} {n}" for rule, n in sorted(figures["_false"].items(), key=lambda item: -item[1]))
    console.print(f"false alarms: {figures['false_alarms_per_tag_week']} a tag and week ({rules or 'none'})\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--period", type=int, default=60, help="seconds from step to step")
    parser.add_argument("--horizon", type=int, default=24, help="steps ahead")
    return parser.parse_args()


if __name__ == "__main__":
    main()

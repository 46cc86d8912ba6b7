"""How many samples a second does the fast lane judge on one core, with all its rules on?

Exchangers like that of config/heat_exchanger.yaml, every rule of the sample on and those that it leaves out as well (all four
levels, a set point that follows a tag). Each tag reports once a second of plant time; steps close every 10 s. What is timed
is `FastLane.offer` of every sample and the harvest of what came of it; samples are made beforehand, and nothing is written.
With --tick a step of the panel of forecasters is timed as well, by benchmarks.panel, with so many tags.

usage: python -m benchmarks.lanes [--assets 200] [--seconds 120] [--profile] [--tick TAGS]
"""

from __future__ import annotations

import argparse
import copy
import cProfile
import gc
import json
import os
import pstats
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from benchmarks.machine import machine
from config.schema import Settings
from detectors.records import Sample
from stream.assemble import build_lane

SAMPLE = Path(__file__).parents[1] / "config" / "heat_exchanger.yaml"
START = datetime(2026, 1, 1, tzinfo=UTC)
USUAL = {"chilled_water": 5.0, "setpoint": 5.0, "inlet": 11.5, "flow": 120.0, "pump_command": 72.0, "power": 908.0}
NOISE = {"chilled_water": 0.02, "setpoint": 0.0, "inlet": 0.025, "flow": 0.35, "pump_command": 0.1, "power": 4.0}
HARVEST_EVERY = 2000
"""Samples from one harvest to the next; the service harvests after each batch that its sources deliver."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=200, help="exchangers of six tags each")
    parser.add_argument("--seconds", type=int, default=120, help="plant seconds of one report per tag each")
    parser.add_argument("--profile", action="store_true", help="say where the time goes; the figures are slower then")
    parser.add_argument("--tick", type=int, default=0, metavar="TAGS", help="time a step of the panel of so many tags")
    options = parser.parse_args()
    # One core: what is measured is the work, not how it is spread.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    console = Console(width=120)
    console.print(machine())
    settings = plants(options.assets)
    samples = reports(settings, options.seconds)
    lane = build_lane(settings, {})
    gc.collect()
    gc.freeze()
    profile = cProfile.Profile()
    if options.profile:
        profile.enable()
    records = 0
    began = time.perf_counter()
    for i, sample in enumerate(samples):
        lane.offer(sample)
        if i % HARVEST_EVERY == 0:
            records += len(lane.harvest().records)
    seconds = time.perf_counter() - began
    records += len(lane.harvest().records)
    if options.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    rate = len(samples) / seconds
    console.print(
        f"{len(samples)} samples of {len(settings.tags())} tags, {len(lane.alarms)} alarms: {seconds:.2f} s, "
        f"{rate:,.0f} samples/s, {lane.verdicts} verdicts, {records} records",
        highlight=False,
    )
    found: dict[str, Any] = {
        "fast_samples_per_s": round(rate),
        "tags": len(settings.tags()),
        "alarms": len(lane.alarms),
        "samples": len(samples),
        "verdicts": lane.verdicts,
        "model_tick_s": tick(options.tick) if options.tick else None,
        "model_tick_tags": options.tick or None,
    }
    print(json.dumps(found | {"machine": machine()}))


def plants(assets: int) -> Settings:
    """So many exchangers as in the sample, each with a tag that tells the set point."""
    content = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    exchanger = content["assets"]["exchanger"]
    tags = exchanger["tags"]
    water = tags["chilled_water"]
    tags["setpoint"] = {"unit": "degC", "period_s": 10, "hold_s": 60, "source": {"name": "plc", "node": "s=setpoint"}}
    water["tolerance"] |= {"setpoint_tag": "setpoint", "settle_s": 300}
    water["limits"] |= {"low": {"at": 4.0, "deadband": 0.1}, "high": {"at": 7.0, "deadband": 0.1}}
    for tag in tags.values():
        tag.setdefault("frozen", {"at_rest": [5.0]})
        tag.setdefault("rate", {"per_minute": 1000.0, "over_s": 60})
    content["assets"] = {f"exchanger{i}": copy.deepcopy(exchanger) for i in range(assets)}
    return Settings.model_validate(content)


def reports(settings: Settings, seconds: int) -> list[Sample]:
    """A report of every tag a second, spread over the second, in the order of arrival."""
    rng = np.random.default_rng(0)
    names = list(settings.tags())
    noise = rng.standard_normal((seconds, len(names)))
    made = []
    for second in range(seconds):
        for i, name in enumerate(names):
            own = name.partition("/")[2]
            source_at = START + timedelta(seconds=second + i / len(names))
            value = round(USUAL[own] + NOISE[own] * float(noise[second, i]), 3)
            made.append(Sample(tag=name, value=value, source_at=source_at, arrived_at=source_at))
    return made


def tick(tags: int) -> float:
    """Seconds that a step of the panel takes with so many tags, all members but the language model."""
    command = [sys.executable, "-m", "benchmarks.panel", "--tags", str(tags), "--steps", "10"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["step_s"])


if __name__ == "__main__":
    main()

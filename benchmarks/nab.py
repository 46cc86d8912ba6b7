"""How does novelty score on the Numenta Anomaly Benchmark, standard profile?

NAB's own scoring (Lavin and Ahmad 2015, and the scorer of its repository): a detection inside a labelled window earns by how
early it is, on a scaled sigmoid, only the best of a window counts, a window without one costs 1; a detection outside costs up to
0.11, less right after a window; the first 15 % of a file (at most 750 rows) count for nothing; the sum over all files is set
between that of a detector that says nothing (0) and that of one that is perfect (100). One setting for all files.

A detection is the row on which an alarm is raised: an operator is told once. The product's detector and alarm stand at their own
edge; NAB would choose the threshold that is best for the whole corpus, which `--sweep` shows beside it.

usage: python -m benchmarks.nab --data FOLDER [--sweep]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.labelled import read_table
from benchmarks.machine import machine
from detectors.alarm import Alarm, AlarmRule
from detectors.detector import Step
from detectors.novelty import Novelty
from detectors.records import AlarmState

FALSE_POSITIVE = 0.11
"""What one costs in the standard profile; a hit is worth 1 and a miss costs 1."""
PROBATION, PROBATION_OF = 0.15, 5000
ALARM = AlarmRule(clear_below=0.7, off_delay_s=100.0)
"""Of novelty: over when it was below 0.7 of the edge for 100 steps, counted as seconds here."""
SWEEP = (1.5, 1.75, 2.0, 2.25, 2.5, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file: its values, and its windows as first and last row."""

    name: str
    values: list[float]
    windows: list[tuple[int, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that has data/ and windows.json")
    parser.add_argument("--sweep", action="store_true", help="other edges too")
    options = parser.parse_args()
    started = time.perf_counter()
    recordings = [
        _read(options.data / "data" / f"{name}.gz", name, windows)
        for name, windows in json.loads((options.data / "windows.json").read_text(encoding="utf-8")).items()
    ]
    count = sum(len(each.windows) for each in recordings)
    console = Console(width=max(Console().width, 110))
    console.print(machine())
    table = Table(title=f"NAB, standard profile, {len(recordings)} files, {count} windows")
    for head in ("file", "windows found", "detections", "points"):
        table.add_column(head, justify="left" if head == "file" else "right")
    points: dict[str, float] = {}
    found = 0
    for each in recordings:
        detections = raised(each.values)
        points[each.name] = worth(detections, len(each.values), each.windows)
        hits = sum(any(first <= row <= last for row in detections) for first, last in each.windows)
        found += hits
        counted = sum(row >= probation(len(each.values)) for row in detections)
        table.add_row(each.name, f"{hits}/{len(each.windows)}", str(counted), f"{points[each.name]:.2f}")
    score = normalised(sum(points.values()), count)
    console.print(table)
    console.print(f"score {score:.1f}")
    sweep = {}
    for edge in SWEEP if options.sweep else ():
        total = sum(worth(raised(each.values, edge=edge), len(each.values), each.windows) for each in recordings)
        sweep[str(edge)] = round(normalised(total, count), 2)
        console.print(f"edge {edge}: {sweep[str(edge)]}")
    result = {
        "score": round(score, 2),
        "windows_found": found,
        "windows": count,
        "points": {name: round(value, 3) for name, value in points.items()},
        "sweep": sweep,
        "seconds": round(time.perf_counter() - started, 1),
        "machine": machine(),
    }
    print(json.dumps(result))


def raised(values: list[float], *, edge: float | None = None) -> list[int]:
    """Rows on which the alarm of novelty is raised."""
    detector = Novelty() if edge is None else Novelty(edge=edge)
    alarm = Alarm(tag="nab/value", rule_name=detector.rule, rule=ALARM)
    rows = []
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for row, value in enumerate(values):
        step = Step(tag=alarm.tag, end_at=start + timedelta(seconds=row), value=value, age_s=0.0)
        verdict = detector.judge(step)
        if verdict is not None:
            alerts = alarm.judge(verdict, step.end_at)
            if any(alert.state is AlarmState.UNACKNOWLEDGED for alert in alerts):
                rows.append(row)
        detector.learn(step, normal=not alarm.memory.state.active)
    return rows


def worth(detections: list[int], length: int, windows: list[tuple[int, int]]) -> float:
    """Raw score of one file."""
    best: dict[tuple[int, int], float] = {}
    total = 0.0
    for row in detections:
        if row < probation(length):
            continue
        within = next(((first, last) for first, last in windows if first <= row <= last), None)
        if within is not None:
            first, last = within
            earned = sigmoid(-(last - row + 1) / (last - first + 1)) / sigmoid(-1.0)
            best[within] = max(best.get(within, -math.inf), earned)
            continue
        before = [window for window in windows if window[1] < row]
        if before:
            first, last = before[-1]
            # The repository divides by the width less one here, and by the width above.
            total += FALSE_POSITIVE * sigmoid((row - last) / (last - first))
        else:
            total -= FALSE_POSITIVE
    return total + sum(best.get(window, -1.0) for window in windows)


def sigmoid(position: float) -> float:
    """What a detection is worth `position` window lengths after the end of a window."""
    return -1.0 if position > 3 else 2 / (1 + math.exp(5 * position)) - 1


def probation(length: int) -> int:
    """Rows at the begin that count for nothing."""
    return math.floor(PROBATION * min(length, PROBATION_OF))


def normalised(total: float, windows: int) -> float:
    """100 for every window found at its first row and nothing else, 0 for silence."""
    return 100 * (total + windows) / (2 * windows)


def _read(path: Path, name: str, windows: list[list[str]]) -> Recording:
    _, rows = read_table(path)
    times = np.array([row[0] for row in rows], dtype="datetime64[s]")
    spans = []
    for begin, end in windows:
        inside = np.flatnonzero((times >= np.datetime64(begin)) & (times <= np.datetime64(end)))
        spans.append((int(inside[0]), int(inside[-1])))
    return Recording(name=name, values=[float(row[1]) for row in rows], windows=spans)


if __name__ == "__main__":
    main()

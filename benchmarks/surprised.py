"""How often does surprise alarm on a normal run, against what it promises, and what does it see of SKAB's faults?

The panel of plain forecasters follows the steady tags of each run step by step; `Surprise` bets against its PITs. While an alarm
of a tag stands its steps are marked as not normal, so that no member learns from them. Of the normal run the alarms raised are
counted against alpha per step; of valve1 the figures are those of `python -m benchmarks.skab`.

usage: python -m benchmarks.surprised --data FOLDER [--steps 4000] [--files 16]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.labelled import Counts, read_table
from benchmarks.machine import machine
from detectors.alarm import Alarm, AlarmRule
from detectors.baseline import survey
from detectors.forecasters.panel import Panel
from detectors.records import Window
from detectors.surprise import Surprise
from stream.model.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Sequence

MEMBERS = ("persistence", "seasonal", "smoothing", "harmonic", "autoregression")
CONTEXT, SHORTEST, TAUGHT = 128, 24, 400
RULE = AlarmRule(clear_below=0.75)
START = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that has valve1/ and anomaly-free.csv.gz")
    parser.add_argument("--steps", type=int, default=4000, help="of the normal run")
    parser.add_argument("--files", type=int, default=16)
    options = parser.parse_args()
    started = time.perf_counter()
    header, rows = read_table(options.data / "anomaly-free.csv.gz", delimiter=";")
    values = np.array([row[1:] for row in rows[: options.steps]], dtype=float)
    false: dict[str, int] = {}
    for alpha in (1e-3, 1e-4, 1e-5):
        stood = follow(values, header[1:], alpha=alpha)[TAUGHT:]
        false[f"{alpha:g}"] = int((np.diff(stood.astype(int), axis=0) > 0).sum())
        promised = alpha * stood.size
        print(
            f"normal run, alpha {alpha:g}: {false[f'{alpha:g}']} alarms in {stood.size} steps, at most {promised:.1f} promised"
        )
    counts, delays = Counts(), []
    for number in range(options.files):
        header, rows = read_table(options.data / "valve1" / f"{number}.csv.gz", delimiter=";")
        tags = header[1 : header.index("anomaly")]
        values = np.array([row[1 : 1 + len(tags)] for row in rows], dtype=float)
        truth = np.array([float(row[header.index("anomaly")]) for row in rows]) > 0
        steady = survey(values[:TAUGHT], tags).steady
        said = follow(values[:, steady], [tag for tag, yes in zip(tags, steady, strict=True) if yes], alpha=1e-3).any(
            axis=1
        )
        counts.add(truth[TAUGHT:], said[TAUGHT:])
        found = np.flatnonzero((truth & said)[int(np.argmax(truth)) :])
        delays.append(float(found[0]) if len(found) else float("inf"))
    missed = sum(delay == float("inf") for delay in delays)
    print(
        f"valve1, alpha 0.001: F1 {counts.f1:.3f}, FAR {counts.far:.1f} %, MAR {counts.mar:.1f} %, {missed} files not found"
    )
    median = statistics.median(delays)
    result = {
        "false_alarms": false,
        "steps": int((options.steps - TAUGHT) * 8),
        "f1": round(counts.f1, 4),
        "far": round(counts.far, 2),
        "mar": round(counts.mar, 2),
        "median_delay_s": median if np.isfinite(median) else None,
        "seconds": round(time.perf_counter() - started, 1),
        "machine": machine(),
    }
    print(json.dumps(result))


def follow(values: np.ndarray, tags: Sequence[str], *, alpha: float) -> np.ndarray:
    """Whether the alarm of each tag stood at each step: steps by tags."""
    roster = Roster()
    panel = Panel([roster.make(name) for name in MEMBERS], paths=8)
    detectors = [Surprise(alpha=alpha) for _ in tags]
    names = [f"skab/{tag}" for tag in tags]
    alarms = [Alarm(tag=name, rule_name="surprise", rule=RULE) for name in names]
    normal: list[deque[bool]] = [deque([True] * CONTEXT, maxlen=CONTEXT) for _ in tags]
    stood = np.zeros(values.shape, dtype=bool)
    for step in range(len(values)):
        first = max(0, step - CONTEXT + 1)
        at = START + timedelta(seconds=step)
        for marks, alarm in zip(normal, alarms, strict=True):
            marks.append(not alarm.memory.state.active)
        if step < SHORTEST:
            continue
        windows = [
            Window(
                tag=name,
                period_s=1.0,
                end_at=at,
                values=tuple(values[first : step + 1, i].tolist()),
                normal=() if all(normal[i]) else tuple(normal[i])[first - step - 1 :],
            )
            for i, name in enumerate(names)
        ]
        panel.learn(windows)
        for score in panel.scores:
            i = names.index(score.tag)
            verdict = detectors[i].judge(score)
            detectors[i].learn(score)
            if verdict is not None:
                alarms[i].judge(verdict, at)
        stood[step] = [alarm.memory.state.active for alarm in alarms]
        if step == TAUGHT:
            for name in panel.due:
                panel.refit(name)
        panel.forecast(windows, horizon=2)
    return stood


if __name__ == "__main__":
    main()

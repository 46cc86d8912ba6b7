"""How many moments of each Tennessee Eastman fault are found, and how often is a fault seen before there is one?

The published protocol: learn from the normal run of 500 rows, judge the test runs of 960 rows (3 min apart), in which the fault
begins after row 160. Per fault the detection rate (percent of the rows after it in alarm), the false-alarm rate (percent of the
160 rows before it in alarm) and the delay to the first row in alarm; beside it the false-alarm rate over a whole normal test
run. Detectors are the product's own, as they come, with the settings of every other benchmark.

usage: python -m benchmarks.tep --data FOLDER
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.labelled import listen
from benchmarks.machine import machine
from detectors.baseline import survey
from detectors.outlier import DEFAULT, FITS

if TYPE_CHECKING:
    from detectors.outlier import Outlier

PERIOD_S = 180.0
BEFORE = 160
TAGS = (*(f"XMEAS{i}" for i in range(1, 42)), *(f"XMV{i}" for i in range(1, 12)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    started = time.perf_counter()
    taught = read_run(options.data / "d00.dat.gz").T
    baseline = survey(taught, TAGS)
    models = {name: fitted(baseline.deviations) for name, fitted in FITS.items()}
    sets: dict[str, tuple[Outlier | None, bool]] = {
        "default": (models[DEFAULT], True),
        "shift": (None, True),
        **{name: (model, False) for name, model in models.items()},
    }
    console = Console(width=max(Console().width, 120))
    console.print(machine())
    natures = Counter(str(nature) for nature in baseline.natures)
    console.print(f"tags told apart without being told: {dict(natures)}")
    table = Table(title="Tennessee Eastman: detection rate % / false alarms before it % / delay in min")
    runs = sorted(options.data.glob("d[0-9][0-9]_te.dat.gz"))
    for head in ("detector", *(f"fault {path.name[1:3]}" if path.name[1:3] != "00" else "normal" for path in runs)):
        table.add_column(head, justify="left" if head == "detector" else "right")
    figures: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, (model, shifted) in sets.items():
        cells = []
        for path in runs:
            said = listen(baseline, model, taught, read_run(path), period_s=PERIOD_S, shifted=shifted).alarm
            fault = path.name[1:3]
            if fault == "00":
                found = {"false_alarm_rate": round(100 * float(said.mean()), 2)}
                cells.append(f"- / {found['false_alarm_rate']:.1f} / -")
            else:
                after = np.flatnonzero(said[BEFORE:])
                found = {
                    "detection_rate": round(100 * float(said[BEFORE:].mean()), 2),
                    "false_alarm_rate": round(100 * float(said[:BEFORE].mean()), 2),
                    "delay_min": float(after[0]) * PERIOD_S / 60 if len(after) else None,
                }
                delay = "never" if found["delay_min"] is None else f"{found['delay_min']:.0f}"
                cells.append(f"{found['detection_rate']:.1f} / {found['false_alarm_rate']:.1f} / {delay}")
            figures.setdefault(name, {})["normal" if fault == "00" else fault] = found
        table.add_row(name, *cells)
    console.print(table)
    result = {
        "faults": figures.pop("default"),
        "detectors": figures,
        "default": ["shift", DEFAULT],
        "seconds": round(time.perf_counter() - started, 1),
        "machine": machine(),
    }
    print(json.dumps(result))


def read_run(path: Path) -> np.ndarray:
    """A run as it is stored: one line a row."""
    with gzip.open(path, mode="rt", encoding="utf-8") as lines:
        return np.loadtxt(lines)


if __name__ == "__main__":
    main()

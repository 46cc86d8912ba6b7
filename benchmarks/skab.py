"""How well are faults found in the SKAB water loop, and how often is it said that there is one when there is none?

The published protocol: in each file the first 400 rows may be learnt from, every row after them is scored, and rows are counted
over all files together: F1, FAR (percent of normal rows in alarm), MAR (percent of anomalous rows not in alarm). Beside it the
median delay from the first anomalous row of a file to the first row in alarm. Detectors are the product's own, as they come,
with one setting for all files; they look at no row before it has passed, and at neither clock nor row number.

A row counts as anomalous while an alarm stands. "All" is what a user has by default.

usage: python -m benchmarks.skab --data FOLDER
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.labelled import Counts, listen, read_table
from benchmarks.machine import machine
from detectors.baseline import survey
from detectors.outlier import DEFAULT, FITS

if TYPE_CHECKING:
    from detectors.outlier import Outlier

TAUGHT = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that has valve1/")
    options = parser.parse_args()
    started = time.perf_counter()
    paths = sorted((options.data / "valve1").glob("*.csv.gz"), key=lambda path: int(path.name.split(".")[0]))
    if not paths:
        parser.error(f"{options.data}: expected files valve1/*.csv.gz, found none")
    counts: dict[str, Counts] = {}
    delays: dict[str, list[float]] = {}
    for path in paths:
        for name, (truth, said) in _file(path).items():
            counts.setdefault(name, Counts()).add(truth, said)
            onset = int(np.argmax(truth))
            found = np.flatnonzero((truth & said)[onset:])
            delays.setdefault(name, []).append(float(found[0]) if len(found) else float("inf"))
    console = Console(width=max(Console().width, 100))
    console.print(machine())
    table = Table(title=f"SKAB valve1, {len(paths)} files, rows after the first {TAUGHT}")
    for head in ("detector", "F1", "FAR %", "MAR %", "median delay s", "files not found"):
        table.add_column(head, justify="left" if head == "detector" else "right")
    figures: dict[str, dict[str, float | None]] = {}
    for name, count in counts.items():
        delay = statistics.median(delays[name])
        missed = sum(each == float("inf") for each in delays[name])
        figures[name] = {
            "f1": round(count.f1, 4),
            "far": round(count.far, 2),
            "mar": round(count.mar, 2),
            "median_delay_s": delay if np.isfinite(delay) else None,
        }
        table.add_row(name, f"{count.f1:.3f}", f"{count.far:.1f}", f"{count.mar:.1f}", f"{delay:.0f}", str(missed))
    console.print(table)
    result = {
        **figures.pop("default"),
        "detectors": figures,
        "default": ["shift", DEFAULT],
        "files": len(paths),
        "seconds": round(time.perf_counter() - started, 1),
        "machine": machine(),
    }
    print(json.dumps(result))


def _file(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each detector, alone and in the default set: which scored rows are anomalous, and which were in alarm."""
    header, rows = read_table(path, delimiter=";")
    tags = header[1 : header.index("anomaly")]
    values = np.array([row[1 : 1 + len(tags)] for row in rows], dtype=float)
    truth = np.array([float(row[header.index("anomaly")]) for row in rows])[TAUGHT:] > 0
    taught = values[:TAUGHT]
    baseline = survey(taught, tags)
    models = {name: fitted(baseline.deviations) for name, fitted in FITS.items()}
    sets: dict[str, tuple[Outlier | None, bool]] = {
        "default": (models[DEFAULT], True),
        "shift": (None, True),
        **{name: (model, False) for name, model in models.items()},
    }
    return {
        name: (truth, listen(baseline, model, taught, values[TAUGHT:], period_s=1.0, shifted=shifted).alarm)
        for name, (model, shifted) in sets.items()
    }


if __name__ == "__main__":
    main()

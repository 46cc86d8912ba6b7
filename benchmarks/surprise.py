"""How surprised is the language model by real signals, against persistence, exponential smoothing and autoregression?

Windows of 128 values, of which the last 64 are scored, each from all that came before it in the window: mean -ln of the
probability of the value's cell, in nats per value, the same windows, grid and cells for all. The model is as it comes,
trained on none of it. Beside it how evenly its probability integral transforms are spread (Kolmogorov-Smirnov distance from
uniform): they are what surprise is judged by. A signal that stands still has them all in the middle of its one cell.

Windows with a hole are passed over; what no sensor can have meant is a hole (`benchmarks.shared_series`).

usage: python -m benchmarks.surprise --data FOLDER [--windows 40] [--numbers auto] [--device auto] [--model FOLDER]
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import kstest

from benchmarks.machine import machine
from benchmarks.shared_series import read_group
from benchmarks.surprise_peer import PEERS, nats
from detectors.language.codec import anchor
from detectors.language.model import DTYPES, load_model
from detectors.language.reader import Reader, offset_of
from detectors.records import Window
from stream.model.weights import default_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detectors.language.codec import Grid
    from detectors.language.model import LanguageModel

DATA_SETS = {
    "ETTh1": ("ETTh1",),
    "ETTm1": ("ETTm1",),
    "SKAB": ("skab",),
    "xai4heat": ("xai4heat L4", "xai4heat L17"),
}
LENGTH, KNOWN = 128, 64
PERIOD_S = 60.0
BARS = " ▁▂▃▄▅▆▇█"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=40, help="of each data set")
    parser.add_argument("--numbers", default="auto", choices=("auto", *DTYPES))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", type=Path, default=None)
    options = parser.parse_args()
    started = time.perf_counter()
    model = load_model(options.model or default_model(), device=options.device, numbers=options.numbers)
    console = Console(width=max(Console().width, 110))
    console.print(f"{machine()}\n{model.description}\n")
    table = Table(
        title=f"nats per value, {options.windows} windows a data set, {LENGTH - KNOWN} values of each; less is better"
    )
    for head in ("data set", "language", *PEERS, "KS of the PITs", "PITs in tenths"):
        table.add_column(head, justify="left" if head in {"data set", "PITs in tenths"} else "right")
    found: dict[str, dict[str, float]] = {}
    distances: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, groups in DATA_SETS.items():
        windows = windows_of(options.data, groups, options.windows)
        counts[name] = len(windows)
        surprise, pits, grids = _read(model, windows)
        found[name] = {"language": float(np.mean(surprise))}
        for peer in PEERS:
            each = [nats(w, grid, first=KNOWN, name=peer) for w, grid in zip(windows, grids, strict=True)]
            found[name][peer] = float(np.mean(each))
        distances[name] = float(kstest(pits, "uniform").statistic)
        tenths = np.histogram(pits, bins=10, range=(0, 1))[0]
        bars = "".join(BARS[min(round(8 * count / max(tenths)), 8)] for count in tenths)
        figures = (f"{found[name][peer]:.2f}" for peer in ("language", *PEERS))
        table.add_row(name, *figures, f"{distances[name]:.3f}", bars)
    mean = {peer: float(np.mean([found[name][peer] for name in found])) for peer in ("language", *PEERS)}
    table.add_section()
    table.add_row("mean", *(f"{value:.2f}" for value in mean.values()), "", "")
    console.print(table)
    result = {
        "nats": {name: {peer: round(value, 3) for peer, value in row.items()} for name, row in found.items()},
        "mean_nats": {peer: round(value, 3) for peer, value in mean.items()},
        "ks": {name: round(value, 4) for name, value in distances.items()},
        "windows": counts,
        "model": model.name,
        "dtype": model.numbers,
        "device": str(model.device),
        "seconds": round(time.perf_counter() - started, 1),
        "machine": machine(),
    }
    print(json.dumps(result))


def windows_of(data: Path, groups: tuple[str, ...], count: int) -> list[NDArray[np.float64]]:
    """Windows without a hole, evenly spread over all tags and over their time."""
    tags = [series.values for group in groups for series in read_group(data, group)]
    out = []
    for i, values in enumerate(tags):
        mine = count // len(tags) + (i < count % len(tags))
        whole = np.isfinite(values)
        # A window may begin where the next so many values are all there.
        run = np.convolve(whole, np.ones(LENGTH), mode="valid") > LENGTH - 0.5
        begins = np.flatnonzero(run)
        if not len(begins):
            continue
        chosen = begins[np.linspace(0, len(begins) - 1, mine + 2).round().astype(int)[1:-1]]
        out += [values[begin : begin + LENGTH] for begin in chosen]
    return out


def _read(
    model: LanguageModel, windows: list[NDArray[np.float64]]
) -> tuple[list[float], list[float], list[list[Grid]]]:
    """Surprise in nats and PIT of every scored value, and the grid that each value of each window was read on."""
    reader = Reader(model, context=LENGTH, min_context=KNOWN)
    names = [f"bench/{i}" for i in range(len(windows))]
    # Each text begins with its window, as a tag's does that is followed from there on.
    firsts = [1_000_000 * KNOWN + offset_of(name, KNOWN) for name in names]
    surprise, pits = [], []
    for known in range(KNOWN, LENGTH + 1):
        turn = [
            Window(
                tag=name,
                period_s=PERIOD_S,
                end_at=datetime.fromtimestamp(0, tz=UTC) + timedelta(seconds=(first + known - 1) * PERIOD_S),
                values=tuple(values[:known].tolist()),
            )
            for name, first, values in zip(names, firsts, windows, strict=True)
        ]
        for scores in reader.read(turn):
            surprise += [-score.log_probability for score in scores]
            pits += [score.pit for score in scores]
    grids = []
    for first, values in zip(firsts, windows, strict=True):
        offset = (first % KNOWN + KNOWN) % KNOWN
        laid: list[Grid] = []
        for known in range(KNOWN, LENGTH):
            found = anchor(values[:known].tolist(), first, context=LENGTH, shortest=KNOWN, offset=offset)
            assert found is not None
            assert found.start == 0
            laid.append(found.grid)
        grids.append([laid[0]] * KNOWN + laid)
    expected = len(windows) * (LENGTH - KNOWN)
    assert len(surprise) == expected, f"reader: expected {expected} scores, found {len(surprise)}"
    return surprise, pits, grids


if __name__ == "__main__":
    main()

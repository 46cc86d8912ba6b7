"""On what data do the settings of the language model stand? Each is tried on windows of the shared data, all else being equal.

Temperature, head-room of the grid: nats per value, as `benchmarks.surprise` counts them. A gap of one to three steps: the text
begins anew behind it, or the last value is held across it. Futures drawn per forecast: pinball loss of 12 steps.

usage: python -m benchmarks.defaults --data FOLDER [--windows 24]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.surprise import DATA_SETS, KNOWN, LENGTH, PERIOD_S, windows_of
from detectors.language import codec
from detectors.language.forecaster import LanguageForecaster
from detectors.language.model import load_model
from detectors.language.reader import Reader, offset_of
from detectors.records import LEVELS, Window
from stream.model.weights import default_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

TEMPERATURES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.4)
HEAD_ROOMS = (0.25, 0.5, 1.0)
SAMPLES = (4, 8, 16, 32)
HORIZON = 12
HOLE_AT, BEHIND, LEAST = 70, 32, 12


@dataclass(frozen=True, kw_only=True)
class Tempered:
    """The model, its probabilities raised to 1/temperature."""

    model: Any
    temperature: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        return (self.model.log_probabilities(hidden) / self.temperature).log_softmax(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=24, help="of each data set")
    parser.add_argument("--only", default="", help="temperature, head_room, gap or samples")
    options = parser.parse_args()
    model = load_model(default_model())
    torch.set_num_threads(os.cpu_count() or 1)
    sets = {name: windows_of(options.data, groups, options.windows) for name, groups in DATA_SETS.items()}
    console = Console(width=max(Console().width, 100))
    console.print(f"{machine()}\n{model.description}\n")
    result: dict[str, Any] = {}

    def compare(title: str, choices: Sequence[Any], measure: Callable[[Any, list[NDArray[np.float64]]], float]) -> None:
        subject = title.partition(":")[0]
        if options.only not in {"", subject}:
            return
        table = Table(title=title)
        for head in ("", *sets, "mean"):
            table.add_column(head, justify="right")
        found = {}
        for choice in choices:
            row = [measure(choice, windows) for windows in sets.values()]
            found[str(choice)] = round(float(np.mean(row)), 4)
            table.add_row(f"{choice}", *(f"{value:.3f}" for value in row), f"{np.mean(row):.3f}")
        console.print(table)
        result[subject] = found

    def tempered(temperature: float, windows: list[NDArray[np.float64]]) -> float:
        return _nats(Tempered(model=model, temperature=temperature), windows)

    def roomy(head_room: float, windows: list[NDArray[np.float64]]) -> float:
        lay = codec.Grid.lay.__func__  # type: ignore[attr-defined] # a class method has it
        kept = codec.Grid.lay
        codec.Grid.lay = classmethod(lambda cls, values, **_: lay(cls, values, head_room=head_room))  # type: ignore[method-assign,assignment] # tried with another head-room, and put back below
        try:
            # Cells differ in width from grid to grid: the density is what can be compared.
            return _nats(model, windows, density=True)
        finally:
            codec.Grid.lay = kept  # type: ignore[method-assign] # as it was

    compare("temperature: nats per value", TEMPERATURES, tempered)
    compare("head_room: nats per value, of the density in units of the window's spread", HEAD_ROOMS, roomy)
    compare(
        f"gap: nats (density) of the values {LEAST + 1} to {BEHIND} behind a gap of 1 to 3 steps",
        ("begin anew", "hold the last value"),
        lambda policy, windows: _gap(model, windows, hold=policy != "begin anew"),
    )
    seconds: dict[int, float] = dict.fromkeys(SAMPLES, 0.0)

    def drawn(samples: int, windows: list[NDArray[np.float64]]) -> float:
        loss, took = _pinball(model, windows[::4], samples)
        seconds[samples] += took
        return loss

    compare(f"samples: pinball loss of {HORIZON} steps, in units of the window's spread", SAMPLES, drawn)
    console.print("seconds:", {samples: round(took, 1) for samples, took in seconds.items()})
    print(
        json.dumps(
            result | {"samples_seconds": {str(k): round(v, 1) for k, v in seconds.items()}, "machine": machine()}
        )
    )


def _turn(windows: list[NDArray[np.float64]], known: int, *, half: int = KNOWN) -> list[Window]:
    """What is known of each window after so many values; each text begins with its window."""
    out = []
    for i, values in enumerate(windows):
        name = f"bench/{i}"
        end = 1_000_000 * half + offset_of(name, half) + known - 1
        at = datetime.fromtimestamp(0, tz=UTC) + timedelta(seconds=end * PERIOD_S)
        out.append(Window(tag=name, period_s=PERIOD_S, end_at=at, values=tuple(values[:known].tolist())))
    return out


def _nats(model: Any, windows: list[NDArray[np.float64]], *, density: bool = False) -> float:
    reader = Reader(model, context=LENGTH, min_context=KNOWN)
    spread = _spread(windows)
    found = []
    for known in range(KNOWN, LENGTH + 1):
        for scores in reader.read(_turn(windows, known)):
            found += [
                -score.log_score - math.log(spread[score.tag]) if density else -score.log_probability
                for score in scores
            ]
    return float(np.mean(found))


def _spread(windows: list[NDArray[np.float64]]) -> dict[str, float]:
    """By tag; in units of it densities can be averaged over tags."""
    return {
        f"bench/{i}": max(float(np.ptp(values[:KNOWN])), 1e-3 * abs(values[0]), 1e-12)
        for i, values in enumerate(windows)
    }


def _gap(model: Any, windows: list[NDArray[np.float64]], *, hold: bool) -> float:
    holed = []
    for i, values in enumerate(windows):
        missing = values.copy()
        length = 1 + i % 3
        missing[HOLE_AT : HOLE_AT + length] = values[HOLE_AT - 1] if hold else np.nan
        holed.append(missing)
    reader, spread = Reader(model, context=LENGTH, min_context=LEAST), _spread(windows)
    # Whatever the policy, the same values count: those that even a text begun anew can score.
    counted = range(HOLE_AT + 3 + LEAST, HOLE_AT + 3 + BEHIND)
    found = []
    for known in range(HOLE_AT, counted.stop + 1):
        for scores in reader.read(_turn(holed, known)):
            if known - 1 in counted:
                found += [-score.log_score - math.log(spread[score.tag]) for score in scores]
    return float(np.mean(found))


def _pinball(model: Any, windows: list[NDArray[np.float64]], samples: int) -> tuple[float, float]:
    made = LanguageForecaster(model, context=LENGTH, min_context=LEAST, samples=samples)
    known = LENGTH - HORIZON
    turn = _turn(windows, known)
    made.read(turn)
    started = time.perf_counter()
    forecasts = made.forecast(turn, horizon=HORIZON)
    took = time.perf_counter() - started
    levels = np.array(LEVELS)
    losses = []
    for values, forecast in zip(windows, forecasts, strict=True):
        missed = values[known:, None] - np.array(forecast.quantiles)
        spread = max(float(np.ptp(values[:known])), 1e-12)
        losses.append(float(np.maximum(levels * missed, (levels - 1) * missed).mean()) / spread)
    return float(np.mean(losses)), took


if __name__ == "__main__":
    main()

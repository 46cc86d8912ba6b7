"""The shared data as groups of series on one grid each, with what was done to them, for benchmarks of forecasters.

What no sensor can have meant is a hole, by rules fixed beforehand (`SIEVES`); nothing else is corrected. Months and quarters are
laid on a grid of their mean length, as a grid has no other: a season of a year is then 12 or 4 steps.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detectors.evaluation.backtest import Series
from stream.recording import read_recording

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GROUPS", "read_group"]

YEAR_S = 365.25 * 86_400
DARTS = {
    "AirPassengers": (1, 12, datetime(1949, 1, 1, tzinfo=UTC)),
    "ausbeer": (0, 4, datetime(1956, 1, 1, tzinfo=UTC)),
    "monthly-milk": (1, 12, datetime(1962, 1, 1, tzinfo=UTC)),
    "woolyrnq": (0, 4, datetime(1965, 1, 1, tzinfo=UTC)),
}
"""Column, steps a year and begin; gasrate_co2 has no dates, every row is taken for 9 s (its source, Box & Jenkins series J)."""
SIEVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # A dead sensor shows -39.9; supply and return of a substation in use are never 0.
    "t_": lambda values: (values < -35) | (values == 0),
    # Glitches of 8,000,001.4 in a substation of some hundred kW.
    "pe": lambda values: values > 1e5,
}


def _ett(data: Path, name: str) -> list[Series]:
    return _table(data / "ett" / f"{name}.csv.gz", name)


def _french(data: Path) -> list[Series]:
    return _table(data / "french_load" / "daily_2012_2016.csv", "french", tags=("load_mw",))


def _french_halfhours(data: Path) -> list[Series]:
    """The operator keeps 48 half-hours on every day, also when the clock changes: taken as they are, without a time zone."""
    path = data / "french_load" / "halfhourly_2012_2016.csv.gz"
    return _table(path, "french30", tags=("load_mw",), header=("timestamp_paris", "timestamp"))


def _skab(data: Path) -> list[Series]:
    return _table(data / "skab" / "anomaly-free.csv.gz", "skab", period_s=1.0)


def _substation(data: Path, name: str) -> list[Series]:
    """Hourly until the rate changes; the set-point and the energy meter are no measurements to forecast."""
    tags = ("t_amb", "t_sup_prim", "t_ret_prim", "t_sup_sec", "t_ret_sec", "pe")
    found = _table(data / "xai4heat" / f"{name}.csv.gz", name, tags=tags, period_s=3600.0)
    out = []
    for series in found:
        values = series.values.copy()
        tag = series.tag.rpartition("/")[2]
        for start, broken in SIEVES.items():
            # Outdoor temperatures of 0 are real.
            if tag.startswith(start) and tag != "t_amb":
                values[broken(values)] = np.nan
            elif tag == "t_amb":
                values[values < -35] = np.nan
        out.append(replace(series, values=values))
    return out


def _darts(data: Path, name: str) -> list[Series]:
    if name == "gasrate_co2":
        column, period_s, start = 1, 9.0, datetime(1970, 1, 1, tzinfo=UTC)
    else:
        column, steps, start = DARTS[name]
        period_s = YEAR_S / steps
    with (data / "darts" / f"{name}.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    values = np.array([float(row[column]) for row in rows[1:]])
    return [Series(tag=name, period_s=period_s, start_at=start, values=values)]


def _table(
    path: Path,
    asset: str,
    *,
    tags: tuple[str, ...] = (),
    period_s: float | None = None,
    header: tuple[str, str] = ("", ""),
) -> list[Series]:
    """All columns of a file, packed or not, on one grid; `header` replaces a word of its first lines."""
    packed = path.read_bytes()
    text = gzip.decompress(packed) if path.suffix == ".gz" else packed
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.name.removesuffix(".gz")
        plain.write_bytes(text.replace(header[0].encode(), header[1].encode(), 1))
        groups, left_out = read_recording(plain, tags=tags).lay(period_s=period_s)
    if len(groups) != 1 or left_out:
        raise ValueError(f"{path}: expected all columns on one grid, found {len(groups)} grids. {' '.join(left_out)}")
    return [replace(series, tag=f"{asset}/{series.tag}") for series in groups[0]]


GROUPS: dict[str, Callable[[Path], list[Series]]] = {
    "french_load daily": _french,
    "french_load half-hourly": _french_halfhours,
    "ETTh1": lambda data: _ett(data, "ETTh1"),
    "ETTm1": lambda data: _ett(data, "ETTm1"),
    "skab": _skab,
    "xai4heat L4": lambda data: _substation(data, "L4"),
    "xai4heat L17": lambda data: _substation(data, "L17"),
    **{f"darts {name}": (lambda data, name=name: _darts(data, name)) for name in [*DARTS, "gasrate_co2"]},
}
"""Every group by name; the series of one share their grid."""


def read_group(data: Path, name: str) -> list[Series]:
    """The series of a group. Raises HistoryError where the data is not there."""
    return GROUPS[name](data)

"""What do the members of a panel say this time? Each is asked once; one that fails costs its own answer alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from detectors.records import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from detectors.forecasters.forecaster import Forecaster
    from detectors.forecasters.path import Paths
    from detectors.records import Forecast, Window

__all__ = ["Answers", "ask", "fault"]

LARGEST = 1e300
"""Values are kept within it, so that differences between them can be formed."""
LONGEST_FAULT = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """`quantiles` (K, n, horizon, 7) are sorted, and NaN where a member gave none that is one.

    `silent` (K, n) marks where a member that works gave no forecast: it takes turns, or can say nothing of that window.
    `paths` has the futures by window and member, `faults` what was the matter with a member, by its name.
    """

    quantiles: NDArray[np.float64]
    silent: NDArray[np.bool_]
    paths: list[dict[int, Paths]]
    faults: dict[str, str]


def ask(members: Sequence[Forecaster], windows: Sequence[Window], *, horizon: int) -> Answers:
    """The forecasts of all members."""
    quantiles = np.full((len(members), len(windows), horizon, len(LEVELS)), np.nan)
    silent = np.zeros((len(members), len(windows)), dtype=bool)
    paths: list[dict[int, Paths]] = [{} for _ in windows]
    faults: dict[str, str] = {}
    place = {window.tag: i for i, window in enumerate(windows)}
    for k, member in enumerate(members):
        try:
            made = member.forecast(windows, horizon=horizon)
            at = np.array([place[forecast.tag] for forecast in made], dtype=np.int64)
            rows = _rows(made, horizon)
        except Exception as error:  # noqa: BLE001 # a member may fail in any way; the others answer all the same
            faults[member.name] = fault(error)
            continue
        silent[k] = True
        silent[k, at] = False
        sound = np.isfinite(rows).all(axis=(1, 2))
        if not sound.all():
            wrong = made[int(np.argmin(sound))]
            faults[member.name] = f"expected {horizon} steps of finite quantiles, found another thing for {wrong.tag!r}"
        quantiles[k, at[sound]] = np.clip(np.sort(rows[sound], axis=2), -LARGEST, LARGEST)
        for i, forecast in zip(at[sound].tolist(), (made[j] for j in np.flatnonzero(sound)), strict=True):
            if forecast.paths:
                paths[i][k] = forecast.paths
    return Answers(quantiles=quantiles, silent=silent, paths=paths, faults=faults)


def fault(error: Exception) -> str:
    """An exception in a few words."""
    return f"{type(error).__name__}: {error}"[:LONGEST_FAULT]


def _rows(made: Sequence[Forecast], horizon: int) -> NDArray[np.float64]:
    """The quantiles (n, horizon, 7); NaN for a forecast of another shape."""
    shape = (len(made), horizon, len(LEVELS))
    alike = all(len(one.quantiles) == horizon and {*map(len, one.quantiles)} == {len(LEVELS)} for one in made)
    if alike:
        flat = chain.from_iterable(chain.from_iterable(one.quantiles for one in made))
        return np.fromiter(flat, np.float64, count=math.prod(shape)).reshape(shape)
    rows = np.full(shape, np.nan)
    for row, one in zip(rows, made, strict=True):
        if len(one.quantiles) == horizon and {*map(len, one.quantiles)} == {len(LEVELS)}:
            row[:] = one.quantiles
    return rows

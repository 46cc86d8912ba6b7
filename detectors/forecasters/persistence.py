"""What comes next if nothing changes? The last value, with a spread that grows as a random walk's does.

The steps of the walk are drawn from the changes that the window itself has shown, so that a tag that jumps now and then keeps
its rare jumps. Where few changes are known the spread is wide on purpose: knowing little is not the same as being sure.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from detectors.records import LEVELS, Forecast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from detectors.records import Window

__all__ = ["Persistence", "forecast_of"]

FEW = 8
"""With fewer changes than this the spread is made up from the value's own size."""
BLIND_SHARE = 0.02
"""The made-up step of a tag of which little is known, as a share of its magnitude."""

_LEVELS = np.array(LEVELS)


class Persistence:
    """A random walk from the last value, drawn `samples` times; the yardstick and the fallback of every model."""

    name = "persistence"

    def __init__(self, *, samples: int = 64, seed: int = 0) -> None:
        self._samples = samples
        self._seed = seed

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """A forecast per window that holds any value; a hole at its end is held over."""
        # At the edge of what a double can be, changes overflow: they are left out, and the paths clipped.
        with np.errstate(over="ignore", invalid="ignore"):
            return [made for window in windows if (made := self._forecast(window, horizon)) is not None]

    def _forecast(self, window: Window, horizon: int) -> Forecast | None:
        values = np.asarray(window.heeded, dtype=np.float64)
        known = values[np.isfinite(values)]
        if not len(known):
            return None
        last = float(known[-1])
        changes = np.diff(values)
        changes = changes[np.isfinite(changes)]
        step = round(window.end_at.timestamp() / window.period_s) % 2**64  # history may begin before 1970
        generator = np.random.default_rng([self._seed, zlib.crc32(window.tag.encode()), step])
        size = (self._samples, horizon)
        if len(changes) < FEW:
            blind = BLIND_SHARE * max(abs(last), float(np.abs(changes).max(initial=0.0)), 1e-6)
            walk = generator.normal(0.0, blind, size)
        else:
            # Signs are drawn anew: a trend of the past is no promise.
            walk = np.concatenate((changes, -changes))[generator.integers(2 * len(changes), size=size)]
        paths = np.minimum(np.maximum(last + np.cumsum(walk, axis=1), -1e300), 1e300)
        if not math.isfinite(float(paths.sum())):
            paths = np.full(size, last)
        return forecast_of(window, forecaster=self.name, quantiles=_quantiles(paths), paths=paths)


def forecast_of(
    window: Window, *, forecaster: str, quantiles: NDArray[np.float64], paths: NDArray[np.float64]
) -> Forecast:
    """The record of a forecast behind a window, from arrays (horizon, 7) and (samples, horizon)."""
    return Forecast(
        tag=window.tag,
        forecaster=forecaster,
        made_at=window.end_at,
        period_s=window.period_s,
        quantiles=tuple(map(tuple, quantiles.tolist())),
        paths=tuple(map(tuple, paths.tolist())),
    )


def _quantiles(paths: NDArray[np.float64]) -> NDArray[np.float64]:
    """What np.quantile says of each step, (horizon, 7), in a quarter of its time."""
    ranked = np.sort(paths, axis=0)
    places = _LEVELS * (len(ranked) - 1)
    below = places.astype(np.int64)
    share = (places - below)[:, None]
    found = ranked[below] * (1.0 - share) + ranked[np.minimum(below + 1, len(ranked) - 1)] * share
    return np.sort(found.T, axis=1)

"""What was fitted to one tag, in which units, and what have its errors been since?

A model works in units of the tag's own spread around its middle, on values without holes. Values further out than
`LARGEST` such units are taken for that far.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detectors.forecasters.error_library import RECENT, ErrorLibrary
from detectors.forecasters.season import DAY_S, bridged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["HALF_LIFE", "LARGEST", "SHIFT", "WIDEST", "Fit", "Past", "units"]

HALF_LIFE = (50.0, 200.0)
"""Steps after which half of an error is forgotten that widened a band, fewest and most: a day, as nights are quieter."""
WIDEST = 8.0
"""No band is widened or narrowed by more than this factor; a single error counts for at most as many usual ones."""
SHIFT = 1.5
"""A shift is a median of errors so many times as large as the largest in the errors that the bands came from."""
LARGEST = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """What a model predicts from: rows of values, oldest first and without holes, in the model's units.

    `values` is (n, context), `ends_s` (n,) when the last value of each row was, in seconds since 1970. `holes` is where a value
    was not measured but bridged, None where all were measured.
    """

    values: Array
    ends_s: Array
    period_s: float
    holes: NDArray[np.bool_] | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Fit:
    """One tag: `numbers` is what the model found, `middle` and `spread` are its units; `width` and `lately` change step by step.

    `context` is how many values the model predicts from, `season` a length in steps by which holes are bridged (0: none),
    `length` that of the history it was fitted to. `nodes` names the tags it is predicted from, where these are more than its own.
    """

    numbers: dict[str, Array]
    middle: float
    spread: float
    context: int
    season: int
    length: int
    library: ErrorLibrary
    nodes: tuple[str, ...] = ()
    width: float = 1.0
    lately: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    @property
    def shifted(self) -> bool:
        """Whether the level is no longer the one that was fitted."""
        if len(self.lately) < RECENT:
            return False
        ranked = sorted(self.lately)
        return abs(ranked[RECENT // 2 - 1] + ranked[RECENT // 2]) / 2 > SHIFT * self.library.drift + 1e-9

    def scaled(self, values: Array) -> Array:
        """Values in the model's units, holes left."""
        found: Array = values / self.spread - self.middle / self.spread
        return np.minimum(np.maximum(found, -LARGEST, out=found), LARGEST, out=found)  # np.clip takes twice as long

    def past(self, values: Array, *, end_s: float, period_s: float, count: int) -> Past:
        """What was known at each of the last `count` steps of some values that end at `end_s`; where it is short, held."""
        need = self.context + count - 1
        scaled = self.scaled(values[-(need + self.season) :])
        tail, holes = bridged(scaled, self.season)[-need:], np.isnan(scaled[-need:])
        if len(tail) < need:
            tail = np.concatenate((np.full(need - len(tail), tail[0]), tail))
            holes = np.concatenate((np.ones(need - len(holes), dtype=bool), holes))
        rows = tail[None] if count == 1 else sliding_window_view(tail, self.context)
        ends_s = end_s - period_s * np.arange(count - 1, -1, -1, dtype=np.float64)
        unknown = sliding_window_view(holes, self.context) if holes.any() else None
        return Past(values=rows, ends_s=ends_s, period_s=period_s, holes=unknown)

    def judge(self, errors: Array, period_s: float) -> None:
        """Takes lead-1 errors, oldest first, for the width of the bands and the level."""
        kept = 0.5 ** (1.0 / min(max(DAY_S / period_s, HALF_LIFE[0]), HALF_LIFE[1]))
        usual = max(self.library.usual, 1e-12)
        for error in errors[np.isfinite(errors)].tolist():
            level = sorted(self.lately)[RECENT // 2] if self.shifted else 0.0
            self.lately.append(error)
            ratio = min(abs(error - level) / usual, WIDEST)
            self.width = min(max(kept * self.width + (1.0 - kept) * ratio, 1.0 / WIDEST), WIDEST)

    def saved(self) -> tuple[dict[str, object], dict[str, Array]]:
        """For `restored`: what JSON can hold, and arrays by name."""
        about: dict[str, object] = {
            key: getattr(self, key) for key in ("middle", "spread", "context", "season", "length", "width")
        }
        about |= {"usual": self.library.usual, "drift": self.library.drift, "lately": [*self.lately]}
        about["nodes"] = [*self.nodes]
        arrays = {f"found {name}": value for name, value in self.numbers.items()}
        return about, {**arrays, "quantiles": self.library.quantiles, "futures": self.library.futures}

    @classmethod
    def restored(cls, about: Mapping[str, Any], found: Mapping[str, Array]) -> Fit:
        """What `saved` gave; raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            numbers={name.removeprefix("found "): value for name, value in found.items() if name.startswith("found ")},
            middle=float(about["middle"]),
            spread=float(about["spread"]),
            context=int(about["context"]),
            season=int(about["season"]),
            length=int(about["length"]),
            library=ErrorLibrary(
                quantiles=found["quantiles"],
                futures=found["futures"],
                usual=float(about["usual"]),
                drift=float(about["drift"]),
            ),
            nodes=tuple(map(str, about["nodes"])),
            width=float(about["width"]),
            lately=deque(map(float, about["lately"]), maxlen=RECENT),
        )


def units(known: Array) -> tuple[float, float]:
    """Middle and spread of some values; the spread is above nought also where they stand still."""
    low, middle, high = (float(x) for x in np.quantile(known, (0.25, 0.5, 0.75)))
    spread = high - low
    if not 0.0 < spread < math.inf:
        spread = float(np.clip(np.abs(known - middle), 0.0, 1e300).mean())
    if not spread > 1e-15 * abs(middle):
        spread = max(1e-3 * abs(middle), 1e-300)
    return middle, min(spread, 1e300)

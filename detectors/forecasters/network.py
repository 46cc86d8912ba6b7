"""How is a small network taught to say quantiles? By pinball loss at every level and lead, until a held-out part gets no better.

Everything is seeded, nothing touches torch's global generator, and the budget is a number of steps: the same history
and the same seed give the same weights on the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable  # noqa: TC003 # a TypedDict is read at run time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np
import torch

from detectors.forecasters.fitted import FittedForecaster
from detectors.forecasters.season import DAY_S, WEEK_S
from detectors.records import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from detectors.records import Forecast, Window

    Array = NDArray[np.float64]

__all__ = [
    "FEWEST_ROWS",
    "MEDIAN",
    "PATCHES",
    "NetworkForecaster",
    "Settings",
    "clock",
    "context_length",
    "drawn",
    "one_thread",
    "pinball",
    "rising",
    "taught",
]

MEDIAN = LEVELS.index(0.5)
CHECKS = 12
"""How often the held-out part is looked at while learning."""
PATIENCE = 4
"""After so many looks without a better one learning ends."""
PATCHES = 16
"""A network reads what it is given in so many parts."""
CONTEXT = (64, 192)
"""Values that are read, fewest and most; in between two days."""
FEWEST_ROWS = 32
"""Fewer examples teach a network nothing."""


class Settings(TypedDict, total=False):
    """What every network can be told: steps remembered, futures, seed, most steps of a fit, and who hears the share done."""

    limit: int
    samples: int
    seed: int
    steps: int
    progress: Callable[[float], None]


class NetworkForecaster(FittedForecaster):
    """A learner whose model is a network."""

    leads = 48
    patience = 512
    once = True

    def __init__(self, **settings: Unpack[Settings]) -> None:
        super().__init__(
            limit=settings.get("limit", 4096), samples=settings.get("samples", 16), seed=settings.get("seed", 0)
        )
        self._budget = settings.get("steps", 300)
        self._progress = settings.get("progress", lambda _share: None)

    def learn(self, windows: Sequence[Window]) -> None:
        """As every learner does, on one thread."""
        with one_thread():
            super().learn(windows)

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """The same."""
        with one_thread():
            return super().forecast(windows, horizon=horizon)

    def refit(self, tag: str) -> None:
        """The same."""
        with one_thread():
            self._learn_anew(tag)

    def _learn_anew(self, tag: str) -> None:
        """What `refit` does."""
        super().refit(tag)


@contextmanager
def one_thread() -> Iterator[None]:
    """So small products are done before two threads have met; on busy cores they wait for each other a hundred times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def context_length(period_s: float) -> int:
    """How many values a network reads: whole patches."""
    return int(np.clip(2 * DAY_S / period_s, *CONTEXT)) // PATCHES * PATCHES


def clock(ends_s: Array, period_s: float, length: int) -> NDArray[np.float32]:
    """What the time of day and week says to a network, (n, 6): sines and cosines.

    They are nought where a history of `length` steps is shorter than two of them, or a step longer than one.
    """
    day = np.sin if length * period_s >= 2 * DAY_S and period_s < DAY_S else np.zeros_like
    week = np.sin if length * period_s >= 2 * WEEK_S and period_s <= DAY_S else np.zeros_like
    turn = 2.0 * math.pi
    angles = [(day, ends_s / DAY_S, turn), (day, ends_s / DAY_S, 2 * turn), (week, ends_s / WEEK_S, turn)]
    columns = [wave(share * size + phase) for wave, share, size in angles for phase in (0.0, math.pi / 2)]
    return np.stack(columns, axis=1).astype(np.float32)


def rising(raw: torch.Tensor) -> torch.Tensor:
    """Quantiles (..., 7) that never cross: a median, and steps away from it that are above nought."""
    steps = torch.nn.functional.softplus(raw)
    middle = raw[..., MEDIAN : MEDIAN + 1]
    below = middle - steps[..., :MEDIAN].flip(-1).cumsum(-1).flip(-1)
    above = middle + steps[..., MEDIAN + 1 :].cumsum(-1)
    return torch.cat((below, middle, above), dim=-1)


def pinball(quantiles: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean loss: quantiles (..., leads, 7), targets (..., leads) NaN where unknown, weights (leads,)."""
    off = torch.nan_to_num(targets)[..., None] - quantiles
    levels = torch.tensor(LEVELS, dtype=off.dtype)
    loss = torch.maximum(levels * off, (levels - 1.0) * off).mean(dim=-1) * weights
    known = torch.isfinite(targets)
    return (loss * known).sum() / known.sum().clamp(min=1)


def drawn(module: torch.nn.Module, generator: torch.Generator) -> None:
    """Weights anew from a generator: uniform, within the root of 1 / inputs; vectors are nought."""
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() < 2:
                weight.zero_()
            else:
                bound = 1.0 / math.sqrt(weight.shape[-1])
                weight.uniform_(-bound, bound, generator=generator)


def taught(
    module: torch.nn.Module,
    loss: Callable[[torch.Tensor], torch.Tensor],
    held_out: Callable[[], float],
    *,
    rows: int,
    steps: int,
    batch: int,
    rate: float,
    generator: torch.Generator,
    progress: Callable[[float], None],
) -> None:
    """Teaches a module in at most `steps` steps, and leaves it as it was when the held-out part was best.

    `loss` is that of some rows of the training part, `held_out` that of the held-out part; `progress` is told the share done.
    """
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-3)
    best, kept, stale = held_out(), _copy(module.parameters()), 0
    every = max(steps // CHECKS, 1)
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * step / (steps + 1)))
        optimiser.zero_grad()
        value = loss(torch.randint(rows, (min(batch, rows),), generator=generator))
        value.backward()  # type: ignore[no-untyped-call] # torch has no hint here
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        if step % every == 0 or step == steps:
            progress(step / steps)
            now = held_out()
            stale += 1
            if now < best:
                best, kept, stale = now, _copy(module.parameters()), 0
            if stale >= PATIENCE:
                break
    progress(1.0)
    with torch.no_grad():
        for weight, value in zip(module.parameters(), kept, strict=True):
            weight.copy_(value)


def _copy(weights: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in weights]

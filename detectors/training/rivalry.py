"""Does the panel foretell better with one more member? It forecasts the held-out days twice, with it and without.

A network that foretells alone worse than the panel may still help it, and one that is better on the whole may add nothing: what
an operator gets is the panel's word, so the panel is asked. Without the language model, which would take days to be asked at
every step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from detectors.evaluation.backtest import Cost, Plan, Series, backtest
from detectors.evaluation.metrics import pinball
from detectors.forecasters.distribution import log_probability
from detectors.forecasters.panel import CELL, Panel
from detectors.forecasters.resolution import spread_and_step
from detectors.training.dataset import usable_steps
from detectors.training.promotion import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from detectors.evaluation.backtest import Run
    from detectors.forecasters.forecaster import Forecaster
    from detectors.training.dataset import Dataset

__all__ = ["Rivalry", "contend"]

T = TypeVar("T")

HORIZON = 12
BLOCK = 64
"""Values in a row that make one block of the trial."""
WARM_UP = 400
"""Steps in which the panel learns whom to trust before it is judged."""
HISTORY = 4096
"""Steps before these that its members that learn are fitted to."""
MOST_STEPS = 1500
"""The newest steps of the part that judges are judged, at most so many."""
FEWEST_VALUES = 16
"""A block with fewer values is none."""


class Rivalry:
    """What came of it: blocks of nats for `promotion.judge`, and the mean pinball losses without and with by tag."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.pinball: dict[str, tuple[float, float]] = {}


def contend(
    groups: Sequence[Sequence[Series]],
    dataset: Dataset,
    *,
    without: Callable[[], Sequence[Forecaster]],
    challenger: Callable[[], Sequence[Forecaster]],
    context: int,
    show: Callable[[float], None] = lambda _share: None,
) -> Rivalry:
    """Both panels on the part of each tag that judges; the two makers give new members each time they are called."""
    found = Rivalry()
    spans = {share.tag: share.spans["judge"] for share in dataset.shares}
    chosen = [[one for one in group if one.tag in spans] for group in groups]
    chosen = [group for group in chosen if group]
    for number, group in enumerate(chosen):
        lead = group[0]
        begin, last = (round((at - lead.start_at).total_seconds() / lead.period_s) for at in spans[lead.tag])
        first = max(begin, last + 1 - MOST_STEPS)
        start = max(first - WARM_UP - HISTORY, 0)
        cut = [_cut(one, usable_steps(one, dataset.recipe), start, last + 1) for one in group]
        plan = Plan(
            horizon=HORIZON, first=first - start, warm_up=WARM_UP, refit_every=None, context=max(context, HORIZON + 1)
        )
        if last + 1 - first <= HORIZON:
            continue
        runs: list[list[Run]] = []
        for turn, members in enumerate((without, challenger)):

            def tell(share: float, *, done: int = 2 * number + turn) -> None:
                show((done + share) / (2 * len(chosen)))

            runs.append(backtest(cut, Panel(members(), paths=0), plan, meter=_Unmetered(), progress=tell))
        for before, after in zip(*runs, strict=True):
            _compare(before, after, found)
    return found


def _compare(before: Run, after: Run, found: Rivalry) -> None:
    """The blocks of one tag, of the values that both were asked for, and its losses over all leads."""
    tag, measured = before.series.tag, before.measured
    window = before.series.window(len(before.series.values) - 1, context=512)
    spread, step = spread_and_step([window])[0]
    half = max(CELL * spread, step, 1e-300) / 2
    value = measured[:, 0]
    nats = [-log_probability(run.quantiles[:, 0], value - half, value + half) for run in (before, after)]
    known = np.isfinite(value) & np.isfinite(nats[0]) & np.isfinite(nats[1])
    for begin in range(0, len(value), BLOCK):
        own: NDArray[np.bool_] = known[begin : begin + BLOCK]
        if own.sum() >= FEWEST_VALUES:
            old, new = (float(one[begin : begin + BLOCK][own].mean()) for one in nats)
            found.blocks.append(Block(tag=tag, values=int(own.sum()), champion=old, challenger=new))
    losses = [pinball(measured, run.quantiles) for run in (before, after)]
    both = np.isfinite(losses[0]) & np.isfinite(losses[1])
    if both.any():
        found.pinball[tag] = float(losses[0][both].mean()), float(losses[1][both].mean())


def _cut(series: Series, usable: NDArray[np.bool_], start: int, end: int) -> Series:
    values = np.where(usable, series.values, np.nan)[start:end]
    return Series(tag=series.tag, period_s=series.period_s, start_at=series.at(start), values=values)


class _Unmetered:
    """What a forecast costs is not asked here."""

    def measure(self, call: Callable[[], T]) -> tuple[T, Cost]:
        return call(), Cost(seconds=0.0, memory_bytes=0)

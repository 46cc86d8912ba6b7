"""What would a forecaster have said of recorded history, had it known only what came before?

Rolling origins: at each origin the forecaster is given the values up to it, forecasts the next `horizon` steps, and then
learns the values up to the next origin. It is handed windows that end at the origin, so that nothing of what comes after can
reach it. One shot is the case of one origin. A forecaster that learns is fitted to what came before its first forecast, and
anew when it says that it is due, as it would be live, or every so many origins.

Origins before the held-out part warm a forecaster up (a panel learns there whom to trust); they are not scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from detectors.forecasters.forecaster import Learner
from detectors.records import LEVELS, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from detectors.forecasters.forecaster import Forecaster

__all__ = ["Cost", "Meter", "Plan", "Run", "Series", "backtest"]

T = TypeVar("T")

LESSON = 256
"""Values of a window that teaches new steps: what a live window holds, about."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """The recorded values of one tag on its own grid, holes as NaN; `values[i]` is that at `at(i)`.

    `treatments` says in sentences what was done to what was recorded to lay it on the grid, and what is doubtful about it.
    """

    tag: str
    period_s: float
    start_at: datetime
    values: NDArray[np.float64]
    treatments: tuple[str, ...] = ()

    def at(self, step: int) -> datetime:
        """Moment of a step."""
        return self.start_at + timedelta(seconds=step * self.period_s)

    def window(self, origin: int, *, context: int = 0) -> Window:
        """What is known at a step: the values up to and with it, at most `context` of them (0: all)."""
        first = max(origin + 1 - context, 0) if context else 0
        values = tuple(self.values[first : origin + 1].tolist())
        return Window(tag=self.tag, period_s=self.period_s, end_at=self.at(origin), values=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where the origins are: the steps `first - 1`, `first - 1 + stride`, ... that leave room for a whole horizon.

    `first` is the first held-out step, `warm_up` how many steps before it forecasting begins; `context` bounds the windows
    of all calls but the first (0: whole history each time). `refit_every` counts origins; 0 fits once, None when due.
    """

    horizon: int
    first: int
    stride: int = 1
    one_shot: bool = False
    warm_up: int = 0
    refit_every: int | None = 0
    context: int = 0

    def origins(self, length: int) -> tuple[int, ...]:
        """The last known step of each forecast that is scored, in a series of that length; raises ValueError for none."""
        last = length - 1 - self.horizon
        if self.horizon < 1 or self.stride < 1 or not 0 < self.first <= last + 1:
            raise ValueError(
                f"backtest: expected a horizon of at least 1 step that fits between step {self.first} and the end, "
                f"found {self.horizon} steps in a series of {length}"
            )
        return (self.first - 1,) if self.one_shot else tuple(range(self.first - 1, last + 1, self.stride))

    def refits(self, nth: int) -> bool | None:
        """Whether learners are fitted anew at an origin, counted from 0; None for those tags that are due."""
        if nth == 0:
            return True
        return None if self.refit_every is None else bool(self.refit_every and nth % self.refit_every == 0)

    def warm_origins(self) -> tuple[int, ...]:
        """The origins before them, at the same stride; none leaves fewer than two values."""
        count = min(self.warm_up, max(self.first - 2, 0)) // self.stride
        return tuple(self.first - 1 - self.stride * i for i in range(count, 0, -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call took: wall time, and memory above what was in use before it, at its peak."""

    seconds: float
    memory_bytes: int


class Meter(Protocol):
    """Measures calls; a clock and a look at the process's memory, which a detector has not."""

    def measure(self, call: Callable[[], T]) -> tuple[T, Cost]:
        """What the call returns, and what it took."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """Every forecast that one forecaster made of one series.

    `quantiles` has the shape (origins, horizon, levels), NaN where it gave no forecast. `costs` are per origin, and of all
    tags that were asked of together; `fit_seconds` is all the time spent in learning and fitting.
    """

    forecaster: str
    series: Series
    origins: tuple[int, ...]
    quantiles: NDArray[np.float64]
    costs: tuple[Cost, ...]
    fit_seconds: float
    tags: int

    @property
    def given(self) -> int:
        """How many of the forecasts it gave."""
        return int(np.isfinite(self.quantiles[:, 0, 0]).sum())

    @property
    def measured(self) -> NDArray[np.float64]:
        """What happened, shape (origins, horizon)."""
        steps = np.array(self.origins)[:, None] + np.arange(1, self.quantiles.shape[1] + 1)
        values: NDArray[np.float64] = self.series.values[steps]
        return values


def backtest(
    group: Sequence[Series],
    forecaster: Forecaster,
    plan: Plan,
    *,
    meter: Meter,
    progress: Callable[[float], None] = lambda _share: None,
) -> list[Run]:
    """Runs one forecaster over series that share one grid, all of them together at each origin; a run per series, in order.

    Raises ValueError for series that do not share a grid, or for a plan that has no origin in them.
    """
    lead = group[0]
    for other in group[1:]:
        if (other.period_s, other.start_at, len(other.values)) != (lead.period_s, lead.start_at, len(lead.values)):
            raise ValueError(f"backtest: expected series on one grid, found {other.tag} on another than {lead.tag}")
    scored = plan.origins(len(lead.values))
    warm = plan.warm_origins()
    place = {series.tag: i for i, series in enumerate(group)}
    quantiles = np.full((len(group), len(scored), plan.horizon, len(LEVELS)), np.nan)
    costs: list[Cost] = []
    fit_seconds = 0.0
    taught: int | None = None
    for nth, origin in enumerate((*warm, *scored)):
        context = plan.context if nth else 0
        windows = [series.window(origin, context=context) for series in group]
        if isinstance(forecaster, Learner):
            lessons = [] if taught is None else _lessons(group, taught, origin, most=plan.horizon)
            _, cost = meter.measure(partial(_learn, forecaster, lessons or [windows], refit=plan.refits(nth)))
            fit_seconds += cost.seconds
            taught = origin
        asked = [_within(window, plan.context) for window in windows]
        made, cost = meter.measure(partial(forecaster.forecast, asked, horizon=plan.horizon))
        if nth >= len(warm):
            costs.append(cost)
            for forecast in made:
                quantiles[place[forecast.tag], nth - len(warm)] = forecast.quantiles
        progress((nth + 1) / (len(warm) + len(scored)))
    return [
        Run(
            forecaster=forecaster.name,
            series=series,
            origins=scored,
            quantiles=quantiles[i],
            costs=tuple(costs),
            fit_seconds=fit_seconds,
            tags=len(group),
        )
        for i, series in enumerate(group)
    ]


def _lessons(group: Sequence[Series], taught: int, origin: int, *, most: int) -> list[list[Window]]:
    """Windows over the steps since the last origin, not more than a horizon of new ones in each.

    Live, a learner is taught at every step. Whoever judges its own forecasts keeps them for a horizon: more new steps than
    that at once would come too late for them.
    """
    ends = [*range(taught + most, origin, most), origin]
    length = max(LESSON, most + 1)
    return [[series.window(end, context=length) for series in group] for end in ends]


def _learn(forecaster: Learner, lessons: Sequence[Sequence[Window]], *, refit: bool | None) -> None:
    """`refit` as `Plan.refits` has it."""
    for windows in lessons:
        forecaster.learn(windows)
    tags = forecaster.due if refit is None else tuple(window.tag for window in lessons[-1]) if refit else ()
    for tag in tags:
        forecaster.refit(tag)


def _within(window: Window, context: int) -> Window:
    if not context or len(window.values) <= context:
        return window
    values = window.values[-context:]
    return Window(tag=window.tag, period_s=window.period_s, end_at=window.end_at, values=values)

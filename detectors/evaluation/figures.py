"""What do all the forecasts of one forecaster come to? The study's figures and the field's, from one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detectors.evaluation.metrics import MEDIAN, Scale, absolute_error, accuracy, mase_scale, summarise
from detectors.forecasters.distribution import log_probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detectors.evaluation.backtest import Run, Series
    from detectors.evaluation.metrics import Accuracy, Error, Summary

__all__ = ["CELLS", "Figures", "Study", "evaluate", "season_of"]

CELLS = 1000
"""The log score asks for the probability of one cell out of so many over the history's range."""
_SEASONS_S = (86_400.0, 604_800.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Both series as wholes and the absolute error between them, as the field study had them.

    Every measured value stands against its forecast median; where origins overlap, a value counts once per forecast of it.
    """

    measured: Summary
    forecast: Summary
    error: Error

    @property
    def error_percent(self) -> float:
        """The mean absolute error as % of the measured mean's magnitude."""
        return 100 * self.error.mean / abs(self.measured.mean) if self.measured.mean else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All figures of one forecaster on one series; seconds and memory are those of one call, seconds shared by its tags."""

    forecaster: str
    tag: str
    given: int
    asked: int
    plain: Study
    normalised: Study
    overall: Accuracy
    leads: tuple[Accuracy, ...]
    seconds: float
    fit_seconds: float
    memory_bytes: int


def season_of(series: Series, first: int) -> int:
    """Steps of the first season (a day, else a week) that the history before step `first` holds twice; 1 if it holds none."""
    for season_s in _SEASONS_S:
        steps = round(season_s / series.period_s)
        if steps > 1 and 2 * steps <= first:
            return steps
    return 1


def evaluate(run: Run) -> Figures:
    """The figures of a run; what the first origin knew is the history that scales them."""
    series, first = run.series, run.origins[0] + 1
    history = series.values[:first]
    measured, quantiles = run.measured, run.quantiles
    # Where no forecast was given nothing can be scored; how many were given is said apart.
    measured = np.where(np.isfinite(quantiles[..., MEDIAN]), measured, np.nan)
    scale = Scale.of(history)
    season = mase_scale(history, season=season_of(series, first))
    known = np.isfinite(measured)
    forecast = np.where(known, quantiles[..., MEDIAN], np.nan)
    log_scores = np.full(measured.shape, np.nan)
    half = (scale.high - scale.low) / CELLS / 2
    log_scores[known] = log_probability(
        quantiles[known], measured[known] - half, measured[known] + half, spread=scale.high - scale.low
    )
    return Figures(
        forecaster=run.forecaster,
        tag=series.tag,
        given=run.given,
        asked=len(run.origins),
        plain=_study(measured, forecast),
        normalised=_study(scale.normalise(measured), scale.normalise(forecast)),
        overall=accuracy(measured, quantiles, scale=season, log_scores=log_scores),
        leads=tuple(
            accuracy(
                measured[:, lead : lead + 1],
                quantiles[:, lead : lead + 1],
                scale=season,
                log_scores=log_scores[:, lead : lead + 1],
            )
            for lead in range(measured.shape[1])
        ),
        seconds=float(np.mean([cost.seconds for cost in run.costs])) / run.tags,
        fit_seconds=run.fit_seconds / run.tags,
        memory_bytes=max(cost.memory_bytes for cost in run.costs),
    )


def _study(measured: NDArray[np.float64], forecast: NDArray[np.float64]) -> Study:
    return Study(measured=summarise(measured), forecast=summarise(forecast), error=absolute_error(measured, forecast))

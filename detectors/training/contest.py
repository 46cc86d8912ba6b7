"""How well does a model foretell the held-out days, as the service would let it?

The log score looks one step ahead, what an operator looks at is the forecast: twelve steps in quantiles. Both are asked for,
since fine-tuning may win one and lose the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from detectors.evaluation.metrics import pinball
from detectors.language.forecaster import LanguageForecaster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.evaluation.backtest import Series
    from detectors.language.model import LanguageModel
    from detectors.records import Window

__all__ = ["forecast_losses", "origins"]

HORIZON = 12
SAMPLES = 16
MOST, FEWEST = 48, 4
"""Forecasts of all tags together, and of each tag."""


def origins(series: Series, first: int, end: int, *, context: int, count: int) -> list[int]:
    """Steps from `first` to `end` to forecast from, evenly spread, behind which and before which nothing is missing."""
    whole = np.isfinite(series.values)
    runs = np.convolve(whole, np.ones(context + HORIZON), mode="valid") > context + HORIZON - 0.5
    possible = [
        begin + context - 1
        for begin in np.flatnonzero(runs).tolist()
        if first <= begin and begin + context + HORIZON <= end
    ]
    if len(possible) <= count:
        return possible
    return [possible[i] for i in np.linspace(0, len(possible) - 1, count).round().astype(int).tolist()]


def forecast_losses(
    model: LanguageModel, asked: Sequence[tuple[Series, Sequence[int]]], *, context: int, seed: int = 0
) -> dict[str, float]:
    """Mean pinball loss by tag over leads and levels, in the tag's unit; tags without an origin are left out."""
    forecaster = LanguageForecaster(
        model, context=context, min_context=min(context, 12), samples=SAMPLES, seed=seed, horizon=HORIZON, order=()
    )
    found: dict[str, float] = {}
    for series, places in asked:
        losses = []
        for origin in places:
            window: Window = series.window(origin, context=context)
            for made in forecaster.forecast([window], horizon=HORIZON):
                rows = np.array(made.quantiles)
                values = series.values[origin + 1 : origin + 1 + HORIZON]
                losses.append(float(pinball(values, rows).mean()))
        if losses and math.isfinite(sum(losses)):
            found[series.tag] = sum(losses) / len(losses)
    return found

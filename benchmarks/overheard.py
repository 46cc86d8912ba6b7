"""What did each member of a panel say, while the panel asked it? Members are run once, and all of them can be scored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from detectors.evaluation.backtest import Cost, Run
from detectors.forecasters.forecaster import Learner
from detectors.records import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from detectors.forecasters.forecaster import Forecaster
    from detectors.records import Forecast, Window

__all__ = ["Overheard", "overhear"]


class Overheard:
    """Passes everything on, and keeps each forecast and the seconds that it took."""

    def __init__(self, member: Forecaster) -> None:
        self._member = member
        self._said: dict[tuple[str, datetime], Forecast] = {}
        self.seconds = 0.0
        self.calls = 0

    @property
    def name(self) -> str:
        return self._member.name

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        start = time.perf_counter()
        made = self._member.forecast(windows, horizon=horizon)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        self._said.update({(forecast.tag, forecast.made_at): forecast for forecast in made})
        return made

    def run(self, panel: Run) -> Run:
        """What it said at the origins of a run of the panel."""
        quantiles = np.full_like(panel.quantiles, np.nan)
        for i, origin in enumerate(panel.origins):
            forecast = self._said.get((panel.series.tag, panel.series.at(origin)))
            if forecast is not None:
                quantiles[i] = np.array(forecast.quantiles).reshape(-1, len(LEVELS))
        cost = Cost(seconds=self.seconds / max(self.calls, 1), memory_bytes=0)
        return Run(
            forecaster=self.name,
            series=panel.series,
            origins=panel.origins,
            quantiles=quantiles,
            costs=(cost,) * len(panel.origins),
            fit_seconds=0.0,
            tags=panel.tags,
        )


class _OverheardLearner(Overheard):
    def __init__(self, member: Learner) -> None:
        super().__init__(member)
        self._learner = member

    @property
    def due(self) -> tuple[str, ...]:
        return self._learner.due

    def learn(self, windows: Sequence[Window]) -> None:
        self._learner.learn(windows)

    def refit(self, tag: str) -> None:
        self._learner.refit(tag)

    def save(self) -> bytes:
        return self._learner.save()

    def restore(self, saved: bytes) -> None:
        self._learner.restore(saved)


def overhear(member: Forecaster) -> Overheard:
    """The member, overheard; a learner stays one."""
    return _OverheardLearner(member) if isinstance(member, Learner) else Overheard(member)

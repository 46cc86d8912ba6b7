"""How does a slow forecaster sit on a panel that asks every member about every tag? It speaks of those whose turn it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.forecasters.forecaster import Forecaster
    from detectors.records import Forecast, Window

__all__ = ["InTurn"]


class InTurn:
    """A forecaster that is asked beforehand, about some of the tags; of the others it is silent."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._made: dict[str, Forecast] = {}

    @property
    def name(self) -> str:
        """The forecaster's own."""
        return self._forecaster.name

    def prepare(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """Has these windows forecast now; what it was asked before is forgotten, whether or not this succeeds."""
        self._made = {}
        made = self._forecaster.forecast(windows, horizon=horizon) if windows else []
        self._made = {forecast.tag: forecast for forecast in made}
        return made

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """What was prepared of these very windows, as far as it reaches."""
        found = ((window, self._made.get(window.tag)) for window in windows)
        return [one for w, one in found if one is not None and one.made_at == w.end_at and one.horizon == horizon]

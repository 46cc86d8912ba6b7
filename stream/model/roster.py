"""Which forecasters can be named, and how is each made?

A forecaster is made anew for every run, so that none knows what another run taught it. What a forecaster needs is imported
when it is made: most need an extra, and a command that asks for persistence alone must not wait for torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detectors.forecasters.autoregression import Autoregression
from detectors.forecasters.boosted import Boosted
from detectors.forecasters.harmonic import Harmonic
from detectors.forecasters.panel import Panel
from detectors.forecasters.persistence import Persistence
from detectors.forecasters.seasonal import SeasonalNaive
from detectors.forecasters.smoothing import Smoothing
from detectors.language.error import ModelError
from stream.extra import NEEDS, lacking
from stream.model.weights import cached_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from detectors.forecasters.forecaster import Forecaster
    from detectors.language.model import LanguageModel
    from detectors.language.prompt import Style

__all__ = ["Roster", "RosterError"]


class RosterError(Exception):
    """A forecaster that cannot be had; the text says why and what to do."""


@dataclass(slots=True)
class Roster:
    """Makes forecasters by name; the language model is loaded once, by the first one that needs it.

    `model` is a folder in Hugging Face layout, None for the default model in the cache, `adapter` that of a LoRA adapter of
    it. `context` is how many values the language model reads at most.
    """

    model: Path | None = None
    adapter: Path | None = None
    context: int = 128
    samples: int = 16
    seed: int = 0
    _loaded: LanguageModel | None = field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """All that can be named."""
        return tuple(self._makers())

    @property
    def members(self) -> tuple[str, ...]:
        """Those that a panel is made of here: all that are installed but the language model, too slow for every origin."""
        left_out = {"panel", *filter(lacking, NEEDS)}
        return tuple(name for name in self.names if name not in left_out and not name.startswith("language"))

    @property
    def quick(self) -> tuple[str, ...]:
        """Those that need no extra and take seconds: who forecasts where nobody was named."""
        return ("persistence", "seasonal", "smoothing", "harmonic", "autoregression", "boosted", "panel")

    def make(self, name: str) -> Forecaster:
        """A new forecaster; raises RosterError for an unknown name, a missing extra or a model that cannot be had."""
        makers = self._makers()
        if name not in makers:
            raise RosterError(f"forecaster: expected one of {', '.join(makers)}, found {name!r}")
        try:
            return makers[name]()
        except ImportError as error:
            raise RosterError(
                f"forecaster {name}: expected the package {error.name}, found none installed. "
                f"Install it with the extra: pip install 'givre[{NEEDS.get(name, ('', 'model'))[1]}]'"
            ) from None

    def panel(self, members: Sequence[Forecaster]) -> Forecaster:
        """A new panel of some members."""
        return Panel(members)

    def _makers(self) -> dict[str, Callable[[], Forecaster]]:
        return {
            "persistence": lambda: Persistence(seed=self.seed),
            "seasonal": lambda: SeasonalNaive(seed=self.seed),
            "smoothing": lambda: Smoothing(seed=self.seed),
            "harmonic": lambda: Harmonic(seed=self.seed),
            "autoregression": lambda: Autoregression(seed=self.seed),
            "boosted": lambda: Boosted(seed=self.seed),
            "arima": self._arima,
            "recurrent": self._recurrent,
            "graph": self._graph,
            "panel": lambda: self.panel([self.make(name) for name in self.members]),
            "language": self._language,
            "language-json": lambda: self._prompted("json"),
            "language-role": lambda: self._prompted("role"),
        }

    def _arima(self) -> Forecaster:
        from detectors.forecasters.arima import Arima

        return Arima(seed=self.seed)

    def _recurrent(self) -> Forecaster:
        from detectors.forecasters.recurrent import Recurrent

        return Recurrent(seed=self.seed)

    def _graph(self) -> Forecaster:
        from detectors.forecasters.graph import Graph

        return Graph(seed=self.seed)

    def _language(self) -> Forecaster:
        model = self._model()
        from detectors.language.forecaster import LanguageForecaster

        return LanguageForecaster(model, context=self.context, samples=self.samples, seed=self.seed)

    def _prompted(self, style: Style) -> Forecaster:
        """A prompt is read anew at every origin, and a value takes some thirty tokens: half as many answers are drawn."""
        model = self._model()
        from detectors.language.prompt import PromptForecaster

        samples = max(self.samples // 2, 1)
        return PromptForecaster(model, style=style, context=self.context, samples=samples, seed=self.seed)

    def _model(self) -> LanguageModel:
        if self._loaded is None:
            folder = self.model or cached_model()
            if folder is None:
                raise RosterError("model: expected the default model in the cache, found none. Run `givre model fetch`")
            from detectors.language.model import load_model

            try:
                self._loaded = load_model(folder, adapter=self.adapter)
            except ModelError as error:
                raise RosterError(str(error)) from None
        return self._loaded

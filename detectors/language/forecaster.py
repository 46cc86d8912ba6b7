"""What does the language model expect of each tag? Futures drawn from it, digit by digit, and their quantiles.

What has been read of a tag is forked into `samples` futures, each continued by `horizon` values. Only symbols of the alphabet
can be drawn, so that every future is exactly that many values of the grid; timestamps are computed. One uniform number per
value chooses all its digits: it is the place of the value in the model's predictive distribution, so drawing it evenly
spread over the futures (one from each of `samples` equal strata, in random order) draws evenly spread values, and a dozen
futures say what hundreds of independent ones would say of a single step.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from detectors.language.cache import Forks
from detectors.language.model import free_memory, is_out_of_memory, release
from detectors.language.plan import FORK_BYTES
from detectors.language.ration import SHORTEST, Ration, ration
from detectors.language.reader import Reader
from detectors.records import LEVELS, Forecast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from detectors.language.model import LanguageModel
    from detectors.language.plan import MemoryPlan
    from detectors.language.reader import Place
    from detectors.records import Score, Window

__all__ = ["LanguageForecaster"]

SHARE_OF_FREE = 0.8
"""Of the memory that nobody has taken, what the model may have."""

T = TypeVar("T")


class LanguageForecaster:
    """The forecasts of a language model; a window with fewer than `min_context` values behind its last hole gets none.

    A gap is never bridged: the model reads what stands behind the last hole. The same windows and `seed` give the same
    futures, whatever was asked before and beside them (to the tolerance of the numbers that the model computes in).

    Where memory is too small for all tags, all are read with a shorter context, or those that come first in `order` alone
    (`detectors.language.ration`); `shortfall` says so. That is decided before any memory is taken, and again where the
    device runs out of it all the same, because another program took some. It holds until the model is loaded anew.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        context: int = 128,
        min_context: int = 8,
        samples: int = 16,
        temperature: float = 1.0,
        seed: int = 0,
        horizon: int = 0,
        order: Sequence[str] = (),
    ) -> None:
        """`horizon` is the longest that will be asked for; `order` names the tags to come, the most important first.

        Raises ModelError for a context and a horizon that are together longer than the model's, and where not one tag fits.
        """
        if samples < 1 or not temperature > 0:
            raise ValueError(
                f"forecaster: expected samples and temperature above 0, found {samples} samples, temperature {temperature}"
            )
        self._model = model
        self._context = context
        self._min_context = min_context
        self._samples = samples
        self._temperature = temperature
        self._seed = seed
        self._horizon = horizon
        self._rank = {tag: place for place, tag in enumerate(order)}
        self._most: tuple[int, int] | None = None
        self._reader = Reader(model, context=context, min_context=min_context)
        self._ration = self._fit(len(self._rank))

    @property
    def name(self) -> str:
        """The label in the database."""
        return "language"

    @property
    def description(self) -> str:
        """The model, its device, its numbers, how it reads, and the memory it will take."""
        return f"{self._model.description}; memory: {self._ration.plan}"

    @property
    def shortfall(self) -> str:
        """What is not done as wished for lack of memory, in one sentence; empty if all is."""
        return self._ration.shortfall

    @property
    def refused(self) -> Sequence[str]:
        """The known tags that do not fit."""
        return sorted(self._rank, key=self._rank.__getitem__)[self._ration.tags :]

    @property
    def plan(self) -> MemoryPlan:
        """The memory of all tags that are known."""
        return self._ration.plan

    def read(self, windows: Sequence[Window]) -> list[list[Score]]:
        """Scores of the values that are new since the last call; see `Reader.read`. None for tags that do not fit."""
        return self._within_memory(lambda: self._read(windows))

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """Forecasts of the next `horizon` steps of each window that can be read, in order.

        Raises ModelError for a context and a horizon that are together longer than the model's, and where not even one tag
        fits into memory.
        """

        def draw() -> list[Forecast]:
            self._grant(windows, horizon)
            self._read(windows)
            found = ((window, self._reader.place(window.tag)) for window in windows)
            ready = [(window, place) for window, place in found if place is not None]
            cells = self._draw(ready, horizon)
            return [self._forecast(window, place, cells[i]) for i, (window, place) in enumerate(ready)]

        return self._within_memory(draw)

    def _read(self, windows: Sequence[Window]) -> list[list[Score]]:
        granted = self._grant(windows, self._horizon)
        scores = iter(self._reader.read([window for window in windows if window.tag in granted]))
        return [next(scores) if window.tag in granted else [] for window in windows]

    def _grant(self, windows: Sequence[Window], horizon: int) -> set[str]:
        """The tags of these windows that have a place in memory; tags that have to give theirs up are forgotten."""
        asked = {window.tag for window in windows}
        new = asked - self._reader.tags
        if not new and horizon <= self._horizon:
            return asked
        for tag in sorted(asked - self._rank.keys()):
            self._rank[tag] = len(self._rank)
        if horizon > self._horizon or (len(self._rank) > self._ration.plan.tags and not self._ration.shortfall):
            self._horizon = max(horizon, self._horizon)
            self._take(self._fit(len(self._rank)))
        kept = set(sorted(self._rank, key=self._rank.__getitem__)[: self._ration.tags])
        self._reader.forget(sorted(self._reader.tags - kept))
        return asked & kept

    def _fit(self, tags: int) -> Ration:
        # What is ours already counts as free: weights, and the rows of the cache. Of the rest some is left to others.
        ours = self._model.shape.weights_bytes + self._reader.cache.bytes
        available = int(SHARE_OF_FREE * free_memory(self._model.device)) + ours
        return ration(
            self._model.shape,
            tags=max(tags, 1),
            context=self._context,
            samples=self._samples,
            horizon=self._horizon,
            number_bytes=self._model.dtype.itemsize,
            available=available,
            where=str(self._model.device),
            most=self._most,
        )

    def _take(self, granted: Ration) -> None:
        """A ration with another context is another reader; texts begin anew from the windows."""
        if granted.context != self._reader.context:
            self._reader = Reader(
                self._model, context=granted.context, min_context=min(self._min_context, granted.context)
            )
        self._ration = granted

    def _within_memory(self, work: Callable[[], T]) -> T:
        """Does it, with less each time the device has run out of memory."""
        while True:
            try:
                return work()
            except RuntimeError as error:
                granted = self._ration
                if not is_out_of_memory(error) or (granted.context <= SHORTEST and granted.tags == 1):
                    raise
                if granted.context > SHORTEST:
                    self._most = max(granted.context // 2, SHORTEST), granted.tags
                else:
                    self._most = granted.context, granted.tags // 2
            # All that was read is given back; the windows are read again.
            self._reader = Reader(self._model, context=self._reader.context, min_context=self._min_context)
            release(self._model.device)
            self._take(self._fit(len(self._rank)))

    def _forecast(self, window: Window, place: Place, cells: NDArray[np.int64]) -> Forecast:
        assert place.grid is not None
        paths = place.grid.low + (cells + 0.5) * place.grid.cell
        # Each future is one of equally likely ones, so the levels fall between their ranks.
        quantiles = np.quantile(paths, LEVELS, axis=0, method="median_unbiased").T
        return Forecast(
            tag=window.tag,
            forecaster=self.name,
            made_at=window.end_at,
            period_s=window.period_s,
            quantiles=tuple(map(tuple, np.sort(quantiles, axis=1).tolist())),
            paths=tuple(map(tuple, paths.tolist())),
        )

    def _draw(self, ready: Sequence[tuple[Window, Place]], horizon: int) -> NDArray[np.int64]:
        """Drawn cells (windows, samples, horizon), as many futures at a time as the plan of memory allows."""
        cells = np.zeros((len(ready), self._samples, horizon), dtype=np.int64)
        uniforms = np.stack([self._uniforms(w, horizon) for w, _ in ready]) if ready else np.zeros(cells.shape)
        one = (
            horizon * self._model.alphabet.tokens_per_value * self._model.shape.token_bytes(self._model.dtype.itemsize)
        )
        most = max(FORK_BYTES // one, 1)
        order = sorted(range(len(ready)), key=lambda i: ready[i][1].row)
        tags = max(most // self._samples, 1)
        for begin in range(0, len(order), tags):
            some = order[begin : begin + tags]
            places = [ready[i][1] for i in some]
            for first in range(0, self._samples, most):
                turn = slice(first, min(first + most, self._samples))
                cells[some, turn] = self._continue(places, uniforms[some, turn])
        return cells

    def _uniforms(self, window: Window, horizon: int) -> NDArray[np.float64]:
        """Uniform numbers (samples, horizon), one in each stratum at every step; of the seed, the tag and the moment."""
        tag, moment = zlib.crc32(window.tag.encode()), round(window.end_at.timestamp() * 1e3) % 2**64
        random = np.random.default_rng([self._seed, tag, moment])
        strata = random.permuted(np.tile(np.arange(self._samples), (horizon, 1)), axis=1).T
        uniforms: NDArray[np.float64] = (strata + random.random((self._samples, horizon))) / self._samples
        return uniforms

    def _continue(self, places: Sequence[Place], uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Cells of the futures of some places (places, samples, horizon), each chosen by its uniform number."""
        model, alphabet = self._model, self._model.alphabet
        tags, samples, horizon = uniforms.shape
        symbols = torch.tensor(alphabet.symbols, device=model.device)
        separators = torch.full((tags * samples, 1), alphabet.separator, device=model.device)
        forks = Forks(
            self._reader.cache,
            torch.tensor([place.row for place in places], device=model.device),
            torch.tensor([place.length for place in places], device=model.device),
            samples=samples,
            room=max(horizon - 1, 0) * alphabet.tokens_per_value + alphabet.per_value,
        )
        rest = torch.tensor(uniforms.reshape(tags * samples, horizon), device=model.device)
        cells = torch.zeros((tags * samples, horizon), dtype=torch.int64, device=model.device)
        begun = torch.stack([place.expected for place in places if place.expected is not None])
        expected = begun.repeat_interleave(samples, dim=0)
        for step in range(horizon):
            for nth in range(alphabet.per_value):
                drawn, rest[:, step] = _choose(expected, rest[:, step], self._temperature)
                cells[:, step] = cells[:, step] * len(alphabet.symbols) + drawn
                last = nth == alphabet.per_value - 1
                if last and step == horizon - 1:
                    break
                tokens = symbols[drawn][:, None]
                # The separator is certain: it goes in one pass with the symbol before it.
                tokens = torch.cat((tokens, separators), dim=1) if last else tokens
                hidden = model.run(tokens, forks.advance(tokens.shape[1]))
                expected = model.log_probabilities(hidden[:, -1])
        chosen: NDArray[np.int64] = cells.reshape(tags, samples, horizon).cpu().numpy()
        return chosen


def _choose(expected: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The symbol at each uniform number's place in what is expected, and how far into that symbol's share it lies."""
    shares = (expected.double() / temperature).softmax(-1)
    edges = shares.cumsum(-1)
    # Rounding may leave the last edge a hair below 1.
    drawn = (uniform[:, None] >= edges).sum(-1).clamp(max=shares.shape[1] - 1)
    share = shares.gather(1, drawn[:, None])[:, 0]
    into = (uniform - (edges.gather(1, drawn[:, None])[:, 0] - share)) / share.clamp(min=1e-300)
    return drawn, into.clamp(0.0, 1.0 - 1e-12)

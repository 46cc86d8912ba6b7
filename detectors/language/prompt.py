"""What does the model expect if it is asked as people ask? Two instruction prompts, beside the digits that it reads by default.

`json` gives the past as dated JSON and asks for more of it; `role` says who the model is and what its task is, and gives the
same JSON. Such prompts were tried in the field and failed in three ways: prose for an answer, too few values, dates that do
not exist. Here the answer is held to its grammar (`detectors.language.grammar`), so that the prompts can be compared on equal
terms with other forecasters.

It is slow (a value takes some thirty tokens, and the whole window is read again each time): for evaluation, not for service.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from detectors.language.cache import Cache, Reading
from detectors.language.error import ModelError
from detectors.language.grammar import END, SYMBOLS, notation
from detectors.language.model import free_memory
from detectors.language.plan import PASS_TOKENS
from detectors.language.wording import Style, opening, worded
from detectors.records import LEVELS, Forecast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from detectors.language.grammar import Number
    from detectors.language.model import LanguageModel
    from detectors.records import Window

__all__ = ["PromptForecaster", "Style"]

LEAST = 8
"""Entries of the past below which there is no forecast."""


class PromptForecaster:
    """Forecasts of a language model that is asked by an instruction prompt, `samples` answers a window.

    Of a window the newest `context` values are shown, fewer where the model holds no more; a hole is an entry that is
    missing. A window with fewer than 8 values gets no forecast. The same window and seed give the same answers.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        style: Style,
        context: int = 128,
        samples: int = 8,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Raises ModelError for a model whose vocabulary lacks what the grammar needs."""
        if model.spoken is None:
            raise ModelError(
                f"model {model.name}",
                expected=f"a token for each of {' '.join(SYMBOLS)}",
                found="none for some of them",
                advice="Instruction prompts need them; the digit style does not",
            )
        self._model = model
        self._style = style
        self._context = context
        self._samples = samples
        self._temperature = temperature
        self._seed = seed
        self._spoken = model.spoken

    @property
    def name(self) -> str:
        """The label in the database."""
        return f"language-{self._style}"

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """Forecasts of the next `horizon` steps of each window with enough values, in order.

        Raises ModelError where not even 8 entries and the answer fit into the model's positions, or into memory.
        """
        ready = [w for w in windows if sum(map(math.isfinite, w.values[-self._context :])) >= LEAST]
        return [self._forecast(window, horizon) for window in ready]

    def prompt(self, window: Window, horizon: int, *, entries: int) -> tuple[list[int], Number]:
        """The tokens up to the first value of the answer, with the newest `entries` of the past, and how values are written."""
        known = [(i, value) for i, value in enumerate(window.values) if math.isfinite(value)][-entries:]
        number = notation([value for _, value in known])
        steps_back = len(window.values) - 1
        past: list[int] = []
        for i, value in known:
            past += self._opening(window, i - steps_back, first=not past)
            past += [self._spoken.tokens[symbol] for symbol in (*number.write(value), END)]
        past += self._tokens("]\n")
        words = worded(self._style, window, horizon, number)
        before, after = self._spoken.frame(words.role, words.introduction, words.ask)
        return [*before, *past, *after, *self._opening(window, 1, first=True)], number

    def _forecast(self, window: Window, horizon: int) -> Forecast:
        entry = max(len(self._opening(window, lead, first=False)) for lead in (1, horizon)) + 1
        entries = min(sum(map(math.isfinite, window.values)), self._context)
        while True:
            text, number = self.prompt(window, horizon, entries=entries)
            answer = horizon * (entry + number.whole + number.decimals + 2)
            over = len(text) + answer - self._model.shape.longest
            if over <= 0:
                break
            # The oldest entries go until the rest fits.
            entries -= max(over // (entry + number.whole + number.decimals + 2), 1)
            if entries < LEAST:
                raise ModelError(
                    f"prompt style {self._style}",
                    expected=f"at most {self._model.shape.longest} tokens, which is what this model holds",
                    found=f"{len(text) + answer} for {LEAST} entries and an answer of {horizon}",
                    advice="Ask for a shorter horizon, or use the digit style",
                )
        self._require(len(text) + answer)
        paths = np.array(self._answers(window, text, answer, number, horizon))
        quantiles = np.quantile(paths, LEVELS, axis=0, method="median_unbiased").T
        return Forecast(
            tag=window.tag,
            forecaster=self.name,
            made_at=window.end_at,
            period_s=window.period_s,
            quantiles=tuple(map(tuple, np.sort(quantiles, axis=1).tolist())),
            paths=tuple(map(tuple, paths.tolist())),
        )

    def _answers(self, window: Window, text: list[int], answer: int, number: Number, horizon: int) -> list[list[float]]:
        """Values of each answer (samples, horizon)."""
        model, count = self._model, self._samples
        random = np.random.default_rng(
            [self._seed, zlib.crc32(window.tag.encode()), round(window.end_at.timestamp() * 1e3) % 2**63]
        )
        cache = Cache(model.shape, rows=count, capacity=len(text) + answer, device=model.device, dtype=model.dtype)
        expected = self._read(cache, text).expand(count, -1)
        lengths = np.full(count, len(text))
        values: list[list[float]] = [[] for _ in range(count)]
        for lead in range(1, horizon + 1):
            said = [""] * count
            speaking = list(range(count))
            while speaking:
                chosen = self._choose(expected[speaking], [number.may(said[i]) for i in speaking], random)
                for i, symbol in zip(speaking, chosen, strict=True):
                    said[i] += symbol
                # An answer that has ended its value waits for the others: what follows it is the same for all.
                speaking = [i for i in speaking if not said[i].endswith(END)]
                if speaking:
                    tokens = [[self._spoken.tokens[said[i][-1]]] for i in speaking]
                    hidden = self._pass(cache, speaking, lengths, tokens)
                    expected = expected.clone()
                    expected[speaking] = self._log_probabilities(hidden)
            for i in range(count):
                values[i].append(number.read(said[i].removesuffix(END)))
            if lead < horizon:
                following = [self._spoken.tokens[END], *self._opening(window, lead + 1, first=False)]
                expected = self._log_probabilities(self._pass(cache, range(count), lengths, [following] * count))
        return values

    def _read(self, cache: Cache, text: list[int]) -> Tensor:
        """Reads the prompt once, and hands every answer a copy; what is expected of its first symbol (1, symbols)."""
        device = self._model.device
        row = torch.tensor([0], device=device)
        hidden = torch.empty(0)
        for begin in range(0, len(text), PASS_TOKENS):
            piece = torch.tensor([text[begin : begin + PASS_TOKENS]], device=device)
            hidden = self._model.run(piece, Reading(cache, row, torch.tensor([begin], device=device), piece.shape[1]))
        for store in (*cache.keys, *cache.values):
            store[1:, :, : len(text)] = store[:1, :, : len(text)]
        return self._log_probabilities(hidden[:, -1])

    def _pass(self, cache: Cache, rows: Sequence[int], lengths: np.ndarray, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Passes as many tokens behind each of some answers; hidden states behind the last (rows, hidden)."""
        device, chosen = self._model.device, list(rows)
        begins = torch.tensor(lengths[chosen], device=device)
        reading = Reading(cache, torch.tensor(chosen, device=device), begins, len(tokens[0]))
        hidden = self._model.run(torch.tensor(tokens, device=device), reading)
        lengths[chosen] += len(tokens[0])
        return hidden[:, -1]

    def _log_probabilities(self, hidden: Tensor) -> Tensor:
        with torch.inference_mode():
            return (hidden @ self._spoken.head.T).float().log_softmax(-1).cpu()

    def _choose(self, expected: Tensor, allowed: Sequence[str], random: np.random.Generator) -> list[str]:
        """One symbol for each row, of those that its grammar allows, by their probabilities."""
        mask = torch.tensor([[symbol in may for symbol in SYMBOLS] for may in allowed])
        shares = (expected.double() / self._temperature).masked_fill(~mask, -math.inf).softmax(-1)
        edges = shares.cumsum(-1).numpy()
        # Scaled to the last edge, which rounding may leave a hair below 1.
        places = random.random(len(allowed))[:, None] * edges[:, -1:]
        return [SYMBOLS[int(i)] for i in (places >= edges).sum(axis=1)]

    def _opening(self, window: Window, lead: int, *, first: bool) -> list[int]:
        """What stands before a value: the entry's bracket, its date, the key of the value."""
        return self._tokens(opening(window, lead, first=first))

    def _tokens(self, text: str) -> list[int]:
        return self._spoken.encode(text)

    def _require(self, tokens: int) -> None:
        needed = self._samples * tokens * self._model.shape.token_bytes(self._model.dtype.itemsize)
        free = free_memory(self._model.device)
        if needed > free:
            raise ModelError(
                f"memory of prompt style {self._style} on {self._model.device}",
                expected=f"{needed // 2**20:,} MiB for {self._samples} answers of {tokens} tokens",
                found=f"{free // 2**20:,} MiB free",
                advice="Ways out: fewer samples, a shorter context or horizon, or the digit style",
            )

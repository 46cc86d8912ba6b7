"""What does the model say in words? Plain text, token by token, for what people read; numbers are forecast elsewhere.

Only the alphabet's rows of the output head are kept (`detectors.language.model`). Where a model's output words are its input
words (tied embeddings, as in SmolLM2, Qwen2.5 up to 3B and Llama 3.2), the whole head is at hand all the same, and costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from detectors.language.body import Body
from detectors.language.cache import Cache, Reading
from detectors.language.error import ModelError
from detectors.language.plan import PASS_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from detectors.language.model import LanguageModel

__all__ = ["LanguageWriter"]

MOST_TOKENS = 96
PENALTY = 1.1
"""What has been said is so much less likely to be said again (Keskar et al. 2019, CTRL): small models go round in circles."""


class LanguageWriter:
    """Answers of a language model, always the likeliest next token."""

    def __init__(self, model: LanguageModel) -> None:
        """Raises ModelError for a model whose output words are not its input words."""
        spoken = model.spoken
        if spoken is None or not spoken.tied or not isinstance(model.body, Body):
            raise ModelError(
                f"model {model.name}",
                expected="one whose output words are its input words (tie_word_embeddings), to explain alerts",
                found="another",
                advice="Leave out `explain`, or choose a model such as SmolLM2",
            )
        self._model, self._spoken = model, spoken
        self._words: Tensor = model.body.embedding.weight  # type: ignore[assignment] # a module has anything for torch

    def write(self, role: str, ask: str) -> Iterator[str]:
        """The answer as far as it has come, after each token; nothing for a prompt that is longer than the model's texts."""
        before, after = self._spoken.frame(role, "", ask)
        text = [*before, *after]
        if len(text) + MOST_TOKENS > self._model.shape.longest:
            return
        device = self._model.device
        cache = Cache(
            self._model.shape, rows=1, capacity=len(text) + MOST_TOKENS, device=device, dtype=self._model.dtype
        )
        for begin in range(0, len(text), PASS_TOKENS):
            hidden = self._pass(cache, begin, text[begin : begin + PASS_TOKENS])
            yield ""
        said: list[int] = []
        while len(said) < MOST_TOKENS and (token := self._likeliest(hidden, said)) != self._spoken.end:
            said.append(token)
            yield self._spoken.decode(said)
            hidden = self._pass(cache, len(text) + len(said) - 1, [token])

    def _pass(self, cache: Cache, length: int, tokens: list[int]) -> Tensor:
        """Hidden state behind the last token (hidden,)."""
        device = self._model.device
        reading = Reading(cache, torch.tensor([0], device=device), torch.tensor([length], device=device), len(tokens))
        return self._model.run(torch.tensor([tokens], device=device), reading)[0, -1]

    def _likeliest(self, hidden: Tensor, said: list[int]) -> int:
        with torch.inference_mode():
            logits = (self._words @ hidden).float()
            if said:
                again = torch.tensor(sorted(set(said)), device=logits.device)
                repeated = logits[again]
                logits[again] = torch.where(repeated > 0, repeated / PENALTY, repeated * PENALTY)
            return int(logits.argmax())

"""How is a model asked, and how does it say a number? The part of a tokenizer that instruction prompts need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detectors.language.alphabet import single_tokens
from detectors.language.grammar import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["Speech", "find_speech"]

_MARK = "\u241e"
"""Stands for the data in a chat template, and in no chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """The tokens of the symbols that can be said, and their rows of the output head, shape (symbols, hidden).

    `tied`: the whole output head is the embedding of the input, and any word can be said.
    """

    tokens: Mapping[str, int]
    head: Tensor
    tokenizer: Any
    tied: bool = False

    @property
    def end(self) -> int | None:
        """The token that ends an answer."""
        found: int | None = self.tokenizer.eos_token_id
        return found

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens, without the special ones."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, and nothing around it."""
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return found

    def frame(self, role: str, introduction: str, ask: str) -> tuple[list[int], list[int]]:
        """Tokens before and behind the data, up to the beginning of the answer; by the model's chat template if it has one."""
        if self.tokenizer.chat_template:
            messages = [{"role": "system", "content": role}] if role else []
            messages.append({"role": "user", "content": f"{introduction}{_MARK}{ask}"})
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        else:
            begin = self.tokenizer.bos_token or ""
            text = f"{begin}{role}\n{introduction}{_MARK}{ask}\n".lstrip("\n")
        before, _, after = text.partition(_MARK)
        return self.encode(before), self.encode(after)


def find_speech(tokenizer: Any, rows: Tensor, *, tied: bool = False) -> Speech | None:
    """The speech of a tokenizer; `rows` is the whole output head. None if it has no token for one of the symbols."""
    found = single_tokens(tokenizer, SYMBOLS)
    if found is None:
        return None
    head = rows[[found[symbol] for symbol in SYMBOLS]].clone()
    return Speech(tokens=found, head=head, tokenizer=tokenizer, tied=tied)

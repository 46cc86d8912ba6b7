"""Which tokens spell a number? Of a whole vocabulary, the few that are ever read or said.

A digit is fed as its own token whatever the tokenizer would make of a longer number, so that a model that splits digits
and one that merges them read the same text. Where the tokenizer has a token for every three-digit group and writes numbers
with them, a value is one such token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from detectors.language.codec import DIGITS
from detectors.language.error import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SEPARATOR", "Alphabet", "Tokenizer", "choose_alphabet", "single_tokens"]

SEPARATOR = ","
# How vocabularies write a piece that stands alone, and one with a space before it (byte-level, SentencePiece, plain).
_FORMS = {"without a space": ("",), "with a leading space": ("\u0120", "\u2581", " ")}


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is needed."""

    def get_vocab(self) -> Mapping[str, int]:
        """Token ids by piece."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        """Token ids of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alphabet:
    """Token ids: `symbols` in numerical order (ten digits, or a thousand groups), the separator, what a text begins with."""

    symbols: tuple[int, ...]
    per_value: int
    separator: int
    begin: int
    description: str

    def __post_init__(self) -> None:
        if len(self.symbols) ** self.per_value != 10**DIGITS:
            raise ValueError(
                f"alphabet: expected symbols to spell {10**DIGITS} cells, "
                f"found {len(self.symbols)} symbols, {self.per_value} a value"
            )

    @property
    def tokens_per_value(self) -> int:
        """Symbols and the separator behind them."""
        return self.per_value + 1

    def spell(self, cell: int) -> tuple[int, ...]:
        """The symbols of a cell as places in `symbols`, the most significant first."""
        base = len(self.symbols)
        return tuple(cell // base**place % base for place in range(self.per_value - 1, -1, -1))

    def tokens(self, cell: int) -> tuple[int, ...]:
        """The token ids of a cell, separator included."""
        return (*(self.symbols[place] for place in self.spell(cell)), self.separator)


def choose_alphabet(tokenizer: Tokenizer) -> Alphabet:
    """The alphabet of a tokenizer; raises ModelError if it has no token for each digit and the separator."""
    vocabulary = tokenizer.get_vocab()
    separator = next((i for form in _FORMS for i in _look_up(vocabulary, (SEPARATOR,), form) or ()), None)
    digits, form = next(
        ((found, form) for form in _FORMS if (found := _look_up(vocabulary, tuple("0123456789"), form))), (None, "")
    )
    if separator is None or digits is None:
        missing = [c for c in ("0123456789" + SEPARATOR) if not any(_look_up(vocabulary, (c,), f) for f in _FORMS)]
        raise ModelError(
            "vocabulary of the model",
            expected=f"a token for each digit and for {SEPARATOR!r}",
            found=f"none for {' '.join(missing) or 'the digits in one form'}",
            advice="This model cannot read numbers digit by digit: choose another",
        )
    plain = list(tokenizer.encode("1", add_special_tokens=False))
    special = list(tokenizer.encode("1", add_special_tokens=True))
    # A model that was trained with a begin-of-text token leans on it; for the others a text begins behind a separator.
    has_begin = len(special) > len(plain) and special[0] not in plain
    begin = special[0] if has_begin else separator
    start = "its begin-of-text token" if has_begin else "a separator"
    groups = _look_up(vocabulary, tuple(f"{i:0{DIGITS}d}" for i in range(10**DIGITS)), "without a space")
    written = list(tokenizer.encode("512,498,503,", add_special_tokens=False))
    if groups is not None and all(groups[i] in written for i in (512, 498, 503)):
        how = "the tokenizer writes three digits as one token: one token a value"
        return _alphabet(groups, 1, separator, begin, f"{how}; a text begins with {start}")
    split = all(digit in written for digit in (digits[5], digits[1], digits[4]))
    how = "splits digits" if split else "merges digits, they are fed one by one"
    description = f"the tokenizer {how} ({form}): {DIGITS} tokens a value; a text begins with {start}"
    return _alphabet(digits, DIGITS, separator, begin, description)


def single_tokens(tokenizer: Tokenizer, symbols: str) -> dict[str, int] | None:
    """The token of each symbol on its own, without a space before it; None if one has none."""
    found = _look_up(tokenizer.get_vocab(), tuple(symbols), "without a space")
    return None if found is None else dict(zip(symbols, found, strict=True))


def _alphabet(symbols: tuple[int, ...], per_value: int, separator: int, begin: int, description: str) -> Alphabet:
    return Alphabet(symbols=symbols, per_value=per_value, separator=separator, begin=begin, description=description)


def _look_up(vocabulary: Mapping[str, int], pieces: Sequence[str], form: str) -> tuple[int, ...] | None:
    """Ids of all the pieces in one form; None if one is missing, or two share an id."""
    for mark in _FORMS[form]:
        ids = tuple(vocabulary[mark + piece] for piece in pieces if mark + piece in vocabulary)
        if len(set(ids)) == len(pieces):
            return ids
    return None

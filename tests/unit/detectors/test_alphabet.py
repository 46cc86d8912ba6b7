"""Which tokens spell a number?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from transformers import AutoTokenizer

from detectors.language.alphabet import Alphabet, choose_alphabet
from detectors.language.error import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("tokens", "spelt", "said"),
    [
        ("splits", ["0", "4", "2", ","], "splits digits (without a space)"),
        ("merges", ["0", "4", "2", ","], "merges digits, they are fed one by one (without a space)"),
        ("groups", ["042", ","], "three digits as one token"),
        ("spaced", ["\u25810", "\u25814", "\u25812", ","], "(with a leading space)"),
    ],
)
def test_a_value_is_spelt_in_the_tokens_that_the_tokenizer_has(
    tiny_model: Callable[..., Path], tokens: str, spelt: list[str], said: str
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model(tokens))
    letters = choose_alphabet(tokenizer)
    assert tokenizer.convert_ids_to_tokens(letters.tokens(42)) == spelt
    assert letters.tokens_per_value == len(spelt)
    assert said in letters.description


def test_symbols_in_their_order_are_the_number(tiny_model: Callable[..., Path]) -> None:
    for tokens in ("splits", "groups"):
        letters = choose_alphabet(AutoTokenizer.from_pretrained(tiny_model(tokens)))
        base = len(letters.symbols)
        for cell in (0, 7, 99, 100, 512, 999):
            number = 0
            for place in letters.spell(cell):
                number = number * base + place
            assert number == cell


def test_a_vocabulary_without_digits_is_refused_by_name(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r"expected a token for each digit.*found none for 0 1 2"):
        choose_alphabet(AutoTokenizer.from_pretrained(tiny_model("none")))


def test_a_begin_of_text_token_is_used_where_the_tokenizer_sets_one() -> None:
    class Llama:
        def get_vocab(self) -> dict[str, int]:
            return {"<s>": 1, ",": 2, **{str(d): 10 + d for d in range(10)}}

        def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
            ids = [self.get_vocab()[c] for c in text]
            return [1, *ids] if add_special_tokens else ids

    assert choose_alphabet(Llama()).begin == 1


def test_symbols_that_cannot_spell_every_cell_are_refused() -> None:
    with pytest.raises(ValueError, match="1000 cells"):
        Alphabet(symbols=(1, 2), per_value=3, separator=0, begin=0, description="")

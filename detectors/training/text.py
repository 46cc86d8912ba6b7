"""How does the model read what it is to learn? Token for token as in service (`detectors.language.reader`).

What is learnt is the value alone: at each symbol of a value, which of the alphabet's symbols comes, given that one of them does.
So the loss is the log score of the service, in nats per value, and nothing is spent on the rest of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from torch import Tensor

    from detectors.language.alphabet import Alphabet
    from detectors.training.dataset import Example

__all__ = ["Batch", "batch_of", "losses", "text_tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Texts side by side: `tokens` (texts, longest), filled up behind; of each learnt symbol its text, place and number.

    `place` is that of the token before the symbol: what is expected is said there. `value` numbers the values of the batch.
    """

    tokens: Tensor
    text: Tensor
    place: Tensor
    symbol: Tensor
    value: Tensor
    values: int


def text_tokens(example: Example, alphabet: Alphabet) -> list[int]:
    """The tokens of a text, from the one that it begins with."""
    found = [alphabet.begin]
    for cell in example.cells:
        found += alphabet.tokens(cell)
    return found


def batch_of(examples: Sequence[Example], alphabet: Alphabet) -> Batch:
    """Some texts as one batch."""
    texts = [text_tokens(example, alphabet) for example in examples]
    longest = max(map(len, texts))
    text, place, symbol, value = [], [], [], []
    values = 0
    for i, example in enumerate(examples):
        for k in range(example.known, len(example.cells)):
            begin = 1 + k * alphabet.tokens_per_value
            for j, spelt in enumerate(alphabet.spell(example.cells[k])):
                text.append(i)
                place.append(begin + j - 1)
                symbol.append(spelt)
                value.append(values)
            values += 1
    return Batch(
        tokens=torch.tensor([one + [alphabet.separator] * (longest - len(one)) for one in texts]),
        text=torch.tensor(text),
        place=torch.tensor(place),
        symbol=torch.tensor(symbol),
        value=torch.tensor(value),
        values=values,
    )


def losses(whole: Any, head: Tensor, batch: Batch) -> Tensor:
    """-ln of the probability of each learnt value's cell, shape (values,), in the order of the texts.

    `whole` is a causal model of transformers, `head` the rows of its output head that are the alphabet's symbols.
    """
    device = head.device
    # Texts are filled up behind, where a causal model does not look: no mask is needed.
    hidden = whole.base_model(input_ids=batch.tokens.to(device), use_cache=False).last_hidden_state
    said = hidden[batch.text.to(device), batch.place.to(device)] @ head.to(hidden.dtype).T
    each = -said.float().log_softmax(-1).gather(1, batch.symbol.to(device)[:, None])[:, 0]
    return torch.zeros(batch.values, device=device).index_add(0, batch.value.to(device), each)

"""What has the model read of each tag? The keys and values of every token, kept in rows, one row per tag.

The model itself is transformers' own; only its attention is ours. A pass that *reads* appends to rows of different lengths
in place. A pass that *forks* lets many futures of a tag attend to one copy of what was read of it, each with a short tail of
its own: the text is never copied, and it is multiplied once for all futures of the tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional
from transformers import AttentionInterface

from detectors.language.error import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from detectors.language.plan import Shape

__all__ = ["ATTENTION", "Cache", "Forks", "Pass", "Reading"]

ATTENTION = "givre"
"""Name under which transformers finds our attention."""


class Pass(Protocol):
    """One pass through the model: which keys and values its tokens see."""

    @property
    def positions(self) -> Tensor:
        """Place of each token in its text (texts, tokens)."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Keeps keys and values (texts, kv heads, tokens, size) of a layer and answers the queries (texts, heads, ...)."""


class Cache:
    """Keys and values of `rows` texts of up to `capacity` tokens; every row has a length of its own, kept by the reader."""

    def __init__(self, shape: Shape, *, rows: int, capacity: int, device: torch.device, dtype: torch.dtype) -> None:
        size = (rows, shape.kv_heads, capacity, shape.head_size)
        self.rows = rows
        self.capacity = capacity
        self.dtype = dtype
        self.groups = shape.heads // shape.kv_heads
        # Zeros, not empty memory: a masked slot is multiplied by nought, and nought times NaN is NaN.
        self.keys = [torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.layers)]
        self.values = [torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.layers)]

    @property
    def bytes(self) -> int:
        """What all of it takes."""
        return sum(store.numel() * store.element_size() for store in (*self.keys, *self.values))

    def select(self, rows: Tensor) -> slice | Tensor:
        """How to index those rows: without copying them where they stand side by side."""
        first = int(rows[0])
        adjacent = torch.arange(first, first + len(rows), device=rows.device)
        return slice(first, first + len(rows)) if bool((rows == adjacent).all()) else rows

    def grow(self, rows: int) -> None:
        """Makes room for more rows; those there are stay as they are."""
        for kept in (self.keys, self.values):
            for layer, old in enumerate(kept):
                new = torch.zeros((rows, *old.shape[1:]), dtype=old.dtype, device=old.device)
                new[: self.rows] = old
                kept[layer] = new
        self.rows = rows


class Reading:
    """A pass over `count` new tokens of each of some rows, behind the `lengths` tokens that each has already.

    Rows may be given more tokens than they have text: what stands behind the end is overwritten by the next pass and never
    seen before.
    """

    def __init__(self, cache: Cache, rows: Tensor, lengths: Tensor, count: int) -> None:
        self._cache = cache
        self._rows = rows
        self.positions = lengths[:, None] + torch.arange(count, device=lengths.device)
        self._end = int(lengths.max()) + count
        if self._end > cache.capacity:
            raise ValueError(f"cache: expected at most {cache.capacity} tokens in a row, found {self._end}")
        self._selected = cache.select(rows)
        slots = torch.arange(self._end, device=lengths.device)
        unseen = (slots > self.positions[:, :, None])[:, None]
        mask = torch.zeros(unseen.shape, dtype=cache.dtype, device=lengths.device)
        # Query heads that share a key-value head are further queries to it: nothing is repeated in memory but the mask.
        self._mask = mask.masked_fill_(unseen, float("-inf")).repeat(1, 1, cache.groups, 1)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Appends, and attends to all that stands in the row up to each token."""
        keys = self._kept(self._cache.keys[layer], key)
        values = self._kept(self._cache.values[layer], value)
        texts, heads, count, size = query.shape
        groups = heads // key.shape[1]
        # Query heads that share a key-value head are further queries to it: nothing is repeated in memory.
        folded = query.reshape(texts, key.shape[1], groups * count, size)
        answer = functional.scaled_dot_product_attention(folded, keys, values, attn_mask=self._mask, scale=scaling)
        return answer.reshape(texts, heads, count, size)

    def _kept(self, store: Tensor, new: Tensor) -> Tensor:
        store[self._rows[:, None], :, self.positions] = new.transpose(1, 2)
        return store[self._selected, :, : self._end]


class Forks:
    """`samples` futures of each of some rows: they share what the row has read, and grow tails of their own.

    Texts are ordered row by row, the futures of one row side by side. Nothing of the cache is changed.
    """

    def __init__(self, cache: Cache, rows: Tensor, lengths: Tensor, *, samples: int, room: int) -> None:
        self._samples = samples
        self._lengths = lengths.repeat_interleave(samples)
        self._length = 0
        self._count = 0
        end = int(lengths.max())
        selected = cache.select(rows)
        first, layers = cache.keys[0], len(cache.keys)
        texts, kv_heads, size = len(rows) * samples, first.shape[1], first.shape[3]
        # Copied once, so that every pass multiplies what lies side by side; keys lie ready to be multiplied. All layers are
        # one piece of memory each, so that it goes back to the system as a whole.
        self._keys = first.new_empty((layers, len(rows), kv_heads, size, end))
        self._values = first.new_empty((layers, len(rows), kv_heads, end, size))
        for layer, (keys, values) in enumerate(zip(cache.keys, cache.values, strict=True)):
            self._keys[layer] = keys[selected, :, :end].transpose(2, 3)
            self._values[layer] = values[selected, :, :end]
        self._tail_keys = first.new_zeros((layers, texts, kv_heads, size, room))
        self._tail_values = first.new_zeros((layers, texts, kv_heads, room, size))
        unseen = torch.arange(end, device=lengths.device) >= lengths[:, None]
        self._unseen = unseen[:, None, None] if bool(unseen.any()) else None

    @property
    def positions(self) -> Tensor:
        """Place of each token of this pass in its text."""
        begin = self._length - self._count
        return (self._lengths + begin)[:, None] + torch.arange(self._count, device=self._lengths.device)

    def advance(self, count: int) -> Forks:
        """The next pass is over `count` tokens of each future; returns itself."""
        self._count = count
        self._length += count
        return self

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Appends to the tails, and attends to the shared text and the tail together."""
        texts, heads, count, size = query.shape
        kv_heads, length = key.shape[1], self._length
        rows, groups = texts // self._samples, heads // kv_heads
        self._tail_keys[layer][:, :, :, length - count : length] = key.transpose(2, 3)
        self._tail_values[layer][:, :, length - count : length] = value
        queries = (query * scaling).reshape(texts, kv_heads, groups * count, size)
        # All futures of a row, and all heads that share a key-value head, are queries to the one text.
        text = self._together(queries, rows) @ self._keys[layer]
        if self._unseen is not None:
            text = text.masked_fill_(self._unseen, float("-inf"))
        tail = queries @ self._tail_keys[layer][..., :length]
        if count > 1:
            tail = tail.masked_fill_(self._later(groups, query.device), float("-inf"))
        weights = torch.cat((text, self._together(tail, rows)), dim=3).softmax(dim=3)
        end = text.shape[3]
        answer = self._apart(weights[..., :end] @ self._values[layer])
        answer = answer + self._apart(weights[..., end:]) @ self._tail_values[layer][:, :, :length]
        return answer.reshape(texts, heads, count, size)

    def _later(self, groups: int, device: torch.device) -> Tensor:
        """Which tokens of the tail come after each token of this pass; the same for every head."""
        places = torch.arange(self._length, device=device)
        return (places > places[self._length - self._count :, None]).repeat(groups, 1)

    def _together(self, per_text: Tensor, rows: int) -> Tensor:
        """(texts, kv heads, queries, x) to (rows, kv heads, samples x queries, x)."""
        _, heads, queries, last = per_text.shape
        apart = per_text.reshape(rows, self._samples, heads, queries, last)
        return apart.transpose(1, 2).reshape(rows, heads, self._samples * queries, last)

    def _apart(self, per_row: Tensor) -> Tensor:
        """The way back."""
        rows, heads, queries, last = per_row.shape
        queries //= self._samples
        together = per_row.reshape(rows, heads, self._samples, queries, last)
        return together.transpose(1, 2).reshape(rows * self._samples, heads, queries, last)


def _attention(  # noqa: PLR0917 - called by transformers, by place
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """The attention of transformers' models, as they call it; the mask is ours, so theirs is not made."""
    current: Pass | None = more.get("reading")
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if more.get(name) is not None]
    window = more.get("sliding_window")
    if current is not None and window is not None and int(current.positions.max()) >= window:
        unknown.append(f"a window of {window} tokens, shorter than the text")
    if current is None or unknown or attention_mask is not None:
        raise ModelError(
            "attention of the model",
            expected="plain causal attention by transformers' attention interface",
            found=f"one with {', '.join(unknown)}" if unknown else "one that does not pass its arguments on",
            advice="Choose a model of the Llama, Mistral or Qwen families",
        )
    layer: Any = module.layer_idx
    scale = float(scaling) if scaling is not None else query.shape[-1] ** -0.5
    return current.attend(int(layer), query, key, value, scale).transpose(1, 2), None


AttentionInterface.register(ATTENTION, _attention)

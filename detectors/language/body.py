"""How do tokens go through the model with as few operations as there can be?

A value is four tokens, so what a pass costs is not the multiplying alone: the library's layers take some fifty operations
each, and at so few tokens every one of them costs more to start than to do. Llama, Mistral, Qwen2 and Qwen3 share one plan
(pre-norm, rotary positions, grouped heads, gated feed-forward part), and here it stands once, in the operations it needs:
queries, keys and values by one product of matrices, both halves of the feed-forward part by another. Weights are the
library's, put side by side. Every other architecture goes through the library's own layers, and both ways are proven against
the library's own reading at load (`model`).

Rotary positions: Su et al. 2021. Root-mean-square norm: Zhang and Sennrich 2019. Gated unit: Shazeer 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from detectors.language.cache import Pass
    from detectors.language.plan import Shape

__all__ = ["FAMILIES", "Body", "LibraryBody", "take_apart"]

FAMILIES = {"llama", "mistral", "qwen2", "qwen3"}
"""Values of `model_type` whose layers are those that are laid out here."""


class LibraryBody(nn.Module):
    """The library's own layers, with our attention."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor, reading: Pass) -> Tensor:
        """Hidden states behind each of `tokens` (texts, tokens), shape (texts, tokens, hidden)."""
        answer = self.module(input_ids=tokens, position_ids=reading.positions, use_cache=False, reading=reading)
        hidden: Tensor = answer.last_hidden_state
        return hidden


class Body(nn.Module):
    """Embedding, layers and last norm; called as `LibraryBody` is."""

    def __init__(self, embedding: nn.Module, rotary: nn.Module, layers: list[_Layer], norm: _Norm) -> None:
        super().__init__()
        self.embedding = embedding
        self.rotary = rotary
        self.layers = nn.ModuleList(layers)
        self.norm = norm

    def forward(self, tokens: Tensor, reading: Pass) -> Tensor:
        """Hidden states behind each of `tokens` (texts, tokens), shape (texts, tokens, hidden)."""
        hidden: Tensor = self.embedding(tokens)
        cos, sin = self.rotary(hidden, reading.positions)
        # Half of the sine has the sign that the rotation gives the swapped halves.
        half = sin.shape[-1] // 2
        cos, sin = cos[:, :, None], torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)[:, :, None]
        for layer in self.layers:
            hidden = layer(hidden, cos, sin, reading)
        last: Tensor = self.norm(hidden)
        return last


class _Norm(nn.Module):
    """Root-mean-square norm over the last axis, computed in float32 as the library does."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        # A copy: the library's may be mapped from the file, and would keep all of it mapped.
        self.weight = nn.Parameter(norm.weight.clone(), requires_grad=False)
        self._epsilon = norm.variance_epsilon

    def forward(self, inputs: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True, dtype=torch.float32)
        scale = length.square_().mul_(1 / inputs.shape[-1]).add_(self._epsilon).rsqrt_()
        normal: Tensor = (inputs * scale).to(inputs.dtype).mul_(self.weight)
        return normal


class _Layer(nn.Module):
    def __init__(self, index: int, layer: Any, shape: Shape) -> None:
        super().__init__()
        attention, feed = layer.self_attn, layer.mlp
        self._index = index
        self._heads = shape.heads, shape.kv_heads, shape.head_size
        self._scaling = shape.head_size**-0.5
        self.before_attention = _Norm(layer.input_layernorm)
        self.before_feed = _Norm(layer.post_attention_layernorm)
        self.query_key_value = _side_by_side(attention.q_proj, attention.k_proj, attention.v_proj)
        self.query_norm = _Norm(attention.q_norm) if hasattr(attention, "q_norm") else None
        self.key_norm = _Norm(attention.k_norm) if hasattr(attention, "k_norm") else None
        self.out = attention.o_proj
        self.gate_up = _side_by_side(feed.gate_proj, feed.up_proj)
        self.down = feed.down_proj

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, reading: Pass) -> Tensor:
        heads, kv_heads, size = self._heads
        texts, count, _ = hidden.shape
        split = self.query_key_value(self.before_attention(hidden)).view(texts, count, heads + 2 * kv_heads, size)
        turned = split[:, :, : heads + kv_heads]
        if self.query_norm is not None and self.key_norm is not None:
            turned = torch.cat((self.query_norm(turned[:, :, :heads]), self.key_norm(turned[:, :, heads:])), dim=2)
        half = size // 2
        swapped = torch.cat((turned[..., half:], turned[..., :half]), dim=-1)
        turned = torch.addcmul(turned * cos, swapped, sin).transpose(1, 2)
        value = split[:, :, heads + kv_heads :].transpose(1, 2)
        seen = reading.attend(self._index, turned[:, :heads], turned[:, heads:], value, self._scaling)
        hidden = hidden + self.out(seen.transpose(1, 2).reshape(texts, count, heads * size))
        gate, up = self.gate_up(self.before_feed(hidden)).chunk(2, dim=-1)
        fed: Tensor = self.down(functional.silu(gate).mul_(up))
        return hidden + fed


def take_apart(whole: Any, shape: Shape, *, finish: Callable[[nn.Module], None] = lambda _: None) -> Body | LibraryBody:
    """The body of a causal model of transformers, its layers finished by `finish` (packed, quantised) one by one.

    A known family is taken apart layer by layer, so that never more than one is there twice; nothing of `whole` is needed
    afterwards, so that the file its weights are mapped from can be let go.
    """
    base = whole.base_model
    if whole.config.model_type not in FAMILIES or whole.config.hidden_act != "silu":
        finish(base)
        return LibraryBody(base)
    layers = []
    for index in range(len(base.layers)):
        layer = _Layer(index, base.layers[index], shape)
        base.layers[index] = nn.Identity()
        finish(layer)
        layers.append(layer)
    weight = base.embed_tokens.weight.clone()
    embedding = nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, _freeze=True)
    return Body(embedding, base.rotary_emb, layers, _Norm(base.norm))


def _side_by_side(*products: nn.Linear) -> nn.Linear:
    """One product in the place of several with the same input."""
    outputs = sum(product.out_features for product in products)
    biases: list[Tensor] = [product.bias for product in products if product.bias is not None]
    one = nn.Linear(products[0].in_features, outputs, bias=False, device="meta")
    one.weight = nn.Parameter(torch.cat([product.weight for product in products]), requires_grad=False)
    if biases:
        one.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
    return one

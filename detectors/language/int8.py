"""How can a processor without bfloat16 multiply faster? With 8-bit weights and inputs, each with a scale of its own row.

A weight row has one scale, and every token's input one, so that an answer depends on its own token alone and not on what
else is in the batch. Layers whose input is wider than their output stay as they are: their inputs have a few very large
numbers, beside which 8 bits lose the rest. Measured on SmolLM2-135M, nats per value worse than float32: 0.008 so, 0.018 with
every layer in 8 bits, 0.44 with one scale for a whole batch of inputs.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Int8Linear", "quantise"]


class Int8Linear(nn.Module):
    """A linear layer in 8-bit integers: weights by row (symmetric, fixed), inputs by token (symmetric, as they come)."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=1e-30) / 127
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """As the layer it stands for."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        scale = flat.abs().amax(dim=1, keepdim=True).clamp_(min=1e-30) / 127
        whole = torch._int_mm((flat / scale).round_().to(torch.int8), self.weight.T)  # noqa: SLF001 - there is no public word for it
        answer = whole.to(inputs.dtype).mul_(scale).mul_(self.scale)
        if self.bias is not None:
            answer += self.bias
        return answer.reshape(*inputs.shape[:-1], -1)


def quantise(body: nn.Module) -> int:
    """Puts 8-bit layers in the place of the linear ones, in place; returns how many."""
    count = 0
    for parent in list(body.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and child.in_features <= child.out_features:
                setattr(parent, name, Int8Linear(child))
                count += 1
    return count

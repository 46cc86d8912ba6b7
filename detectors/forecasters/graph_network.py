"""What is a temporal graph convolutional network made of, and how is it taught?

T-GCN (Zhao et al. 2020): at each step, what a tag sees of itself and of the tags that act on it goes through a graph
convolution, over the steps through a gated recurrent unit. One network serves all tags of an asset, each with an
embedding and a linear path past it of its own.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from detectors.forecasters.network import MEDIAN, PATCHES, clock, drawn, pinball, rising, taught
from detectors.records import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["GraphNetwork", "Lesson", "learn"]

HIDDEN = 32
EMBEDDING = 8
HELD_OUT = 4096
"""Tags times examples of the held-out part that are looked at while learning."""
BATCH = (16, 256)
"""Examples of a step of learning at least, and tags times examples at most."""
NARROWEST = 1e-3
"""No step's band is taken for narrower than that, in units of the tag's spread."""
FAR = 20.0
"""The network sees values further from the last one than so many spreads as if they were that far."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What a network is taught from: `values` (tags, steps) with holes, `bridged` the same without, and `graph` (tags, tags).

    The last `kept` steps are held out. `context` is how many values are read, `leads` how many are foretold.
    """

    values: Array
    bridged: Array
    graph: Array
    context: int
    leads: int
    kept: int
    end_s: float
    period_s: float


def learn(lesson: Lesson, *, seed: int, steps: int, progress: Callable[[float], None]) -> dict[str, Array]:
    """The weights of a network taught in at most so many steps, by name."""
    nodes, count = lesson.bridged.shape
    context, kept, leads = lesson.context, lesson.kept, lesson.leads
    generator = torch.Generator().manual_seed(zlib.crc32(np.array([seed, nodes, count]).tobytes()))
    network = GraphNetwork(nodes, context, leads, generator)
    network.graph.copy_(torch.from_numpy(lesson.graph))
    series = torch.from_numpy(lesson.bridged.astype(np.float32))
    ends_s = lesson.end_s - lesson.period_s * np.arange(count - context, -1, -1, dtype=np.float64)
    times = torch.from_numpy(clock(ends_s, lesson.period_s, count))
    unknown = np.full((nodes, kept + leads), np.nan)
    early = torch.from_numpy(np.concatenate((lesson.values[:, : count - kept], unknown), axis=1))
    late = torch.from_numpy(np.concatenate((lesson.values, unknown[:, :leads]), axis=1))
    back, ahead = torch.arange(context), context + torch.arange(leads)
    changes = np.abs(np.diff(lesson.bridged[:, : count - kept], axis=1)).mean(axis=1)
    # Each tag counts the same, whatever it moves by, and each lead as a random walk would make it.
    scale = torch.from_numpy((1.0 / np.maximum(changes, NARROWEST)).astype(np.float32))[:, None, None]
    weights = 1.0 / torch.arange(1, leads + 1, dtype=torch.float32).sqrt()

    def loss(chosen: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        inputs = series[:, chosen[:, None] + back].transpose(0, 1)
        aims = targets[:, chosen[:, None] + ahead].float() - series[:, chosen + context - 1][..., None]
        said = network(inputs, times[chosen]).transpose(0, 1)
        return pinball(said * scale[..., None], aims.clamp(-FAR, FAR) * scale, weights)

    rows = count - kept - context
    held = torch.from_numpy(
        np.unique(np.linspace(rows, count - context - 1, max(HELD_OUT // nodes, 8)).astype(np.int64))
    )

    def held_out() -> float:
        with torch.no_grad():
            return float(loss(held, late))

    taught(
        network,
        lambda chosen: loss(chosen, early),
        held_out,
        rows=rows,
        steps=steps,
        batch=max(BATCH[1] // nodes, BATCH[0]),
        rate=5e-3,
        generator=generator,
        progress=progress,
    )
    return {name: weight.detach().numpy().astype(np.float64) for name, weight in network.state_dict().items()}


class GraphNetwork(torch.nn.Module):
    """Quantiles (b, nodes, leads, 7) of what is added to the last values, from values (b, nodes, context) and times (b, 6)."""

    graph: torch.Tensor

    def __init__(self, nodes: int, context: int, leads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.leads = leads
        patch = context // PATCHES
        self.own = torch.nn.Linear(patch, HIDDEN, device="meta")
        self.around = torch.nn.Linear(patch, HIDDEN, bias=False, device="meta")
        self.cell = torch.nn.GRU(HIDDEN, HIDDEN, batch_first=True, device="meta")
        self.node = torch.nn.Embedding(nodes, EMBEDDING, device="meta")
        self.head = torch.nn.Linear(HIDDEN + EMBEDDING + 6, leads * len(LEVELS), device="meta")
        self.path = torch.nn.Parameter(torch.empty(nodes, context, leads, device="meta"))
        self.aside = torch.nn.Linear(context, leads, bias=False, device="meta")
        self.register_buffer("graph", torch.zeros(nodes, nodes))
        self.to_empty(device="cpu")
        drawn(self, generator)
        with torch.no_grad():
            # It begins as persistence does.
            self.graph.zero_()
            self.path.zero_()
            self.aside.weight.zero_()
            self.head.weight.mul_(0.1)

    def forward(self, values: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """The quantiles; called by torch."""
        count, nodes, context = values.shape
        inputs = (values - values[..., -1:]).clamp(-FAR, FAR)
        around = torch.matmul(self.graph, inputs)
        shape = (count * nodes, PATCHES, context // PATCHES)
        seen = torch.relu(self.own(inputs.reshape(shape)) + self.around(around.reshape(shape)))
        _, state = self.cell(seen)
        known = torch.cat(
            (
                state[0].reshape(count, nodes, -1),
                self.node.weight.expand(count, -1, -1),
                times[:, None].expand(-1, nodes, -1),
            ),
            dim=2,
        )
        raw = self.head(known).reshape(count, nodes, self.leads, len(LEVELS))
        straight: torch.Tensor = torch.einsum("bnc,ncl->bnl", inputs, self.path) + self.aside(around)
        return rising(raw) + straight[..., None]

    @classmethod
    def of(cls, weights: Mapping[str, Array], leads: int) -> GraphNetwork:
        """The network of some weights."""
        nodes, context, _ = weights["path"].shape
        network = cls(nodes, context, leads, torch.Generator())
        network.load_state_dict(
            {name: torch.from_numpy(weights[name].astype(np.float32)) for name in network.state_dict()}
        )
        return network

    def said(self, rows: Array, times: NDArray[np.float32]) -> tuple[Array, Array]:
        """Medians and half widths (b, nodes, leads), from values (b, nodes, context)."""
        with torch.no_grad():
            said = self(torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(times)).numpy().astype(np.float64)
        return said[..., MEDIAN] + rows[..., -1:], np.maximum((said[..., -1] - said[..., 0]) / 2, NARROWEST)

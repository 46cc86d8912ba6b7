"""What does a recurrent network make of the last values? A small LSTM for each tag, beside a linear path from the same values.

The values since the last one, in `PATCHES` patches, go through an LSTM (Hochreiter & Schmidhuber 1997); its last state,
the time of day and week and a linear path past it (Lai et al. 2018, who found that a network alone forgets the level)
give the quantiles of all leads at once. The medians are taken as they are; how wide the levels lie is taken from the
network step by step, and how wide in all from its errors on the last part of the history, on which learning was also
stopped.

Networks of all tags step side by side, in one product each.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from detectors.forecasters.fitted import held_back
from detectors.forecasters.network import (
    FEWEST_ROWS,
    MEDIAN,
    PATCHES,
    NetworkForecaster,
    clock,
    context_length,
    drawn,
    pinball,
    rising,
    taught,
)
from detectors.records import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from detectors.forecasters.fit import Past
    from detectors.forecasters.fitted import Asked

    Array = NDArray[np.float64]

__all__ = ["Recurrent", "RecurrentNetwork"]

Weights = dict[str, torch.Tensor]

HIDDEN = 32
NARROWEST = 1e-3
"""No step's band is taken for narrower than that, in units of the tag's spread."""
FAR = 20.0
"""The network sees values further from the last one than so many spreads as if they were that far."""


class Recurrent(NetworkForecaster):
    """An LSTM per tag. It remembers 4096 steps: 32 to 64 kB per tag, and 200 kB of weights.

    `steps` bounds what a fit may take: 300 steps of 256 examples are seconds. `progress` is told the share of a fit that is done.
    """

    name = "recurrent"

    _side_by_side: tuple[tuple[int, ...], Weights] = ((), {})
    """The fits that were last asked of together, and their weights stacked."""

    def _fit(self, values: Array, end_s: float, period_s: float) -> dict[str, Array] | None:
        context = context_length(period_s)
        kept = held_back(len(values))
        origins = np.arange(context - 1, len(values) - 1)
        early = int((origins < len(values) - 1 - kept).sum())
        if early < FEWEST_ROWS:
            return None
        ahead = np.concatenate((values, np.full(self.leads, np.nan)))
        targets = ahead[origins[:, None] + 1 + np.arange(self.leads)] - values[origins, None]
        # What lies in the held-out part is no example.
        within = origins[:early, None] + 1 + np.arange(self.leads) <= len(values) - 1 - kept
        targets[:early] = np.where(within, targets[:early], np.nan)
        rows = np.lib.stride_tricks.sliding_window_view(values, context)[:-1]
        ends_s = end_s - period_s * (len(values) - 1 - origins).astype(np.float64)
        inputs = torch.from_numpy(_inputs(rows))
        times = torch.from_numpy(clock(ends_s, period_s, len(values)))
        aims = torch.from_numpy(np.clip(targets, -FAR, FAR).astype(np.float32))
        known = np.isfinite(targets[:early])
        usual = np.abs(np.where(known, targets[:early], 0.0)).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        weights = torch.from_numpy((1.0 / np.maximum(usual, NARROWEST)).astype(np.float32))
        generator = torch.Generator().manual_seed(zlib.crc32(np.array([self._seed, len(values)]).tobytes()))
        network = RecurrentNetwork(context, self.leads, generator)

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            return pinball(network(inputs[chosen], times[chosen]), aims[chosen], weights)

        def held_out() -> float:
            with torch.no_grad():
                return float(pinball(network(inputs[early:], times[early:]), aims[early:], weights))

        taught(
            network,
            loss,
            held_out,
            rows=early,
            steps=self._budget,
            batch=256,
            rate=5e-3,
            generator=generator,
            progress=self._progress,
        )
        found = {name: weight.detach().numpy().astype(np.float64) for name, weight in network.named_parameters()}
        return found | {
            "length": np.array(float(len(values))),
            "context": np.array(float(context)),
            "season": np.array(0.0),
        }

    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        return self._predict_scaled(numbers, past, horizon)[0]

    def _predict_scaled(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> tuple[Array, Array]:
        times = clock(past.ends_s, past.period_s, int(numbers["length"]))
        points, scales = _said(_weights([numbers]), _inputs(past.values)[None], times[None], horizon)
        return points[0] + past.values[:, -1:], scales[0]

    def _expect(self, asked: Sequence[Asked], horizon: int) -> list[tuple[Array, Array]]:
        if horizon > self.leads or len({int(one.fit.context) for one in asked}) != 1:
            return super()._expect(asked, horizon)
        fits = tuple(id(one.fit) for one in asked)
        if self._side_by_side[0] != fits:
            self._side_by_side = (fits, _weights([one.fit.numbers for one in asked]))
        pasts = [self._past(one, 1) for one in asked]
        values = np.stack([past.values for past in pasts])
        # Tags on one grid are told the same time.
        keys = [(one.end_s, one.period_s, int(one.fit.numbers["length"])) for one in asked]
        told = {key: clock(np.array(key[:1]), *key[1:]) for key in set(keys)}
        times = np.stack([told[key] for key in keys])
        points, scales = _said(self._side_by_side[1], _inputs(values), times, horizon)
        points += values[:, :, -1:]
        return list(zip(points[:, 0], scales[:, 0], strict=True))


class RecurrentNetwork(torch.nn.Module):
    """Quantiles (n, leads, 7) of what is added to the last value, from inputs (n, context) and times (n, 6)."""

    def __init__(self, context: int, leads: int, generator: torch.Generator, *, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.leads = leads
        # Made without numbers: those that torch would draw come from its global generator.
        self.cell = torch.nn.LSTM(context // PATCHES, hidden, batch_first=True, device="meta")
        self.head = torch.nn.Linear(hidden + 6, leads * len(LEVELS), device="meta")
        self.path = torch.nn.Linear(context, leads, bias=False, device="meta")
        self.to_empty(device="cpu")
        drawn(self, generator)
        with torch.no_grad():
            # It begins as persistence does.
            self.path.weight.zero_()
            self.head.weight.mul_(0.1)

    def forward(self, inputs: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """The quantiles; called by torch."""
        _, (state, _) = self.cell(inputs.reshape(len(inputs), PATCHES, -1))
        raw = self.head(torch.cat((state[0], times), dim=1)).reshape(len(inputs), self.leads, len(LEVELS))
        straight: torch.Tensor = self.path(inputs)
        return rising(raw) + straight[..., None]


def _inputs(values: Array) -> NDArray[np.float32]:
    """Values (..., context) since the last one."""
    return np.clip(values - values[..., -1:], -FAR, FAR).astype(np.float32)


def _weights(numbers: Sequence[Mapping[str, Array]]) -> Weights:
    """Those of some networks side by side, transposed for products from the left: (n, in, out)."""
    out = {}
    for name in ("cell.weight_ih_l0", "cell.weight_hh_l0", "head.weight", "path.weight"):
        stacked = np.stack([one[name] for one in numbers]).astype(np.float32)
        out[name] = torch.from_numpy(stacked).transpose(1, 2).contiguous()
    bias = np.stack([one["cell.bias_ih_l0"] + one["cell.bias_hh_l0"] for one in numbers])
    out["cell.bias"] = torch.from_numpy(bias.astype(np.float32))[:, None]
    out["head.bias"] = torch.from_numpy(np.stack([one["head.bias"] for one in numbers]).astype(np.float32))[:, None]
    return out


def _said(
    weights: Weights, inputs: NDArray[np.float32], times: NDArray[np.float32], horizon: int
) -> tuple[Array, Array]:
    """Medians, from the last value on, and half widths (n, r, horizon), of n networks at r rows of inputs each."""
    tags, rows, context = inputs.shape
    with torch.no_grad():
        given = torch.from_numpy(inputs)
        # The inputs' share of all gates at once; only the state goes step by step.
        patches = given.reshape(tags, rows * PATCHES, context // PATCHES)
        gates = torch.baddbmm(weights["cell.bias"], patches, weights["cell.weight_ih_l0"]).reshape(
            tags, rows, PATCHES, -1
        )
        state = torch.zeros(tags, rows, HIDDEN)
        memory = torch.zeros(tags, rows, HIDDEN)
        for i in range(PATCHES):
            now = torch.baddbmm(gates[:, :, i], state, weights["cell.weight_hh_l0"])
            open_, keep, new, show = torch.chunk(now, 4, dim=2)
            memory = torch.sigmoid(keep) * memory + torch.sigmoid(open_) * torch.tanh(new)
            state = torch.sigmoid(show) * torch.tanh(memory)
        known = torch.cat((state, torch.from_numpy(times)), dim=2)
        count = horizon * len(LEVELS)
        raw = torch.baddbmm(weights["head.bias"][..., :count], known, weights["head.weight"][..., :count])
        quantiles = rising(raw.reshape(tags, rows, horizon, len(LEVELS)))
        medians = quantiles[..., MEDIAN] + torch.bmm(given, weights["path.weight"][..., :horizon])
        widths = (quantiles[..., -1] - quantiles[..., 0]) / 2
    return medians.numpy().astype(np.float64), np.maximum(widths.numpy().astype(np.float64), NARROWEST)

"""What does a network foretell that was trained beforehand, on the plant's own history?

Two kinds, as `givre train --kind` makes them: *recurrent*, one LSTM that all tags share, each window in units of its own spread;
and *graph*, one temporal graph convolutional network (Zhao et al. 2020) for each asset, which also sees the other tags of the
same step. Both read the window alone: they remember nothing, and nothing is learnt while they run. The seven quantiles come
from the network, so does their width.

They speak of the tags that they were trained on, on the periods that they were trained on; of others they say nothing, and
of a window with fewer than `FEWEST_KNOWN` values neither. Beyond the leads that were trained the last one is held and its
band widens as that of a random walk.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from detectors.forecasters.distribution import quantile
from detectors.forecasters.graph_network import GraphNetwork
from detectors.forecasters.network import MEDIAN, PATCHES, clock, one_thread
from detectors.forecasters.persistence import forecast_of
from detectors.forecasters.recurrent import RecurrentNetwork
from detectors.forecasters.season import bridged
from detectors.language.adapter import CARD
from detectors.language.error import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from detectors.records import Forecast, Window

    Array = NDArray[np.float64]

__all__ = [
    "KINDS",
    "WEIGHTS",
    "Circle",
    "Kind",
    "Trained",
    "made_network",
    "network_inputs",
    "row_spreads",
    "weights_of",
]

Kind = Literal["recurrent", "graph"]
KINDS: tuple[Kind, ...] = ("recurrent", "graph")
WEIGHTS = "network.safetensors"
FEWEST_KNOWN = 4
HIDDEN = 64
"""Of the LSTM: it serves all tags, where one that learns on the spot serves one."""
FAR = 20.0
"""A network sees values further from the last one than so many spreads as if they were that far."""
CALM = 0.05
"""A window that stands still counts as if its values lay so many usual spreads of its tag apart."""
LARGEST = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """The tags that one network serves; `spreads` are what they were trained in units of, `steps` how long their history was."""

    tags: tuple[str, ...]
    periods_s: tuple[float, ...]
    spreads: tuple[float, ...]
    steps: tuple[int, ...]


class Trained:
    """Networks of one kind, a circle of tags for each. It is made whole, and never changes."""

    def __init__(
        self,
        kind: Kind,
        circles: Sequence[Circle],
        networks: Sequence[torch.nn.Module],
        *,
        context: int,
        leads: int,
        samples: int = 32,
        seed: int = 0,
    ) -> None:
        self._kind: Kind = kind
        self._circles = tuple(circles)
        self._networks = tuple(networks)
        self._context = context
        self._leads = leads
        self._samples = samples
        self._seed = seed
        self._seats = {
            (tag, period_s): (number, seat)
            for number, circle in enumerate(circles)
            for seat, (tag, period_s) in enumerate(zip(circle.tags, circle.periods_s, strict=True))
        }

    @property
    def name(self) -> str:
        """The label in the database: unlike that of the forecaster of this kind that learns on the spot."""
        return f"trained-{self._kind}"

    @classmethod
    def read(cls, folder: Path, *, samples: int = 32, seed: int = 0) -> Trained:
        """What `givre train` left in a folder; raises ModelError for anything else, and for weights other than the card says."""
        subject = f"network {folder}"
        try:
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            stored = (folder / WEIGHTS).read_bytes()
            kind: Kind = "graph" if card["kind"] == "graph" else "recurrent"
            about = card["network"]
            circles = [Circle(**{key: tuple(value) for key, value in one.items()}) for one in about["circles"]]
            context, leads = int(about["context"]), int(about["leads"])
            networks = [made_network(kind, len(one.tags), context, leads) for one in circles]
            weights = load(stored)
            for number, network in enumerate(networks):
                network.load_state_dict({name: weights[f"{number} {name}"] for name in network.state_dict()})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                subject, expected=f"{CARD} and {WEIGHTS} of a trained network", found=f"{error!r:.200}"
            ) from None
        if (found := hashlib.sha256(stored).hexdigest()) != card.get("sha256"):
            raise ModelError(
                subject, expected=f"weights with sha256 {card.get('sha256')}", found=found, advice="Train it anew"
            )
        return cls(kind, circles, networks, context=context, leads=leads, samples=samples, seed=seed)

    def card(self) -> dict[str, Any]:
        """What `read` needs to know of it beside the weights."""
        return {"context": self._context, "leads": self._leads, "circles": [asdict(one) for one in self._circles]}

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """A forecast of each window of a tag that it was trained on, with enough values."""
        asked: dict[tuple[int, float], list[tuple[int, int, Array]]] = {}
        for place, window in enumerate(windows):
            seat = self._seats.get((window.tag, window.period_s))
            row = np.asarray(window.heeded[-self._context :], dtype=np.float64)
            if seat is None or np.isfinite(row).sum() < FEWEST_KNOWN:
                continue
            row = np.where(np.isfinite(row), np.clip(row, -LARGEST / 4, LARGEST / 4), np.nan)
            # A graph takes the tags of one moment together; the LSTM takes all there are.
            moment = window.end_at.timestamp() if self._kind == "graph" else 0.0
            asked.setdefault((seat[0], moment), []).append((place, seat[1], _ending(row, self._context)))
        out: list[Forecast | None] = [None] * len(windows)
        with one_thread(), torch.no_grad(), np.errstate(over="ignore", invalid="ignore"):
            for (number, _), rows in asked.items():
                self._answer(number, rows, windows, out, horizon)
        return [made for made in out if made is not None]

    def _answer(
        self,
        number: int,
        rows: Sequence[tuple[int, int, Array]],
        windows: Sequence[Window],
        out: list[Forecast | None],
        horizon: int,
    ) -> None:
        circle, network = self._circles[number], self._networks[number]
        values = np.stack([row for _, _, row in rows])
        seats = [seat for _, seat, _ in rows]
        usual = np.array(circle.spreads)[seats]
        if self._kind == "graph":
            # One that is not there this time is seen as one that stands still.
            spreads = usual
            scaled = np.zeros((1, len(circle.tags), self._context), dtype=np.float32)
            scaled[0, seats] = network_inputs(values, usual)
            times = self._times(circle, seats[0], windows[rows[0][0]])[None]
            said = network(torch.from_numpy(scaled), torch.from_numpy(times))[0, seats]
        else:
            spreads = row_spreads(values, usual)
            times = np.stack([self._times(circle, seat, windows[place]) for place, seat, _ in rows])
            said = network(torch.from_numpy(network_inputs(values, spreads)), torch.from_numpy(times))
        quantiles = said.numpy().astype(np.float64) * spreads[:, None, None] + values[:, -1:, None]
        for (place, _, _), own in zip(rows, quantiles, strict=True):
            out[place] = self._finished(windows[place], own, horizon)

    def _times(self, circle: Circle, seat: int, window: Window) -> NDArray[np.float32]:
        ends_s = np.array([window.end_at.timestamp()])
        found: NDArray[np.float32] = clock(ends_s, window.period_s, circle.steps[seat])[0]
        return found

    def _finished(self, window: Window, said: Array, horizon: int) -> Forecast:
        quantiles = said[:horizon]
        if horizon > len(said):
            leads = np.arange(len(said) + 1, horizon + 1)
            last = said[-1]
            wider = last[MEDIAN] + (last - last[MEDIAN]) * np.sqrt(leads / len(said))[:, None]
            quantiles = np.concatenate((said, wider))
        quantiles = np.sort(np.clip(np.nan_to_num(quantiles), -LARGEST, LARGEST), axis=1)
        return forecast_of(window, forecaster=self.name, quantiles=quantiles, paths=self._paths(window, quantiles))

    def _paths(self, window: Window, quantiles: Array) -> Array:
        """Futures that hang together as a random walk does, and have these quantiles at each step."""
        step = round(window.end_at.timestamp() / window.period_s) % 2**64
        generator = np.random.default_rng([self._seed, zlib.crc32(window.tag.encode()), step])
        walk = generator.normal(size=(self._samples, len(quantiles))).cumsum(axis=1)
        even = (np.arange(self._samples) + 0.5) / self._samples
        values = np.clip(quantile(quantiles, even), -LARGEST, LARGEST)
        paths: Array = np.take_along_axis(values.T, walk.argsort(axis=0).argsort(axis=0), axis=0)
        return paths


def made_network(
    kind: Kind, nodes: int, context: int, leads: int, *, generator: torch.Generator | None = None
) -> torch.nn.Module:
    """A network of a kind, with weights as drawn; `context` is a whole number of patches."""
    if context % PATCHES or context < PATCHES or leads < 1:
        raise ValueError(f"network: expected a context of whole {PATCHES} values, found {context} and {leads} leads")
    drawn_by = generator or torch.Generator().manual_seed(0)
    if kind == "graph":
        return GraphNetwork(nodes, context, leads, drawn_by)
    return RecurrentNetwork(context, leads, drawn_by, hidden=HIDDEN)


def weights_of(networks: Sequence[torch.nn.Module]) -> bytes:
    """The weights of some networks as a file of safetensors, as `Trained.read` reads them."""
    found: Mapping[str, torch.Tensor] = {
        f"{number} {name}": weight.detach().contiguous()
        for number, network in enumerate(networks)
        for name, weight in network.state_dict().items()
    }
    return bytes(save(dict(found)))


def network_inputs(rows: Array, spreads: Array) -> NDArray[np.float32]:
    """What a network reads of rows (..., context) without holes: values since the last one, in spreads (...)."""
    found = (rows - rows[..., -1:]) / spreads[..., None]
    return np.clip(np.nan_to_num(found), -FAR, FAR).astype(np.float32)


def row_spreads(rows: Array, usual: Array) -> Array:
    """How far the values of each row (n, context) lie from their middle on average; never less than a share of the usual."""
    middle = np.median(rows, axis=-1, keepdims=True)
    found: Array = np.maximum(np.abs(rows - middle).mean(axis=-1), CALM * usual)
    return np.maximum(np.where(np.isfinite(found), found, math.sqrt(LARGEST)), 1e-300)


def _ending(row: Array, context: int) -> Array:
    """The row without holes, and with its first value held before it where it is short."""
    full = bridged(row)
    return np.concatenate((np.full(context - len(full), full[0]), full)) if len(full) < context else full

"""What do the tags of an asset say of each other? A temporal graph convolutional network over all of them.

One T-GCN (`detectors.forecasters.graph_network`) serves an asset. Which tag acts on which is told by `edges`, or learnt
from how the changes of one follow those of another (`detectors.forecasters.influence`).

All tags of an asset are fitted at once, so that a fit of the next one of them, while nothing new has come, is none. As
with the LSTM, medians and the proportions of the bands come from the network, their widths from its errors on the
held-out last part.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Unpack

import numpy as np

from detectors.forecasters.error_library import collect
from detectors.forecasters.fit import LARGEST, Fit, Past, units
from detectors.forecasters.fitted import FEWEST, held_back
from detectors.forecasters.graph_network import GraphNetwork, Lesson, learn
from detectors.forecasters.influence import learnt_graph
from detectors.forecasters.network import FEWEST_ROWS, NetworkForecaster, Settings, clock, context_length
from detectors.forecasters.season import bridged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from detectors.forecasters.fitted import Asked
    from detectors.forecasters.memory import History

    Array = NDArray[np.float64]

__all__ = ["Graph"]


class Graph(NetworkForecaster):
    """A T-GCN per asset, whose name is what stands before the last ``/`` of a tag. It remembers 4096 steps: 32 to 64 kB per tag.

    `edges` are pairs of tags, the first of which acts on the second; an asset with none has its graph learnt. `steps` bounds
    what a fit may take, `progress` is told the share of a fit that is done.
    """

    name = "graph"

    def __init__(self, *, edges: Iterable[tuple[str, str]] = (), **settings: Unpack[Settings]) -> None:
        super().__init__(**settings)
        self._edges = frozenset(edges)
        self._networks: dict[int, tuple[Array, GraphNetwork]] = {}

    def _learn_anew(self, tag: str) -> None:
        """Fits the tags of the asset of `tag` that have as much to tell as it has."""
        lead = self._memory.history(tag)
        fit = self._fits.get(tag)
        if lead is None or (fit is not None and self._tried.get(tag) == self._steps.get(tag)):
            return
        histories = [one for other in sorted(self._memory.tags) if (one := self._beside(lead, other)) is not None]
        for one in histories:
            self._tried[one.tag] = self._steps.get(one.tag, 0)
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._fitted_together([one for one in histories if np.isfinite(one.values).sum() >= FEWEST])
        self._fits = {**self._fits, **found}
        for other in found:
            self._said.pop(other, None)

    def _beside(self, lead: History, other: str) -> History | None:
        """What is known of a tag of the same asset, on the same steps."""
        if other.rpartition("/")[0] != lead.tag.rpartition("/")[0]:
            return None
        history = self._memory.history(other)
        same = history is not None and (history.period_s, history.end_at) == (lead.period_s, lead.end_at)
        return history if same else None

    def _fitted_together(self, histories: Sequence[History]) -> dict[str, Fit]:
        if not histories:
            return {}
        tags = tuple(one.tag for one in histories)
        count = max(len(one.values) for one in histories)
        period_s, end_s = histories[0].period_s, histories[0].end_at.timestamp()
        values = np.full((len(tags), count), np.nan)
        for row, one in zip(values, histories, strict=True):
            row[count - len(one.values) :] = one.values.clip(-1e300, 1e300)
        own = [units(row[np.isfinite(row)][-max(count // 2, FEWEST) :]) for row in values]
        middles, spreads = np.array(own).T
        scaled = np.clip(values / spreads[:, None] - (middles / spreads)[:, None], -LARGEST, LARGEST)
        full = np.stack([bridged(row) for row in scaled])
        kept = held_back(count)
        context = context_length(period_s)
        if count - context - kept < FEWEST_ROWS:
            return {}
        graph = self._graph(tags, full[:, : count - kept])
        lesson = Lesson(
            values=scaled,
            bridged=full,
            graph=graph,
            context=context,
            leads=self.leads,
            kept=kept,
            end_s=end_s,
            period_s=period_s,
        )
        numbers = learn(lesson, seed=self._seed, steps=self._budget, progress=self._progress)
        numbers |= {"middles": middles, "spreads": spreads, "length": np.array(float(count))}
        origins = np.arange(count - 1 - kept, count - 1)
        rows = full[:, origins[:, None] + np.arange(1 - context, 1)].swapaxes(0, 1)
        ends_s = end_s - period_s * (count - 1 - origins).astype(np.float64)
        points, scales = self._said_of_all(numbers, rows, ends_s, period_s)
        ahead = np.concatenate((scaled, np.full((len(tags), self.leads), np.nan)), axis=1)
        errors = (ahead[:, origins[:, None] + 1 + np.arange(self.leads)].swapaxes(0, 1) - points) / scales
        out = {}
        for node, tag in enumerate(tags):
            mine = np.where(np.isnan(scaled[node, origins])[:, None], np.nan, errors[:, node])
            generator = np.random.default_rng([self._seed, zlib.crc32(tag.encode())])
            library = collect(mine, keep=self._samples, generator=generator)
            if library is not None:
                out[tag] = Fit(
                    numbers={**numbers, "node": np.array(float(node))},
                    middle=float(middles[node]),
                    spread=float(spreads[node]),
                    context=context,
                    season=0,
                    length=count,
                    library=library,
                    nodes=tags,
                )
        return out

    def _graph(self, tags: Sequence[str], values: Array) -> Array:
        """How much each tag (row) is acted on by each other (column); rows add up to 1, or to nought."""
        graph = np.array([[float((source, target) in self._edges) for source in tags] for target in tags])
        if not graph.any():
            graph = learnt_graph(values)
        found: Array = graph / np.maximum(graph.sum(axis=1, keepdims=True), 1e-12)
        return found

    def _fit(self, values: Array, end_s: float, period_s: float) -> None:  # noqa: ARG002 # tags are fitted together
        return None

    def _past(self, one: Asked, count: int) -> Past:
        """The values of all nodes side by side: (count, nodes * context)."""
        fit = one.fit
        node, need = int(fit.numbers["node"]), fit.context + count - 1
        rows = np.empty((len(fit.nodes), need))
        for i, tag in enumerate(fit.nodes):
            known = one.known if i == node else self._up_to(tag, one.end_s, one.period_s, need)
            rows[i] = _ending(known, need)
        rows = _in_units(rows, fit.numbers)
        views = np.lib.stride_tricks.sliding_window_view(rows, fit.context, axis=1)
        ends_s: Array = one.end_s - one.period_s * np.arange(count - 1, -1, -1, dtype=np.float64)
        return Past(values=views.swapaxes(0, 1).reshape(count, -1), ends_s=ends_s, period_s=one.period_s)

    def _up_to(self, tag: str, end_s: float, period_s: float, need: int) -> Array:
        """What is known of a tag up to a moment; steps that have not come yet are holes."""
        history = self._memory.history(tag)
        if history is None or history.period_s != period_s:
            return np.full(need, np.nan)
        late = round((history.end_at.timestamp() - end_s) / period_s)
        if late >= 0:
            return history.values[: len(history.values) - late]
        return np.concatenate((history.values[-need:], np.full(min(-late, need), np.nan)))

    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        return self._predict_scaled(numbers, past, horizon)[0]

    def _predict_scaled(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> tuple[Array, Array]:
        rows = past.values.reshape(len(past.values), len(numbers["middles"]), -1)
        points, scales = self._said_of_all(numbers, rows, past.ends_s, past.period_s)
        node = int(numbers["node"])
        return points[:, node, :horizon], scales[:, node, :horizon]

    def _far(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> tuple[Array, Array]:
        """Beyond its leads the last one is held: what the other tags do there is not known."""
        points, scales = self._predict_scaled(numbers, past, min(horizon, self.leads))
        return _held(points, horizon), _held(scales, horizon)

    def _expect(self, asked: Sequence[Asked], horizon: int) -> list[tuple[Array, Array]]:
        out: dict[int, tuple[Array, Array]] = {}
        together: dict[tuple[int, float], list[int]] = {}
        for i, one in enumerate(asked):
            together.setdefault((id(one.fit.numbers["middles"]), one.end_s), []).append(i)
        for members in together.values():
            first = asked[members[0]]
            if len(members) == 1 or not all(asked[i].learnt for i in members):
                # What must not be learnt from is seen by the tag's own forecast alone.
                out |= dict(zip(members, super()._expect([asked[i] for i in members], horizon), strict=True))
                continue
            past = self._past(first, 1)
            rows = past.values.reshape(1, len(first.fit.nodes), -1)
            points, scales = self._said_of_all(first.fit.numbers, rows, past.ends_s, past.period_s)
            points, scales = (_held(found[0, :, :horizon], horizon) for found in (points, scales))
            for i in members:
                node = int(asked[i].fit.numbers["node"])
                out[i] = (points[node], scales[node])
        return [out[i] for i in range(len(asked))]

    def _said_of_all(
        self, numbers: Mapping[str, Array], rows: Array, ends_s: Array, period_s: float
    ) -> tuple[Array, Array]:
        """Medians and half widths (r, nodes, leads) from rows (r, nodes, context)."""
        key = numbers["path"]
        known = self._networks.get(id(key))
        if known is None or known[0] is not key:
            current = {id(fit.numbers["path"]) for fit in self._fits.copy().values()}
            known = (key, GraphNetwork.of(numbers, self.leads))
            self._networks = {old: one for old, one in self._networks.items() if old in current} | {id(key): known}
        return known[1].said(rows, clock(ends_s, period_s, int(numbers["length"])))


def _in_units(rows: Array, numbers: Mapping[str, Array]) -> Array:
    """Rows of values (nodes, n) in each node's own units, without holes."""
    middles, spreads = numbers["middles"][:, None], numbers["spreads"][:, None]
    scaled = np.clip(rows / spreads - middles / spreads, -LARGEST, LARGEST)
    if not np.isnan(scaled).any():
        return scaled
    return np.stack([bridged(row) for row in scaled])


def _ending(values: Array, need: int) -> Array:
    """The last `need` values, with holes before the first."""
    tail = values[-need:]
    return np.concatenate((np.full(need - len(tail), np.nan), tail)) if len(tail) < need else tail


def _held(rows: Array, horizon: int) -> Array:
    """(n, leads) as (n, horizon), the last lead held."""
    missing = horizon - rows.shape[1]
    return np.concatenate((rows, np.repeat(rows[:, -1:], missing, axis=1)), axis=1) if missing > 0 else rows

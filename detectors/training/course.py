"""What does a network learn from? Origins in the parts of each tag's history, what lay before them and what came after.

The parts are those of the dataset (`detectors.training.dataset`): what a language model would learn, tune with and be judged by,
a network does too. What is in alarm, excluded or missing is no target, and no origin; before an origin it is bridged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.fit import units
from detectors.forecasters.influence import learnt_graph
from detectors.forecasters.network import PATCHES, clock
from detectors.forecasters.season import bridged
from detectors.forecasters.trained import Circle, network_inputs, row_spreads
from detectors.training.dataset import DatasetError, usable_steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from detectors.evaluation.backtest import Series
    from detectors.forecasters.trained import Kind
    from detectors.training.dataset import Dataset, Recipe

    Array = NDArray[np.float64]

__all__ = ["Course", "Rows", "courses"]

KNOWN_SHARE = 0.75
"""Of the values before an origin so many must be known."""
FEWEST_ORIGINS = {"learn": 64, "tune": 8}
LONGEST_CONTEXT = 192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Some examples: `inputs` (n, nodes, context), `times` (n, 6), and what came (n, nodes, leads), NaN where unknown."""

    inputs: NDArray[np.float32]
    times: NDArray[np.float32]
    targets: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """What one network learns: values (nodes, steps) laid end to end, and the steps to forecast from, by part.

    `targets` has the values that a part may be asked for, NaN elsewhere; `usual` (nodes, steps) is the tag's usual spread.
    `graph` says which nodes act on which; None where each example is one tag.
    """

    circle: Circle
    context: int
    leads: int
    values: Array
    targets: Mapping[str, Array]
    times: NDArray[np.float32]
    usual: Array
    origins: Mapping[str, NDArray[np.int64]]
    graph: Array | None

    def rows(self, part: str, places: NDArray[np.int64]) -> Rows:
        """The examples of some origins, by their places in the part."""
        at = self.origins[part][places]
        seen = self.values[:, at[:, None] + np.arange(1 - self.context, 1)].swapaxes(0, 1)
        usual = self.usual[:, at].T
        spreads = usual if self.graph is not None else row_spreads(seen[:, 0], usual[:, 0])[:, None]
        aims = self.targets[part][:, at[:, None] + np.arange(1, self.leads + 1)].swapaxes(0, 1)
        targets = (aims - seen[..., -1:]) / spreads[..., None]
        return Rows(inputs=network_inputs(seen, spreads), times=self.times[at], targets=targets.astype(np.float32))


def courses(
    kind: Kind, groups: Sequence[Sequence[Series]], dataset: Dataset, *, context: int, leads: int
) -> list[Course]:
    """One course for all tags together, or one for each asset. Raises DatasetError where there is too little for one.

    `context` is rounded down to what a network can read.
    """
    context = min(context, LONGEST_CONTEXT) // PATCHES * PATCHES
    if context < PATCHES:
        raise DatasetError(f"network: expected a `context` of at least {PATCHES} values in the configuration")
    chosen = [[one for one in group if one.tag in dataset.tags] for group in groups]
    parts = [_laid(one, dataset, context, leads) for group in chosen for one in group]
    if kind == "recurrent":
        found = [_end_to_end(parts, context, leads)]
    else:
        assets: dict[tuple[object, ...], list[_Laid]] = {}
        for laid in parts:
            key = (
                laid.series.tag.rpartition("/")[0],
                laid.series.period_s,
                laid.series.start_at,
                len(laid.series.values),
            )
            assets.setdefault(key, []).append(laid)
        found = [_side_by_side(own, context, leads) for own in assets.values()]
    for course in found:
        for part, least in FEWEST_ORIGINS.items():
            if len(course.origins[part]) < least:
                raise DatasetError(
                    f"history of {', '.join(course.circle.tags)[:200]}: expected at least {least} steps to {part} from with "
                    f"{context} values before them, most of them known, found {len(course.origins[part])}. "
                    "Take a longer history, a shorter `context`, or leave these tags out with `--tag` for the others"
                )
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Laid:
    """One tag: its values without holes, what may be asked for by part, and from which steps; `length` of what it learns."""

    series: Series
    values: Array
    targets: dict[str, Array]
    possible: dict[str, NDArray[np.bool_]]
    times: NDArray[np.float32]
    spread: float


def _laid(series: Series, dataset: Dataset, context: int, leads: int) -> _Laid:
    recipe: Recipe = dataset.recipe
    usable = usable_steps(series, recipe)
    values = np.where(usable, np.clip(series.values, -1e290, 1e290), np.nan)
    spans = next(share.spans for share in dataset.shares if share.tag == series.tag)
    steps = np.arange(len(values))
    many = np.convolve(usable, np.ones(context))[: len(values)] >= KNOWN_SHARE * context
    targets, possible = {}, {}
    learnt = np.full(len(values), np.nan)
    for part in ("learn", "tune"):
        first, last = (round((at - series.start_at).total_seconds() / series.period_s) for at in spans[part])
        within = (steps >= first) & (steps <= last)
        targets[part] = np.concatenate((np.where(within, values, np.nan), np.full(leads, np.nan)))
        # What is forecast from a gap lies in the part behind it.
        ahead = np.concatenate((within & usable, np.zeros(leads, dtype=bool)))
        asked = np.lib.stride_tricks.sliding_window_view(ahead, leads)[1 : len(values) + 1].any(axis=1)
        whole = (steps >= context - 1) & ((steps >= first) if part == "learn" else (steps >= first - 1))
        possible[part] = usable & many & asked & whole
        if part == "learn":
            learnt = values[first : last + 1]
    ends_s = np.float64(series.start_at.timestamp()) + steps.astype(np.float64) * series.period_s
    return _Laid(
        series=series,
        values=np.concatenate((bridged(values), np.zeros(leads))),
        targets=targets,
        possible=possible,
        times=clock(ends_s, series.period_s, len(values)),
        spread=units(learnt[np.isfinite(learnt)])[1],
    )


def _end_to_end(parts: Sequence[_Laid], context: int, leads: int) -> Course:
    """All tags as one row, each with room behind it so that no example reaches into the next one."""
    lengths = [len(one.values) for one in parts]
    begins = np.cumsum([0, *lengths[:-1]])
    pad = np.zeros((leads, 6), dtype=np.float32)
    return Course(
        circle=_circle(parts),
        context=context,
        leads=leads,
        values=np.concatenate([one.values for one in parts])[None],
        targets={part: np.concatenate([one.targets[part] for one in parts])[None] for part in ("learn", "tune")},
        times=np.concatenate([block for one in parts for block in (one.times, pad)]),
        usual=np.concatenate([np.full(length, one.spread) for length, one in zip(lengths, parts, strict=True)])[None],
        origins={
            part: np.concatenate(
                [begin + np.flatnonzero(one.possible[part]) for begin, one in zip(begins, parts, strict=True)]
            )
            for part in ("learn", "tune")
        },
        graph=None,
    )


def _side_by_side(parts: Sequence[_Laid], context: int, leads: int) -> Course:
    values = np.stack([one.values for one in parts])
    # Which tag acts on which is told by the part that is learnt alone.
    last = int(np.flatnonzero(np.isfinite(np.stack([one.targets["learn"] for one in parts])).any(axis=0)).max())
    graph = learnt_graph(values[:, : last + 1])
    return Course(
        circle=_circle(parts),
        context=context,
        leads=leads,
        values=values,
        targets={part: np.stack([one.targets[part] for one in parts]) for part in ("learn", "tune")},
        times=np.concatenate((parts[0].times, np.zeros((leads, 6), dtype=np.float32))),
        usual=np.repeat([[one.spread] for one in parts], values.shape[1], axis=1),
        origins={
            part: np.flatnonzero(np.stack([one.possible[part] for one in parts]).any(axis=0))
            for part in ("learn", "tune")
        },
        graph=graph / np.maximum(graph.sum(axis=1, keepdims=True), 1e-12),
    )


def _circle(parts: Sequence[_Laid]) -> Circle:
    return Circle(
        tags=tuple(one.series.tag for one in parts),
        periods_s=tuple(one.series.period_s for one in parts),
        spreads=tuple(one.spread for one in parts),
        steps=tuple(len(one.series.values) for one in parts),
    )

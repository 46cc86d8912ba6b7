"""What of a history is to be learnt, and what is kept to be judged by? Texts of digits, cut and split by time.

A text is what the model would read at inference (`codec.anchor`): it begins anywhere behind a hole or a step that is left out,
stands on a grid laid over its first quarter, and ends where a value leaves that grid; a second text goes on from there on a
grid that holds it. Only those values are learnt that come after the grid was laid: the grid knows those before.

The oldest part is *learnt*, the next *tunes* (it says when to stop), the newest *judges* (nobody sees it before the adapter is
done). Between the parts stands a gap of a whole context, so that no text reaches from one into the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.evaluation.grid import span_words
from detectors.language.codec import KEPT, Grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from detectors.evaluation.backtest import Series

__all__ = ["PARTS", "Dataset", "DatasetError", "Example", "Recipe", "Share", "prepare", "usable_steps"]

PARTS = ("learn", "tune", "judge")
LEAST_LEARNT = 8
"""Values that a text must have behind its grid: a shorter one teaches little for what it costs to read."""
LEAST_EXAMPLES = {"learn": 16, "tune": 2, "judge": 8}
"""Texts of all tags together that each part must have: below, neither a gain nor a loss could be told from luck."""


class DatasetError(ValueError):
    """A history that nothing can be learnt from: subject, what was expected, what was found, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a history becomes texts of at most `context` values.

    `tune` and `judge` are shares of each tag's steps, `overlap` is the most that two texts of one part to be learnt may share,
    `most` the texts to be learnt of one tag (they are thinned evenly). `excluded` are spans [from, to) of time that are left
    out of all parts, `alarms` the same per tag.
    """

    context: int = 128
    min_context: int = 12
    tune: float = 0.1
    judge: float = 0.2
    overlap: float = 0.5
    most: int = 1000
    seed: int = 0
    excluded: tuple[tuple[datetime, datetime], ...] = ()
    alarms: Mapping[str, Sequence[tuple[datetime, datetime]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 2 <= self.min_context < self.context:
            raise ValueError(
                f"recipe: expected min_context from 2 to below context {self.context}, found {self.min_context}"
            )
        if not (self.tune > 0 and self.judge > 0 and self.tune + self.judge < 1):
            raise ValueError(
                f"recipe: expected shares above 0, together below 1, found tune {self.tune}, judge {self.judge}"
            )
        if not 0 <= self.overlap < 1:
            raise ValueError(f"recipe: expected an overlap from 0 to below 1, found {self.overlap}")

    @property
    def kept(self) -> int:
        """Values that a grid is laid over where the text begins in the middle of things."""
        return max(
            self.context - max(self.context - max(int(self.context * KEPT), self.min_context), 1), self.min_context
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One text: the cells of consecutive values of a tag from step `begin` on; those from `known` on are learnt or judged.

    `cell` is the width of the grid's cells in the tag's unit, `at` the moment of the first value in seconds since 1970.
    """

    tag: str
    begin: int
    known: int
    cells: tuple[int, ...]
    low: float
    cell: float
    at: float
    period_s: float

    @property
    def learnt(self) -> int:
        """How many values are learnt or judged."""
        return len(self.cells) - self.known


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What became of one tag's history: steps in all, without a value, left out, and those that each part reads and learns.

    `windows` and `values` are texts and learnt values by part; `repeats` how often a step that is learnt is read, on average.
    """

    tag: str
    period_s: float
    steps: int
    holes: int
    left_out: int
    spans: Mapping[str, tuple[datetime, datetime]]
    windows: Mapping[str, int]
    values: Mapping[str, int]
    repeats: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Texts by part, an account of every tag, and a sentence for each reason why tags are not in it."""

    recipe: Recipe
    parts: Mapping[str, tuple[Example, ...]]
    shares: tuple[Share, ...]
    left_out: tuple[str, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that something is learnt of."""
        return tuple(share.tag for share in self.shares)

    def account(self) -> list[dict[str, Any]]:
        """What of each tag is learnt and judged by, as it stands on a card."""
        return [
            {
                "tag": share.tag,
                "period_s": share.period_s,
                "spans": {part: [begin.isoformat(), end.isoformat()] for part, (begin, end) in share.spans.items()},
                "texts": dict(share.windows),
                "values": dict(share.values),
            }
            for share in self.shares
        ]


def prepare(groups: Sequence[Sequence[Series]], recipe: Recipe) -> Dataset:
    """The texts of all series. Raises DatasetError where too little is left, and says how much is missing."""
    least_read = recipe.kept + LEAST_LEARNT
    if recipe.context < least_read:
        raise DatasetError(
            f"context: expected at least {least_read} values, {recipe.kept} to begin with and {LEAST_LEARNT} to learn, found "
            f"{recipe.context}. Raise `context` under `model` in the configuration"
        )
    parts: dict[str, list[Example]] = {part: [] for part in PARTS}
    shares: list[Share] = []
    refused: dict[str, list[str]] = {}
    for series in (series for group in groups for series in group):
        usable = usable_steps(series, recipe)
        reason = _useless(series, usable)
        if reason:
            refused.setdefault(reason, []).append(series.tag)
            continue
        spans = _spans(len(series.values), recipe)
        random = np.random.default_rng([recipe.seed, len(shares)])
        own = {part: _cut(series, usable, *spans[part], part, recipe, random) for part in PARTS}
        if not own["learn"]:
            refused.setdefault(_too_little(series, usable, recipe), []).append(series.tag)
            continue
        for part in PARTS:
            parts[part] += own[part]
        shares.append(_account(series, usable, spans, own))
    left_out = [f"{', '.join(tags)}: {reason}." for reason, tags in refused.items()]
    if not shares:
        said = " ".join(left_out) or "no tag at all."
        raise DatasetError(f"history to learn from: expected at least one tag that can be learnt, found none: {said}")
    for part, least in LEAST_EXAMPLES.items():
        if len(parts[part]) < least:
            raise DatasetError(_missing(part, least, len(parts[part]), shares, recipe, left_out))
    return Dataset(
        recipe=recipe,
        parts={part: tuple(found) for part, found in parts.items()},
        shares=tuple(shares),
        left_out=tuple(left_out),
    )


def usable_steps(series: Series, recipe: Recipe) -> NDArray[np.bool_]:
    """Which steps have a value and are neither excluded nor in alarm."""
    ends = series.start_at.timestamp() + np.arange(len(series.values)) * series.period_s
    usable = np.isfinite(series.values)
    for begin, end in (*recipe.excluded, *recipe.alarms.get(series.tag, ())):
        usable &= ~((ends >= begin.timestamp()) & (ends < end.timestamp()))
    return usable


def _useless(series: Series, usable: NDArray[np.bool_]) -> str:
    """Why nothing can be learnt of a tag; empty if something can."""
    if not np.isfinite(series.values).any():
        return "no step has a value"
    if not usable.any():
        return "every step with a value is in alarm or excluded: shorten the excluded periods, or take a longer history"
    known = series.values[usable]
    if known.min() == known.max():
        return f"the value never changes ({known[0]:g}): there is nothing to learn"
    return ""


def _spans(length: int, recipe: Recipe) -> dict[str, tuple[int, int]]:
    """First step and end of each part, with a gap of one context before the second and the third."""
    judge = length - round(recipe.judge * length)
    tune = judge - round(recipe.tune * length)
    gap = recipe.context
    return {
        "learn": (0, tune),
        "tune": (min(tune + gap, judge), judge),
        "judge": (min(judge + gap, length), length),
    }


def _cut(  # noqa: PLR0917 - the parts of one recipe
    series: Series,
    usable: NDArray[np.bool_],
    first: int,
    end: int,
    part: str,
    recipe: Recipe,
    random: np.random.Generator,
) -> list[Example]:
    """The texts of one part. Those to learn overlap and begin at random; the others judge every value once."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], usable[first:end].astype(np.int8), [0]))))
    runs = [(first + int(a), first + int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    learning = part == "learn"
    # The room that a random beginning may wander in is taken from the overlap, so that the limit holds.
    free = math.ceil(recipe.context * (1 - recipe.overlap)) if learning else recipe.context - recipe.kept
    wander = max(recipe.context // 8, 1) if learning and recipe.overlap else 0
    stride = free + wander
    starts: list[tuple[int, int, int]] = []
    for begin, stop in runs:
        # Behind a hole a text begins with less: there it is young at inference too.
        starts.append((begin, stop, recipe.min_context if begin > first else recipe.kept))
        late = begin + (int(random.integers(stride)) if learning else 0)
        places = range(late + stride, stop - recipe.kept - LEAST_LEARNT + 1, stride)
        starts += [(place - (int(random.integers(wander + 1)) if wander else 0), stop, recipe.kept) for place in places]
    if learning and len(starts) > recipe.most:
        starts = [starts[i] for i in np.linspace(0, len(starts) - 1, recipe.most).round().astype(int)]
    return [text for begin, stop, known in starts for text in _texts(series, begin, stop, known, recipe)]


def _texts(series: Series, begin: int, stop: int, known: int, recipe: Recipe) -> list[Example]:
    """The text that begins at a step, and those that follow from the values that leave its grid."""
    values = series.values[begin : min(begin + recipe.context, stop)].tolist()
    texts = []
    while len(values) - known >= LEAST_LEARNT:
        try:
            grid = Grid.lay(values[:known])
        except ValueError:  # beyond what a grid can hold, as at inference
            break
        cells = [grid.encode(value) for value in values]
        end = next((i for i in range(known, len(cells)) if cells[i] is None), len(cells))
        if end - known >= LEAST_LEARNT:
            texts.append(
                Example(
                    tag=series.tag,
                    begin=begin,
                    known=known,
                    cells=tuple(cell for cell in cells[:end] if cell is not None),
                    low=grid.low,
                    cell=grid.cell,
                    at=series.start_at.timestamp() + begin * series.period_s,
                    period_s=series.period_s,
                )
            )
        known = end + 1
    return texts


def _account(
    series: Series,
    usable: NDArray[np.bool_],
    spans: Mapping[str, tuple[int, int]],
    own: Mapping[str, Sequence[Example]],
) -> Share:
    reads = np.zeros(len(series.values), dtype=np.int64)
    for text in own["learn"]:
        reads[text.begin : text.begin + len(text.cells)] += 1
    holes = int((~np.isfinite(series.values)).sum())
    return Share(
        tag=series.tag,
        period_s=series.period_s,
        steps=len(series.values),
        holes=holes,
        left_out=int((~usable).sum()) - holes,
        spans={part: (series.at(first), series.at(max(end - 1, first))) for part, (first, end) in spans.items()},
        windows={part: len(texts) for part, texts in own.items()},
        values={part: sum(text.learnt for text in texts) for part, texts in own.items()},
        repeats=float(reads[reads > 0].mean()) if reads.any() else 0.0,
    )


def _too_little(series: Series, usable: NDArray[np.bool_], recipe: Recipe) -> str:
    least = recipe.kept + LEAST_LEARNT
    return (
        f"expected at least {least} steps in a row to learn from, found a longest run of {_longest_run(usable)} "
        f"in {len(series.values)} steps"
    )


def _longest_run(usable: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], usable.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _missing(  # noqa: PLR0917 - what the sentence is made of
    part: str, least: int, found: int, shares: Sequence[Share], recipe: Recipe, left_out: Sequence[str]
) -> str:
    """How much longer the history would have to be, for so many texts of a part."""
    share = {"learn": 1 - recipe.tune - recipe.judge, "tune": recipe.tune, "judge": recipe.judge}[part]
    per_text = recipe.context * (1 - recipe.overlap) if part == "learn" else recipe.context - recipe.kept
    gap = 0 if part == "learn" else recipe.context
    steps = math.ceil((least / len(shares) * per_text + gap + recipe.kept) / share)
    longest = max(shares, key=lambda one: one.steps)
    lacking = max(steps - longest.steps, round(per_text * (least - found)))
    also = f" Not counted: {' '.join(left_out)}" if left_out else ""
    return (
        f"history to {part} from: expected at least {least} texts of {recipe.context} values, found {found}. "
        f"About {lacking:,} more steps of each tag are missing "
        f"({span_words(lacking * longest.period_s)} at one every {span_words(longest.period_s)}), "
        f"or a shorter context.{also}"
    )

"""How surprising is each new value to the model? Reading is scoring: one pass over a value's few tokens tells.

The keys and values of all that was read of a tag stay in the cache, so a new value costs its own tokens and nothing else.
What the model expected of its digits gives the exact predictive distribution over the cells of the grid: the probability
integral transform (PIT: the share of what was expected that lies below the value, half of its own cell included) and the log
score. Both are uniform, and as high as can be, where the model is right.

Callers hand over whole windows, every time. The reader compares them with what it has read and does the least: one pass over
the new values of all tags together, and a second one over those texts that have to begin anew (`codec.anchor` says when). It
owes its answers to the windows alone, so a process that was killed goes on where it was.

What is not normal (a step in alarm) is scored and not kept: the text stands still at the last normal value, and each value is
scored as if it came next, however long that lasts. A fault is no context to be expected from.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import torch

from detectors.language.cache import Cache, Reading
from detectors.language.codec import anchor, in_text, life
from detectors.language.plan import PASS_TOKENS
from detectors.records import Score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from detectors.language.codec import Grid
    from detectors.language.model import LanguageModel
    from detectors.records import Window

__all__ = ["CATCH_UP", "Place", "Reader", "offset_of"]

CATCH_UP = 16
"""A window that is further ahead than so many steps is read anew, and what lies between is not scored."""


MOMENTS = 8
"""Of the life of a text: at each of them one of so many groups of tags begins its texts anew, in one pass."""


@dataclass(slots=True, kw_only=True)
class Place:
    """How far a tag has been read: to step `end`, with the steps up to there in `values`, and which of them are `normal`.

    Its text stands in row `row` of the cache, begins with the value of step `begin`, is written on `grid` and has `length`
    tokens; `expected` holds the log probabilities of the next value's first symbol. Without a `grid` there is no text;
    with a `length` of nought it has still to be read.
    """

    row: int
    period_s: float = 0.0
    end: int = 0
    values: tuple[float, ...] = ()
    normal: tuple[bool, ...] = ()
    grid: Grid | None = None
    begin: int = 0
    length: int = 0
    expected: Tensor | None = None


@dataclass(slots=True, kw_only=True)
class _Work:
    """What is left to be done of one window: the values not read yet, and what became of those that were."""

    place: Place
    window: Window
    pending: list[tuple[float, bool]]
    scores: list[Score] = field(default_factory=list)


class Reader:
    """Reads the windows of any number of tags, batched; one row of the cache each."""

    def __init__(self, model: LanguageModel, *, context: int, min_context: int) -> None:
        if not 1 <= min_context <= context:
            raise ValueError(f"reader: expected min_context from 1 to context {context}, found {min_context}")
        self._model = model
        self.context = context
        self._min_context = min_context
        self._places: dict[str, Place] = {}
        self._free: list[int] = []
        self.cache = Cache(
            model.shape,
            rows=0,
            capacity=1 + context * model.alphabet.tokens_per_value,
            device=model.device,
            dtype=model.dtype,
        )
        self.tokens_read = 0
        self.texts_begun = 0

    def read(self, windows: Sequence[Window]) -> list[list[Score]]:
        """Scores of the values that are new since the last call, oldest first, for each window.

        None for holes, for a tag that is read for the first time or anew, and for the values that a text begins with.
        """
        if len({window.tag for window in windows}) != len(windows):
            raise ValueError("reader: expected at most one window per tag, found two of one")
        self._make_room({window.tag for window in windows})
        works = [self._compare(window) for window in windows]
        while True:
            self._begin_texts([w.place for w in works if w.place.grid is not None and w.place.length == 0])
            ready = [work for work in works if work.pending]
            if not ready:
                return [work.scores for work in works]
            self._read_one(ready)

    @property
    def tags(self) -> set[str]:
        """The tags that have a row of the cache."""
        return set(self._places)

    def place(self, tag: str) -> Place | None:
        """How far a tag has been read; None if it has no text at present, or its text does not reach to the present."""
        place = self._places.get(tag)
        return place if place is not None and place.length and place.normal[-1] else None

    def forget(self, tags: Sequence[str]) -> None:
        """Drops tags; their rows are used for others."""
        for tag in tags:
            place = self._places.pop(tag, None)
            if place is not None:
                self._free.append(place.row)

    def _make_room(self, tags: set[str]) -> None:
        new = sorted(tags - self._places.keys())
        lacking = len(new) - len(self._free)
        if lacking > 0:
            rows = self.cache.rows
            self.cache.grow(rows + lacking)
            self._free += range(rows, rows + lacking)
        self._free.sort(reverse=True)
        for tag in new:
            self._places[tag] = Place(row=self._free.pop())

    def _compare(self, window: Window) -> _Work:
        """What of the window has been read already? All but a few steps, or nothing."""
        place = self._places[window.tag]
        end = round(window.end_at.timestamp() / window.period_s)
        values = window.values[-self.context :]
        normal = window.normal[-self.context :] or (True,) * len(values)
        ahead = end - place.end
        if place.period_s == window.period_s and 0 <= ahead <= min(CATCH_UP, len(values)):
            known = values[: len(values) - ahead]
            # A window that has become longer at its far end, or shorter, is another text.
            if (
                len(known) <= len(place.values) <= len(values)
                and _same(known, place.values[-len(known) :])
                and normal[: len(known)] == place.normal[-len(known) :]
            ):
                new = zip(values[len(known) :], normal[len(known) :], strict=True)
                return _Work(place=place, window=window, pending=list(new))
        place.period_s, place.end, place.length = window.period_s, end, 0
        place.values, place.normal = values, normal
        self._lay_anchor(window.tag, place)
        return _Work(place=place, window=window, pending=[])

    def _lay_anchor(self, tag: str, place: Place) -> None:
        """Where does the text of a place begin now? If that is not where it did, it has to be read anew."""
        first = place.end - len(place.values) + 1
        # A text that has stood still since the last normal value is one that ends there.
        reach = len(place.values) if any(place.normal) else 0
        while reach and not place.normal[reach - 1]:
            reach -= 1
        found = anchor(
            place.values[:reach],
            first,
            normal=place.normal[:reach],
            context=self.context,
            shortest=self._min_context,
            offset=offset_of(tag, life(self.context, self._min_context)),
        )
        if found is None:
            place.grid, place.length, place.expected = None, 0, None
        elif found.grid != place.grid or first + found.start != place.begin:
            place.grid, place.begin, place.length, place.expected = found.grid, first + found.start, 0, None

    def _begin_texts(self, places: Sequence[Place]) -> None:
        """Reads texts from their beginning, as many at a time as fit in a pass, those of like length together."""
        waiting = sorted(((self._text(place), place) for place in places), key=lambda pair: len(pair[0]))
        while waiting:
            fit = sum(1 for i, (text, _) in enumerate(waiting, start=1) if i * len(text) <= PASS_TOKENS) or 1
            batch, waiting = sorted(waiting[:fit], key=lambda pair: pair[1].row), waiting[fit:]
            hidden = self._append([place for _, place in batch], [text for text, _ in batch], keep=1)
            for (_, place), expected in zip(batch, self._model.log_probabilities(hidden[:, 0]), strict=True):
                place.expected = expected
            self.texts_begun += len(batch)

    def _text(self, place: Place) -> list[int]:
        assert place.grid is not None
        alphabet, text = self._model.alphabet, [self._model.alphabet.begin]
        for value in in_text(place.values, place.normal, place.begin - place.end - 1 + len(place.values)):
            cell = place.grid.encode(value)
            assert cell is not None  # the anchor lays a grid that holds every value of the text
            text += alphabet.tokens(cell)
        return text

    def _read_one(self, works: Sequence[_Work]) -> None:
        """Takes the next value of each of some windows: scores it, then moves on."""
        scored = [work for work in works if work.place.grid is not None and math.isfinite(work.pending[0][0])]
        if scored:
            self._score(sorted(scored, key=lambda work: work.place.row))
        for work in works:
            place = work.place
            value, normal = work.pending.pop(0)
            most = min(self.context, len(work.window.values))
            place.values, place.normal = (*place.values, value)[-most:], (*place.normal, normal)[-most:]
            place.end += 1
            if normal:
                self._lay_anchor(work.window.tag, place)

    def _score(self, works: Sequence[_Work]) -> None:
        alphabet = self._model.alphabet
        places = [work.place for work in works]
        cells = [_nearest(place, work.pending[0][0]) for place, work in zip(places, works, strict=True)]
        first = torch.stack([place.expected for place in places if place.expected is not None])[:, None]
        hidden = self._append(places, [list(alphabet.tokens(cell)) for cell in cells], keep=alphabet.tokens_per_value)
        after = self._model.log_probabilities(hidden)
        # Behind the last symbol comes the separator, which says nothing; behind that, the next value.
        expected = torch.cat((first, after[:, : alphabet.per_value - 1]), dim=1).double().cpu().numpy()
        for i, (work, cell) in enumerate(zip(works, cells, strict=True)):
            work.scores.append(_score(work, expected[i], cell, alphabet.spell(cell)))
            if work.pending[0][1]:
                work.place.expected = after[i, -1]
            else:
                # Taken back: what stands behind the end of a text is never seen, and overwritten next.
                work.place.length -= alphabet.tokens_per_value

    def _append(self, places: Sequence[Place], texts: Sequence[list[int]], *, keep: int) -> Tensor:
        """Passes tokens behind what the places have; hidden states behind the last `keep` of each (places, keep, hidden)."""
        device = self._model.device
        longest = max(len(text) for text in texts)
        # Texts that are shorter are filled up: what stands behind the end of a text is never seen, and overwritten next.
        filled = torch.tensor(
            [text + [self._model.alphabet.separator] * (longest - len(text)) for text in texts], device=device
        )
        rows = torch.tensor([place.row for place in places], device=device)
        lengths = torch.tensor([place.length for place in places], device=device)
        width = max(PASS_TOKENS // len(places), 1)
        hidden = []
        for begin in range(0, longest, width):
            piece = filled[:, begin : begin + width]
            hidden.append(self._model.run(piece, Reading(self.cache, rows, lengths + begin, piece.shape[1])))
        for place, text in zip(places, texts, strict=True):
            place.length += len(text)
            self.tokens_read += len(text)
        last = torch.tensor([len(text) for text in texts], device=device)
        wanted = last[:, None] - torch.arange(keep, 0, -1, device=device)
        return torch.cat(hidden, dim=1)[torch.arange(len(places), device=device)[:, None], wanted]


def offset_of(tag: str, lives: int) -> int:
    """At which steps of its axis the texts of a tag begin, each living so many: a few tags together, never all at once."""
    return zlib.crc32(tag.encode()) % MOMENTS * (lives // MOMENTS) if lives >= MOMENTS else 0


def _same(a: Sequence[float], b: Sequence[float]) -> bool:
    """Equal, holes included."""
    return bool(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True))


def _nearest(place: Place, value: float) -> int:
    """The cell of a value; the outermost one on its side for a value that has left the grid."""
    assert place.grid is not None
    cell = place.grid.encode(value)
    if cell is not None:
        return cell
    return 0 if value < place.grid.low else place.grid.cells - 1


def _score(work: _Work, expected: NDArray[np.float64], cell: int, symbols: Sequence[int]) -> Score:
    """PIT and log score from the log probabilities of each symbol (symbols a value, symbols) and the symbols that came."""
    (value, _), grid, window = work.pending[0], work.place.grid, work.window
    assert grid is not None
    below, log_here = 0.0, 0.0
    for row, symbol in zip(expected, symbols, strict=True):
        below += math.exp(log_here) * float(np.exp(row[:symbol]).sum())
        log_here += float(row[symbol])
    return Score(
        tag=window.tag,
        forecaster="language",
        at=window.end_at - timedelta(seconds=(len(work.pending) - 1) * window.period_s),
        value=value,
        pit=min(below + math.exp(log_here) / 2, 1.0),
        log_score=log_here - math.log(grid.cell),
        log_probability=log_here,
        outside=grid.encode(value) != cell,
    )

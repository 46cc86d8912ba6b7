"""A slow twin of the language model's reader: it remembers nothing, and reads every text from its beginning."""

from __future__ import annotations

import math
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from detectors.language.codec import anchor
from detectors.records import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ORIGIN = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def window() -> Callable[..., Window]:
    """A window of values that ends at step `end`."""

    def make(
        values: Sequence[float], *, end: int, tag: str = "x/t", period_s: float = 10.0, normal: Sequence[bool] = ()
    ) -> Window:
        at = ORIGIN + timedelta(seconds=end * period_s)
        flags = tuple(map(bool, normal))
        return Window(tag=tag, period_s=period_s, end_at=at, values=tuple(map(float, values)), normal=flags)

    return make


@pytest.fixture(scope="session")
def twin() -> Callable[..., Twin]:
    """Call it with a model's folder to get its twin."""
    made: dict[Path, Twin] = {}

    def make(folder: Path, *, context: int, min_context: int) -> Twin:
        if folder not in made:
            made[folder] = Twin(folder)
        made[folder].context, made[folder].min_context = context, min_context
        return made[folder]

    return make


class Twin:
    """The model as transformers runs it: its own attention, no cache, one text at a time, float32."""

    context = 0
    min_context = 0

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from detectors.language.alphabet import choose_alphabet

        self._torch: Any = torch
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.alphabet = choose_alphabet(AutoTokenizer.from_pretrained(folder))

    def anchor(self, window: Window):
        values = window.values[-self.context :]
        first = round(window.end_at.timestamp() / window.period_s) - len(values) + 1
        lives = self.context - max(self.context // 4, self.min_context)
        offset = zlib.crc32(window.tag.encode()) % 8 * (lives // 8)
        normal = window.normal[-self.context :]
        return anchor(values, first, context=self.context, shortest=self.min_context, offset=offset, normal=normal)

    def shares(self, window: Window, cells: Sequence[int]) -> list[tuple[float, float]]:
        """Behind the window's text: the share below, and that of, each of `cells`, one after the other."""
        found = self.anchor(window)
        values = window.values[-self.context :]
        normal = window.normal[-self.context :] or (True,) * len(values)
        values = [v for v, flag in zip(values[found.start :], normal[found.start :], strict=True) if flag]
        text = [self.alphabet.begin]
        for value in values:
            text += self.alphabet.tokens(found.grid.encode(value))
        places = []
        for cell in cells:
            places += [(len(text) + k - 1, symbol) for k, symbol in enumerate(self.alphabet.spell(cell))]
            text += self.alphabet.tokens(cell)
        with self._torch.inference_mode():
            logits = self._model(self._torch.tensor([text])).logits[0][:, list(self.alphabet.symbols)].double()
        shares = logits.softmax(-1)
        out = []
        for i in range(0, len(places), self.alphabet.per_value):
            below, here = 0.0, 1.0
            for place, symbol in places[i : i + self.alphabet.per_value]:
                below += here * float(shares[place, :symbol].sum())
                here *= float(shares[place, symbol])
            out.append((below, here))
        return out

    def score(self, before: Window, value: float) -> tuple[float, float, bool] | None:
        """PIT, log score and whether outside, of the value that comes behind a window; None if it cannot be scored."""
        found = self.anchor(before)
        if found is None or not math.isfinite(value):
            return None
        cell = found.grid.encode(value)
        outside = cell is None
        if outside:
            cell = 0 if value < found.grid.low else 999
        [(below, here)] = self.shares(before, [cell])
        return below + here / 2, math.log(here) - math.log(found.grid.cell), outside

"""How surprising is each new value to the model?"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from detectors.language.cache import Cache, Reading
from detectors.language.model import load_model
from detectors.language.reader import CATCH_UP, Reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTEXT, SHORTEST = 24, 4


@pytest.fixture
def reader(tiny_model: Callable[..., Path]) -> Callable[..., Reader]:
    def make(tokens: str = "splits") -> Reader:
        model = load_model(tiny_model(tokens), device="cpu", numbers="float32")
        return Reader(model, context=CONTEXT, min_context=SHORTEST)

    return make


def series(kind: str, length: int, random: np.random.Generator) -> np.ndarray:
    """Signals of a plant: what they do to the reader is in their names."""
    t = np.arange(length)
    match kind:
        case "smooth":
            return 20 + 3 * np.sin(t / 9) + random.normal(0, 0.1, length)
        case "leaves_the_grid":
            return np.cumsum(random.standard_cauchy(length))
        case "gaps":
            values = random.normal(5, 1, length)
            for _ in range(length // 30):
                begin = random.integers(0, length)
                values[begin : begin + random.integers(1, 6)] = math.nan
            return values
        case "steps":
            return np.repeat(random.integers(0, 4, length // 7 + 1) * 25.0, 7)[:length]
        case "constant":
            return np.full(length, -273.15)
        case "huge":
            return random.normal(0, 1e40, length)
    raise AssertionError(kind)


KINDS = ["smooth", "leaves_the_grid", "gaps", "steps", "constant", "huge"]


@pytest.mark.parametrize(("tokens", "steps"), [("splits", 400), ("merges", 60), ("groups", 200), ("spaced", 60)])
def test_a_reader_that_remembers_agrees_with_one_that_reads_everything_again(  # noqa: PLR0917 - fixtures
    tiny_model, reader, twin, window, tokens: str, steps: int
) -> None:
    """Six tags over hundreds of steps: re-anchorings, gaps, values off the grid, tags that join late, stay away and return."""
    random = np.random.default_rng(1)
    slow = twin(tiny_model(tokens), context=CONTEXT, min_context=SHORTEST)
    fast = reader(tokens)
    data = {kind: series(kind, steps + CONTEXT, random) for kind in KINDS}
    joins = {kind: 7 * i for i, kind in enumerate(KINDS)}
    seen, compared, outside = {}, 0, 0
    for now in range(3, steps):
        present = [k for k in KINDS if now >= joins[k] and not (k == "steps" and now % 50 in range(20, 45))]
        windows = [window(data[k][max(joins[k], now - CONTEXT + 1) : now + 1], end=now, tag=f"x/{k}") for k in present]
        for w, scores in zip(windows, fast.read(windows), strict=True):
            before = seen.get(w.tag)
            seen[w.tag] = w
            if before is None or w.end_at - before.end_at > timedelta(seconds=10):
                assert scores == []
                continue
            expected = slow.score(before, w.values[-1])
            assert scores == [] if expected is None else len(scores) == 1
            for score in scores:
                assert score.at == w.end_at
                assert score.value == w.values[-1]
                assert score.pit == pytest.approx(expected[0], abs=1e-4)
                assert score.log_score == pytest.approx(expected[1], abs=1e-4)
                assert score.outside == expected[2]
                compared += 1
                outside += score.outside
    assert compared > 3 * steps
    assert outside > 0


def test_reading_a_value_costs_its_own_tokens_and_nothing_else(reader, window) -> None:
    fast, values = reader(), np.sin(np.arange(200))
    fast.read([window(values[:CONTEXT], end=CONTEXT - 1)])
    spent, begun, quiet = fast.tokens_read, fast.texts_begun, 0
    for now in range(CONTEXT, 60):
        fast.read([window(values[now - CONTEXT + 1 : now + 1], end=now)])
        if fast.texts_begun == begun:
            quiet += 1
            assert fast.tokens_read - spent == 4
        spent, begun = fast.tokens_read, fast.texts_begun
    assert quiet >= 0.8 * (60 - CONTEXT), "a text was begun anew far too often"


def test_the_same_window_again_reads_nothing(reader, window) -> None:
    fast, w = reader(), window(range(20), end=19)
    fast.read([w])
    spent = fast.tokens_read
    assert fast.read([w]) == [[]]
    assert fast.tokens_read == spent


def test_a_reader_made_anew_goes_on_as_the_old_one_would_have(reader, window) -> None:
    values = np.cumsum(np.random.default_rng(2).normal(size=200))
    old = reader()
    for now in range(10, 100):
        old.read([window(values[max(0, now - CONTEXT + 1) : now + 1], end=now)])
    new = reader()
    new.read([window(values[100 - CONTEXT : 100], end=99)])
    for now in range(100, 130):
        w = window(values[now - CONTEXT + 1 : now + 1], end=now)
        [[a]], [[b]] = old.read([w]), new.read([w])
        assert a.pit == pytest.approx(b.pit, abs=1e-4)
        assert a.log_score == pytest.approx(b.log_score, abs=1e-4)


def test_steps_that_were_missed_are_read_one_after_the_other(reader, window) -> None:
    values = np.cumsum(np.random.default_rng(3).normal(size=200))
    values[60] = math.nan
    steady, hasty = reader(), reader()
    one_by_one = []
    for now in range(30, 90):
        w = window(values[now - CONTEXT + 1 : now + 1], end=now)
        one_by_one += steady.read([w])[0]
    at_once = []
    for now in [30, 31, 36, 50, 66, 70, 89]:
        at_once += hasty.read([window(values[now - CONTEXT + 1 : now + 1], end=now)])[0]
    assert 89 - 70 > CATCH_UP > 70 - 50 - 5  # the last leap is too long, and is not scored
    expected = [s for s in one_by_one if s.value not in values[71:90]]
    assert [s.at for s in at_once] == [s.at for s in expected]
    assert [s.pit for s in at_once] == pytest.approx([s.pit for s in expected], abs=1e-4)


@pytest.mark.parametrize("change", ["value", "period", "past", "longer", "jump"])
def test_a_window_that_is_no_continuation_is_read_anew(reader, window, change: str) -> None:
    values = [float(v) for v in range(40)]
    fast = reader()
    fast.read([window(values[:20], end=19)])
    other = {
        "value": lambda: window([*values[:10], 99.0, *values[11:21]], end=20),
        "period": lambda: window(values[:20], end=20, period_s=5.0),
        "past": lambda: window(values[:20], end=15),
        "longer": lambda: window([-5.0, -4.0, *values[:20]], end=19),
        "jump": lambda: window(values[10:30], end=19 + CATCH_UP + 1),
    }[change]()
    begun = fast.texts_begun
    assert fast.read([other]) == [[]]
    assert fast.texts_begun == begun + 1
    fresh = reader()
    fresh.read([other])
    assert fast.place("x/t").expected.tolist() == pytest.approx(fresh.place("x/t").expected.tolist(), abs=1e-4)


def test_a_value_off_the_grid_is_said_and_the_grid_is_laid_anew(reader, window) -> None:
    fast = reader()
    fast.read([window([1.0, 1.1, 1.2, 1.1, 1.0], end=4)])
    low = fast.place("x/t").grid
    [[score]] = fast.read([window([1.0, 1.1, 1.2, 1.1, 1.0, 50.0], end=5)])
    assert score.outside
    assert score.pit > 0.9
    assert fast.place("x/t").grid != low
    assert fast.place("x/t").grid.encode(50.0) is not None


def test_rows_of_tags_that_were_forgotten_are_used_again(reader, window) -> None:
    fast = reader()
    windows = [window(range(10), end=9, tag=f"x/{i}") for i in range(3)]
    fast.read(windows)
    assert fast.cache.rows == 3
    fast.forget(["x/1", "x/nobody"])
    assert fast.place("x/1") is None
    fast.read([windows[0], window(range(5, 15), end=9, tag="x/new"), windows[2]])
    assert fast.cache.rows == 3
    alone = reader()
    alone.read([window(range(5, 15), end=9, tag="x/new")])
    assert fast.place("x/new").expected.tolist() == pytest.approx(alone.place("x/new").expected.tolist(), abs=1e-4)


def test_many_and_long_texts_are_cut_into_passes_that_change_nothing(reader, window, monkeypatch) -> None:
    windows = [window(np.sin(np.arange(n) + n), end=99, tag=f"x/{n}") for n in range(4, CONTEXT)]
    whole, cut = reader(), reader()
    whole.read(windows)
    monkeypatch.setattr("detectors.language.reader.PASS_TOKENS", 33)
    cut.read(windows)
    for w in windows:
        assert cut.place(w.tag).expected.tolist() == pytest.approx(whole.place(w.tag).expected.tolist(), abs=1e-4)


def test_misuse_is_said(reader, window, tiny_model) -> None:
    fast = reader()
    with pytest.raises(ValueError, match="at most one window per tag"):
        fast.read([window(range(10), end=9), window(range(10), end=9)])
    with pytest.raises(ValueError, match="min_context from 1 to context 4, found 5"):
        Reader(load_model(tiny_model(), device="cpu"), context=4, min_context=5)


def test_a_row_that_is_full_is_said() -> None:
    import torch

    from detectors.language.plan import Shape

    shape = Shape(
        layers=1, heads=1, kv_heads=1, head_size=2, hidden=2, intermediate=2, longest=9, weights_bytes=0, stored_bytes=4
    )
    cache = Cache(shape, rows=1, capacity=4, device=torch.device("cpu"), dtype=torch.float32)
    with pytest.raises(ValueError, match="at most 4 tokens in a row, found 5"):
        Reading(cache, torch.tensor([0]), torch.tensor([3]), 2)


def test_what_is_in_alarm_is_scored_as_if_it_came_behind_the_last_normal_value(
    tiny_model, reader, twin, window
) -> None:
    """Short alarms and long ones, among them one that outlasts the window: the twin reads the last normal window again."""
    random = np.random.default_rng(3)
    slow = twin(tiny_model("splits"), context=CONTEXT, min_context=SHORTEST)
    fast, steps = reader(), 300
    values = series("smooth", steps, random)
    normal = np.ones(steps, dtype=bool)
    for begin, end in ((30, 31), (50, 58), (80, 140), (170, 190), (200, 203)):
        values[begin:end] += 30
        normal[begin:end] = False
    before, compared = None, {True: 0, False: 0}
    for now in range(CONTEXT, steps):
        part = slice(now - CONTEXT + 1, now + 1)
        w = window(values[part], end=now, normal=normal[part])
        [scores] = fast.read([w])
        if before is not None and (expected := slow.score(before, values[now])) is not None:
            (score,) = scores
            assert score.pit == pytest.approx(expected[0], abs=1e-4)
            assert score.log_score == pytest.approx(expected[1], abs=1e-4)
            compared[bool(normal[now])] += 1
        assert (fast.place("x/t") is None) or normal[now], "nothing is forecast from the middle of an alarm"
        before = w if normal[now] else before
    assert compared[False] >= 80
    assert compared[True] >= 100


def test_a_text_goes_on_behind_an_alarm_without_its_values(reader, window) -> None:
    values = np.sin(np.arange(60.0))
    normal = np.ones(60, dtype=bool)
    normal[40:45] = False
    raised = values + 50.0 * ~normal
    fast = reader()
    fast.read([window(raised[:40][-CONTEXT:], end=39)])
    grid, quiet = fast.place("x/t").grid, 0
    for now in range(40, 60):
        part = slice(now - CONTEXT + 1, now + 1)
        begun = fast.texts_begun
        [scores] = fast.read([window(raised[part], end=now, normal=normal[part])])
        assert [s.outside for s in scores] == [not normal[now]], "fifty is off the grid, and stays off it"
        quiet += fast.texts_begun == begun
    assert quiet >= 12
    place = fast.place("x/t")
    assert place.grid.cell < 2 * grid.cell
    again = reader()
    again.read([window(raised[60 - CONTEXT :], end=59, normal=normal[60 - CONTEXT :])])
    assert again.place("x/t").length == place.length

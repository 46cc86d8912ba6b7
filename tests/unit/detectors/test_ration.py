"""What is read where not everything fits?"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detectors.language.error import ModelError
from detectors.language.forecaster import LanguageForecaster
from detectors.language.model import load_model
from detectors.language.plan import Shape, plan_memory
from detectors.language.ration import SHORTEST, ration

SHAPE = Shape(
    layers=30, heads=9, kv_heads=3, head_size=64, hidden=576, intermediate=1536, longest=8192, weights_bytes=270_000_000,
    stored_bytes=2,
)  # fmt: skip
WISH = {"context": 128, "samples": 16, "horizon": 12, "number_bytes": 2}
GIB = 2**30


def test_what_fits_is_granted_as_wished() -> None:
    granted = ration(SHAPE, tags=10, **WISH, available=GIB, where="cuda")
    assert (granted.context, granted.tags, granted.shortfall) == (128, 10, "")


def test_the_context_is_shortened_before_a_tag_is_left_out() -> None:
    granted = ration(SHAPE, tags=100, **WISH, available=GIB, where="cuda")
    assert (granted.context, granted.tags) == (32, 100)
    assert "memory on cuda: " in granted.shortfall
    assert "all 100 tags are read with a context of 32 values instead of 128" in granted.shortfall


def test_ten_thousand_tags_on_a_machine_that_holds_few_leave_those_of_the_highest_priority() -> None:
    granted = ration(SHAPE, tags=10_000, **WISH, available=GIB, where="cuda")
    assert granted.context == SHORTEST
    assert 100 < granted.tags < 400
    assert f"{granted.tags} of 10000 tags are read, those of the highest priority" in granted.shortfall


def test_a_device_that_does_not_even_hold_the_model_is_refused_with_the_numbers() -> None:
    with pytest.raises(ModelError, match=r"memory of the model on cuda.*found 100 MiB.*fewer tags \(0 fit\)"):
        ration(SHAPE, tags=5, **WISH, available=100 * 2**20, where="cuda")


@given(
    st.integers(1, 20_000),
    st.integers(SHORTEST, 1024),
    st.integers(1, 256),
    st.integers(0, 64),
    st.integers(0, 16 * GIB),
)
def test_a_ration_never_plans_more_than_there_is(
    tags: int, context: int, samples: int, horizon: int, available: int
) -> None:
    wish = {"context": context, "samples": samples, "horizon": horizon, "number_bytes": 2}
    try:
        granted = ration(SHAPE, tags=tags, **wish, available=available, where="cpu")
    except ModelError:
        least = plan_memory(SHAPE, tags=1, **{**wish, "context": min(context, SHORTEST)})
        assert least.total > available
    else:
        assert granted.plan.total <= available
        assert granted.plan == plan_memory(SHAPE, tags=granted.tags, **{**wish, "context": granted.context})
        assert bool(granted.shortfall) == ((granted.context, granted.tags) != (context, tags))
        if granted.tags < tags:
            assert granted.context == min(context, SHORTEST)


@pytest.fixture
def tight(tiny_model, monkeypatch):
    """A forecaster of six tags on a device where only `rows` rows of the cache go at once, whatever was planned."""
    model = load_model(tiny_model("splits"), device="cpu", numbers="float32")
    room = {"tokens": 10**9}
    run = type(model).run

    def run_out(self, tokens, reading):
        held = made._reader.cache
        if held.rows * held.capacity > room["tokens"]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, tokens, reading)

    monkeypatch.setattr(type(model), "run", run_out)
    order = [f"x/{i}" for i in range(6)]
    made = LanguageForecaster(model, context=64, min_context=8, samples=4, horizon=3, order=order)
    return made, room


def windows_of(window, end: int) -> list:
    return [window([i + (k * 7 % 5) / 9 for k in range(end - 70, end)], end=end, tag=f"x/{i}") for i in range(6)]


def test_a_device_that_runs_out_costs_context_first_then_tags_and_never_the_answer(tight, window) -> None:
    made, room = tight
    assert made.shortfall == ""
    assert len(made.forecast(windows_of(window, 100), horizon=3)) == 6
    room["tokens"] = 6 * 33 * 4
    forecasts = made.forecast(windows_of(window, 101), horizon=3)
    assert [f.tag for f in forecasts] == [f"x/{i}" for i in range(6)]
    assert "all 6 tags are read with a context of 32 values instead of 64" in made.shortfall
    room["tokens"] = 3 * 33 * 4
    forecasts = made.forecast(windows_of(window, 102), horizon=3)
    assert 1 <= len(forecasts) <= 3
    assert [f.tag for f in forecasts] == [f"x/{i}" for i in range(len(forecasts))], "the first in order stay"
    assert "those of the highest priority" in made.shortfall
    scores = made.read(windows_of(window, 103))
    assert [len(s) for s in scores] == [1] * len(forecasts) + [0] * (6 - len(forecasts))


def test_a_device_that_holds_nothing_is_said_after_all_was_tried(tight, window) -> None:
    made, room = tight
    room["tokens"] = 0
    with pytest.raises(torch.OutOfMemoryError):
        made.forecast(windows_of(window, 100), horizon=3)


def test_other_errors_are_not_taken_for_want_of_memory(tiny_model, monkeypatch, window) -> None:
    model = load_model(tiny_model("splits"), device="cpu", numbers="float32")

    def broken(self, tokens, reading):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(type(model), "run", broken)
    with pytest.raises(RuntimeError, match="device-side assert"):
        LanguageForecaster(model).read([window(range(40), end=40)])

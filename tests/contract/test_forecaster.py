"""What every forecaster promises (`detectors.forecasters.forecaster.Forecaster`), asked of each one.

A new forecaster brings its name in `FORECASTERS` and its making in `make`.
"""

from __future__ import annotations

import math
import pickle
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from detectors.forecasters.persistence import Persistence
from detectors.records import LEVELS, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from detectors.forecasters.forecaster import Forecaster

END = datetime(2026, 11, 23, 5, 13, 20, tzinfo=UTC)
CONTEXT, HORIZON = 32, 6
FORECASTERS = ["persistence", "language", "language_groups"]

WINDOWS = {
    "noise": list(np.random.default_rng(1).normal(5, 0.1, CONTEXT)),
    "constant": [5.0] * CONTEXT,
    "zero": [0.0] * CONTEXT,
    "tiny": list(np.random.default_rng(2).normal(0, 1e-200, CONTEXT)),
    "huge": list(np.random.default_rng(3).normal(0, 1e140, CONTEXT)),
    "a small change of a large value": [1e9] * (CONTEXT - 1) + [1e9 + 1e-3],
    "steps": [0.0, 100.0] * (CONTEXT // 2),
    "an outlier": [5.0] * (CONTEXT - 3) + [1e30, 5.0, 5.0],
    "young": [1.0, 2.0, 4.0, 3.0],
    "holes": [1.0, math.nan, 2.0, math.nan, math.nan, 3.0, 2.0, 1.0, 2.0],
}


@pytest.fixture(params=FORECASTERS)
def make(request: pytest.FixtureRequest, tiny_model: Callable[..., Path]) -> Callable[..., Forecaster]:
    """Call it for a forecaster made anew."""
    kind: str = request.param
    if kind == "persistence":
        return lambda seed=0: Persistence(samples=16, seed=seed)
    from detectors.language.forecaster import LanguageForecaster
    from detectors.language.model import load_model

    model = load_model(tiny_model("groups" if kind == "language_groups" else "splits"), device="cpu", numbers="float32")
    return lambda seed=0: LanguageForecaster(model, context=CONTEXT, min_context=4, samples=16, seed=seed)


def window(values: Sequence[float], *, tag: str = "x/t", period_s: float = 10.0, later: int = 0) -> Window:
    at = END + timedelta(seconds=later * period_s)
    return Window(tag=tag, period_s=period_s, end_at=at, values=tuple(map(float, values)))


def all_windows() -> list[Window]:
    return [window(v, tag=f"x/{i}", period_s=[10.0, 60.0, 0.5][i % 3]) for i, v in enumerate(WINDOWS.values())]


def near(a, b) -> bool:
    return np.allclose(np.array(a.paths), np.array(b.paths), rtol=1e-5) and np.allclose(
        np.array(a.quantiles), np.array(b.quantiles), rtol=1e-5
    )


def test_one_forecast_per_window_in_the_order_given(make) -> None:
    windows = all_windows()
    for order in (windows, windows[::-1]):
        assert [made.tag for made in make().forecast(order, horizon=HORIZON)] == [w.tag for w in order]


@pytest.mark.parametrize("horizon", [1, HORIZON, 40])
def test_exactly_the_horizon_finite_and_in_order_whatever_the_window_holds(make, horizon: int) -> None:
    for made, kind in zip(make().forecast(all_windows(), horizon=horizon), WINDOWS, strict=True):
        quantiles = np.array(made.quantiles)
        assert quantiles.shape == (horizon, len(LEVELS)), kind
        assert np.isfinite(quantiles).all(), kind
        assert (np.diff(quantiles, axis=1) >= 0).all(), kind
        assert made.horizon == horizon
        if made.paths:
            assert np.array(made.paths).shape[1] == horizon
            assert np.isfinite(np.array(made.paths)).all(), kind


def test_timestamps_are_those_of_the_windows_grid(make) -> None:
    forecaster = make()
    for w, made in zip(all_windows(), forecaster.forecast(all_windows(), horizon=3), strict=True):
        assert made.made_at == w.end_at
        assert made.period_s == w.period_s
        assert made.at(2) == w.end_at + timedelta(seconds=2 * w.period_s)
        assert made.forecaster == forecaster.name


def test_a_window_of_holes_alone_gets_no_forecast(make) -> None:
    holes = window([math.nan] * 10, tag="x/holes")
    good = window(WINDOWS["noise"], tag="x/good")
    assert [made.tag for made in make().forecast([holes, good], horizon=2)] == ["x/good"]
    assert make().forecast([], horizon=2) == []


def test_a_cache_changes_nothing_as_the_window_moves_on(make) -> None:
    """Over a hundred steps with a gap and a value far off, against a forecaster made anew at each."""
    values = np.cumsum(np.random.default_rng(7).normal(size=140))
    values[60:63] = math.nan
    values[90] = 1e4
    steady = make()
    for now in range(5, 140):
        w = window(values[max(0, now - CONTEXT + 1) : now + 1], later=now)
        ours = steady.forecast([w], horizon=3)
        if now % 7 == 0 or now in (63, 66, 67, 90, 91):
            fresh = make().forecast([w], horizon=3)
            assert len(ours) == len(fresh)
            assert all(near(a, b) for a, b in zip(ours, fresh, strict=True)), now


@pytest.mark.parametrize("change", ["gap", "restart", "other tags", "corrected"])
def test_a_window_that_is_no_continuation_is_read_anew(make, change: str) -> None:
    values = list(np.cumsum(np.random.default_rng(9).normal(size=100)))
    used = make()
    used.forecast([window(values[:CONTEXT]), window(values[50 : 50 + CONTEXT], tag="x/u")], horizon=2)
    then = {
        "gap": [window(values[60 : 60 + CONTEXT], later=60)],
        "restart": [window(values[:10], later=1)],
        "other tags": [window(values[1 : CONTEXT + 1], tag="x/v", later=1)],
        "corrected": [window([*values[1 : CONTEXT - 5], 9.0, *values[CONTEXT - 4 : CONTEXT + 1]], later=1)],
    }[change]
    for ours, fresh in zip(used.forecast(then, horizon=4), make().forecast(then, horizon=4), strict=True):
        assert near(ours, fresh)


def test_the_same_seed_draws_the_same_and_another_one_others(make) -> None:
    w = [window(WINDOWS["noise"])]
    assert make(seed=1).forecast(w, horizon=4) == make(seed=1).forecast(w, horizon=4)
    assert make(seed=1).forecast(w, horizon=4) != make(seed=2).forecast(w, horizon=4)


def test_what_it_gives_is_plain_data(make) -> None:
    for made in make().forecast(all_windows(), horizon=2):
        assert pickle.loads(pickle.dumps(made)) == made
        assert all(type(x) is float for row in (*made.quantiles, *made.paths) for x in row)

"""What every forecaster promises (`detectors.forecasters.forecaster.Forecaster`), asked of each one.

A new forecaster brings its name in `FORECASTERS` and its making in `build`; one that learns brings its name in `LEARNERS` too.
"""

from __future__ import annotations

import math
import pickle
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from detectors.forecasters.arima import Arima
from detectors.forecasters.autoregression import Autoregression
from detectors.forecasters.boosted import Boosted
from detectors.forecasters.forecaster import Learner
from detectors.forecasters.graph import Graph
from detectors.forecasters.harmonic import Harmonic
from detectors.forecasters.panel import Panel
from detectors.forecasters.persistence import Persistence
from detectors.forecasters.recurrent import Recurrent
from detectors.forecasters.seasonal import SeasonalNaive
from detectors.forecasters.smoothing import Smoothing
from detectors.forecasters.trained import Circle, Trained, made_network
from detectors.records import LEVELS, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from detectors.forecasters.forecaster import Forecaster
    from detectors.forecasters.trained import Kind

END = datetime(2026, 11, 23, 5, 13, 20, tzinfo=UTC)
CONTEXT, HORIZON = 32, 6
MEMBERS = {
    "seasonal": SeasonalNaive,
    "harmonic": Harmonic,
    "autoregression": Autoregression,
    "smoothing": Smoothing,
    "boosted": partial(Boosted, trees=20),
    "arima": Arima,
    "recurrent": partial(Recurrent, steps=12),
    "graph": partial(Graph, steps=12),
}
TRAINED = {"trained-recurrent": "recurrent", "trained-graph": "graph"}
FORECASTERS = ["persistence", "language", "language_groups", "panel", *TRAINED, *MEMBERS]
LEARNERS = ["panel", *MEMBERS]

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


def build(kind: str, tiny_model: Callable[..., Path]) -> Callable[..., Forecaster]:
    """Call what it returns for a forecaster made anew."""
    if kind == "persistence":
        return lambda seed=0: Persistence(samples=16, seed=seed)
    if kind in MEMBERS:
        return lambda seed=0: MEMBERS[kind](samples=16, seed=seed)
    if kind in TRAINED:
        return lambda seed=0: trained(TRAINED[kind], seed)
    if kind == "panel":
        return lambda seed=0: Panel([Persistence(samples=16, seed=seed), Other(samples=16, seed=seed + 10)])
    from detectors.language.forecaster import LanguageForecaster
    from detectors.language.model import load_model

    model = load_model(tiny_model("groups" if kind == "language_groups" else "splits"), device="cpu", numbers="float32")
    return lambda seed=0: LanguageForecaster(model, context=CONTEXT, min_context=4, samples=16, seed=seed)


def trained(kind: Kind, seed: int) -> Trained:
    """Of the tags of this file; how well it was trained is another question."""
    circles = []
    for period_s in (10.0, 60.0, 0.5):
        tags = ("x/t", "x/u", "x/v", "x/good", "x/holes", *(f"x/{i}" for i in range(len(WINDOWS))))
        count = len(tags)
        circle = Circle(tags=tags, periods_s=(period_s,) * count, spreads=(1.0,) * count, steps=(5000,) * count)
        circles.append(circle)
    generator = torch.Generator().manual_seed(3)
    networks = [made_network(kind, len(circle.tags), CONTEXT, 24, generator=generator) for circle in circles]
    return Trained(kind, circles, networks, context=CONTEXT, leads=24, samples=16, seed=seed)


class Other(Persistence):
    """A second member of the panel."""

    name = "other"


@pytest.fixture(params=FORECASTERS)
def make(request: pytest.FixtureRequest, tiny_model: Callable[..., Path]) -> Callable[..., Forecaster]:
    """Call it for a forecaster made anew."""
    return build(request.param, tiny_model)


@pytest.fixture(params=LEARNERS)
def make_learner(request: pytest.FixtureRequest, tiny_model: Callable[..., Path]) -> Callable[..., Learner]:
    """Call it for a learner made anew."""

    def made(seed: int = 0) -> Learner:
        forecaster = build(request.param, tiny_model)(seed=seed)
        assert isinstance(forecaster, Learner)
        return forecaster

    return made


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


def test_behind_an_alarm_what_was_in_it_has_no_say(make) -> None:
    values = WINDOWS["noise"]
    raised = [*values[:8], *(v + 50 for v in values[8:14]), *values[14:]]
    flags = tuple(not 8 <= i < 14 for i in range(CONTEXT))
    ours, other = (
        make().forecast([Window(tag="x/t", period_s=10.0, end_at=END, values=tuple(v), normal=flags)], horizon=HORIZON)
        for v in (values, raised)
    )
    assert len(ours) == len(other) == 1
    assert near(ours[0], other[0])


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


SEASON = 10 * np.sin(np.arange(1200) / 24 * 2 * np.pi) + np.random.default_rng(21).normal(size=1200) * 0.3


def follow(learner: Learner, values, *, first: int, last: int, normal: Sequence[bool] = (), horizon: int = 2) -> list:
    """Learns and forecasts step by step; its forecasts."""
    made = []
    for now in range(first, last):
        part = slice(max(0, now - CONTEXT + 1), now + 1)
        at = END + timedelta(seconds=now * 10.0)
        w = Window(
            tag="x/t", period_s=10.0, end_at=at, values=tuple(map(float, values[part])), normal=tuple(normal[part])
        )
        learner.learn([w])
        made += learner.forecast([w], horizon=horizon)
    return made


def taught(learner: Learner, *, steps: int = 400) -> Learner:
    """What it has learnt of so many steps at once, fitted, and then of a few one by one."""
    learner.learn([window(SEASON[:steps], later=steps - 1)])
    learner.refit("x/t")
    follow(learner, SEASON, first=steps, last=steps + 20)
    return learner


def test_a_learner_answers_before_it_has_learnt_with_a_band_that_is_not_narrow(make_learner) -> None:
    [made] = make_learner().forecast([window(SEASON[:CONTEXT])], horizon=HORIZON)
    low, high = np.array(made.quantiles)[:, 0], np.array(made.quantiles)[:, -1]
    usual = float(np.abs(np.diff(SEASON[:CONTEXT])).mean())
    assert ((high - low) > usual).all()


def test_learning_one_step_again_changes_nothing(make_learner) -> None:
    once, twice = taught(make_learner()), taught(make_learner())
    w = window(SEASON[400:420], later=419)
    twice.learn([w])
    twice.learn([w])
    for ours, other in zip(once.forecast([w], horizon=3), twice.forecast([w], horizon=3), strict=True):
        assert near(ours, other)


def test_what_is_in_alarm_is_never_learnt_from(make_learner) -> None:
    """Two histories that differ in steps that are not normal teach the same."""
    faulty = SEASON.copy()
    faulty[300:310] += 1e3
    faulty[410:414] = -1e4
    normal = [not (300 <= i < 310 or 410 <= i < 414) for i in range(1200)]
    learners = [make_learner(), make_learner()]
    for learner, values in zip(learners, (SEASON, faulty), strict=True):
        at = END + timedelta(seconds=399 * 10.0)
        whole = Window(
            tag="x/t", period_s=10.0, end_at=at, values=tuple(values[:400].tolist()), normal=tuple(normal[:400])
        )
        learner.learn([whole])
        learner.refit("x/t")
        for now in range(400, 460):
            part = slice(now - CONTEXT + 1, now + 1)
            w = window(values[part], later=now)
            w = Window(tag=w.tag, period_s=w.period_s, end_at=w.end_at, values=w.values, normal=tuple(normal[part]))
            learner.learn([w])
            # What it forecasts from the alarm itself is not compared, and is not judged: there is no forecast.
            if now < 410 or now >= 414:
                learner.forecast([w], horizon=2)
    w = window(SEASON[460 - CONTEXT : 460], later=459)
    for ours, other in zip(*(learner.forecast([w], horizon=3) for learner in learners), strict=True):
        assert near(ours, other)


def test_its_memory_is_bounded_over_a_hundred_thousand_steps(make_learner) -> None:
    learner = make_learner()
    sizes = []
    for block in range(20):
        values = SEASON[np.arange(5000) % 1200]
        learner.learn([window(values, later=5000 * (block + 1))])
        learner.forecast([window(values[-CONTEXT:], later=5000 * (block + 1))], horizon=2)
        sizes.append(len(learner.save()))
    assert sizes[-1] <= 1.02 * sizes[9]


def test_what_was_saved_goes_on_the_same(make_learner) -> None:
    first, second = taught(make_learner()), make_learner()
    second.restore(first.save())
    ours = follow(first, SEASON, first=420, last=440)
    others = follow(second, SEASON, first=420, last=440)
    assert len(ours) == len(others) == 20
    assert all(near(a, b) for a, b in zip(ours, others, strict=True))


def test_what_was_not_saved_by_it_is_refused_and_changes_nothing(make_learner) -> None:
    learner = taught(make_learner())
    w = [window(SEASON[400:420], later=419)]
    [before] = learner.forecast(w, horizon=3)
    for saved in (b"", b"nonsense", b"{}", b"PK"):
        with pytest.raises(ValueError, match="expected"):
            learner.restore(saved)
    [after] = learner.forecast(w, horizon=3)
    assert near(after, before)


def test_a_level_shift_is_followed(make_learner) -> None:
    """A window's length after the level has changed for good, the forecast is at the new one."""
    values = np.concatenate((np.zeros(200), np.full(100, 50.0))) + np.random.default_rng(5).normal(size=300) * 0.5
    learner = make_learner()
    learner.learn([window(values[:150], later=149)])
    learner.refit("x/t")
    made = follow(learner, values, first=150, last=200 + 2 * CONTEXT)
    median = np.array(made[-1].quantiles)[:, LEVELS.index(0.5)]
    assert median == pytest.approx(50.0, abs=5.0)


def test_a_fit_in_another_thread_disturbs_nothing(make_learner) -> None:
    learner = taught(make_learner())
    troubles: list[BaseException] = []

    def fit() -> None:
        try:
            for _ in range(3):
                learner.refit("x/t")
        except Exception as error:
            troubles.append(error)

    fitting = threading.Thread(target=fit)
    fitting.start()
    made = follow(learner, SEASON, first=420, last=460)
    fitting.join(60)
    assert not fitting.is_alive()
    assert troubles == []
    assert len(made) == 40
    assert all(np.isfinite(np.array(m.quantiles)).all() for m in made)


def test_a_fit_of_a_tag_that_is_unknown_or_too_young_is_no_error(make_learner) -> None:
    learner = make_learner()
    learner.refit("x/unknown")
    learner.learn([window([1.0])])
    learner.refit("x/t")
    assert all(isinstance(tag, str) for tag in learner.due)
    learner.learn([window([math.nan] * 10, tag="x/holes"), window([5.0] * 200, tag="x/constant")])
    for tag in ("x/holes", "x/constant"):
        learner.refit(tag)
    [made] = learner.forecast([window([5.0] * 200, tag="x/constant")], horizon=3)
    assert np.array(made.quantiles) == pytest.approx(5.0, abs=0.5)

"""What does the language model expect of each tag?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from detectors.language.error import ModelError
from detectors.language.forecaster import LanguageForecaster
from detectors.language.model import load_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTEXT, SHORTEST, SAMPLES, HORIZON = 24, 4, 8, 5


@pytest.fixture
def forecaster(tiny_model: Callable[..., Path]) -> Callable[..., LanguageForecaster]:
    def make(tokens: str = "splits", **settings) -> LanguageForecaster:
        model = load_model(tiny_model(tokens), device="cpu", numbers="float32")
        return LanguageForecaster(
            model, **{"context": CONTEXT, "min_context": SHORTEST, "samples": SAMPLES, "seed": 3, **settings}
        )

    return make


def some_windows(window, count: int = 4) -> list:
    """Tags of different lengths and periods."""
    random = np.random.default_rng(8)
    return [
        window(random.normal(i, 1 + i, SHORTEST + 5 * i + 1), end=1000 + i, tag=f"x/{i}", period_s=[10.0, 60.0][i % 2])
        for i in range(count)
    ]


@pytest.mark.parametrize("tokens", ["splits", "groups"])
def test_every_drawn_value_lies_where_its_uniform_number_says(tiny_model, forecaster, twin, window, tokens) -> None:
    """Asked of a model that reads the text and each whole future again from the beginning."""
    slow = twin(tiny_model(tokens), context=CONTEXT, min_context=SHORTEST)
    fast, windows = forecaster(tokens), some_windows(window)
    for w, made in zip(windows, fast.forecast(windows, horizon=HORIZON), strict=True):
        grid = slow.anchor(w).grid
        uniforms = fast._uniforms(w, HORIZON)
        assert sorted((uniforms[:, 0] * SAMPLES).astype(int)) == list(range(SAMPLES)), "one in each stratum"
        for path, places in zip(made.paths, uniforms, strict=True):
            cells = [grid.encode(value) for value in path]
            for (below, here), place in zip(slow.shares(w, cells), places, strict=True):
                assert below - 1e-4 <= place <= below + here + 1e-4


def test_quantiles_are_those_of_the_paths(forecaster, window) -> None:
    for made in forecaster(samples=21).forecast(some_windows(window), horizon=HORIZON):
        paths = np.sort(np.array(made.paths), axis=0)
        quantiles = np.array(made.quantiles)
        assert quantiles[:, 3] == pytest.approx(paths[10], abs=1e-9)
        assert (quantiles[:, 0] >= paths[0]).all()
        assert (quantiles[:, 6] <= paths[-1]).all()


def test_the_answer_depends_on_the_windows_and_the_seed_alone(forecaster, window) -> None:
    windows = some_windows(window)
    used = forecaster()
    used.forecast([window(range(30), end=20, tag="x/1"), window(range(9), end=20, tag="x/other")], horizon=2)
    first = used.forecast(windows, horizon=HORIZON)
    assert forecaster().forecast(windows, horizon=HORIZON) == first
    assert used.forecast(windows, horizon=HORIZON) == first, "drawing changes nothing of what was read"
    alone = [forecaster().forecast([w], horizon=HORIZON)[0] for w in windows]
    assert [made.paths for made in alone] == [made.paths for made in first]
    other = forecaster(seed=4).forecast(windows, horizon=HORIZON)
    assert all(a.paths != b.paths for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("fork_bytes", [1, 12_000, 30_000])
def test_futures_drawn_in_several_turns_are_the_same(forecaster, window, monkeypatch, fork_bytes: int) -> None:
    windows = some_windows(window)
    at_once = forecaster().forecast(windows, horizon=HORIZON)
    monkeypatch.setattr("detectors.language.forecaster.FORK_BYTES", fork_bytes)
    assert forecaster().forecast(windows, horizon=HORIZON) == at_once


@pytest.mark.parametrize("tokens", ["splits", "merges", "groups", "spaced"])
def test_ten_thousand_forecasts_have_exactly_the_values_asked_for_on_the_grid(forecaster, window, tokens: str) -> None:
    """Of tags of every magnitude, drawn by a model that has learnt nothing and would say anything."""
    random = np.random.default_rng(11)
    made, asked = forecaster(tokens, samples=1), 0
    for call in range(20):
        horizon = (1, 2, 3, 7)[call % 4]
        scale = 10.0 ** random.integers(-12, 12, 125)[:, None]
        values = scale * random.normal(random.normal(size=(125, 1)), 1, (125, SHORTEST + 2))
        windows = [window(v, end=int(random.integers(1, 9999)), tag=f"x/{i}") for i, v in enumerate(values)]
        for w, forecast in zip(windows, made.forecast(windows, horizon=horizon), strict=True):
            grid = made._reader.place(w.tag).grid
            assert forecast.horizon == horizon
            (path,) = forecast.paths
            assert len(path) == horizon
            for value in path:
                assert value == grid.decode(grid.encode(value))
            asked += 1
    assert asked == 2_500  # of each of four kinds of tokenizer


def test_a_window_too_short_behind_its_last_hole_gets_no_forecast(forecaster, window) -> None:
    windows = [
        window([1.0, 2.0, math.nan, 1.0, 2.0, 3.0], end=9, tag="x/short"),
        window([1.0, 2.0, math.nan, 1.0, 2.0, 3.0, 4.0], end=9, tag="x/long"),
        window([*range(20), math.nan], end=9, tag="x/hole"),
        window([math.nan] * 8, end=9, tag="x/none"),
    ]
    assert [made.tag for made in forecaster().forecast(windows, horizon=2)] == ["x/long"]
    assert forecaster().forecast([], horizon=2) == []


def test_a_lower_temperature_draws_likelier_values(tiny_model, forecaster, twin, window) -> None:
    slow = twin(tiny_model(), context=CONTEXT, min_context=SHORTEST)
    [w] = some_windows(window, 1)
    mean = {}
    for temperature in (0.3, 1.0, 2.0):
        [made] = forecaster(temperature=temperature, samples=32).forecast([w], horizon=1)
        grid = slow.anchor(w).grid
        mean[temperature] = np.mean([math.log(slow.shares(w, [grid.encode(p[0])])[0][1]) for p in made.paths])
    assert mean[0.3] > mean[1.0] > mean[2.0]


def test_a_forecast_reads_what_is_new_and_scores_stay_to_be_had(forecaster, window) -> None:
    made = forecaster()
    made.read([window(range(10), end=9)])
    [[score]] = made.read([window(range(11), end=10)])
    assert 0 < score.pit < 1


def test_a_horizon_beyond_the_models_positions_is_refused(forecaster, window) -> None:
    with pytest.raises(ModelError, match=r"at most 2048 tokens.*found 2097 for 24 values and a horizon of 500"):
        forecaster().forecast([window(range(10), end=9)], horizon=500)


def test_a_context_longer_than_the_models_is_refused_at_once(forecaster) -> None:
    with pytest.raises(ModelError, match="Set `context` to 511 or less"):
        forecaster(context=512)


@pytest.mark.parametrize("settings", [{"samples": 0}, {"temperature": 0.0}])
def test_settings_that_draw_nothing_are_refused(forecaster, settings: dict) -> None:
    with pytest.raises(ValueError, match="samples and temperature above 0"):
        forecaster(**settings)


@pytest.mark.model
def test_the_default_model_follows_a_wave_and_stays_calm_on_a_constant(default_model, window) -> None:
    made = LanguageForecaster(load_model(default_model), samples=8, seed=1)
    wave = 50 + 10 * np.sin(np.arange(140) * 2 * np.pi / 16)
    constant = np.full(140, 5.0)
    windows = [window(values[:128], end=128, tag=tag) for tag, values in (("x/wave", wave), ("x/still", constant))]
    following, calm = made.forecast(windows, horizon=8)
    medians = np.array(following.quantiles)[:, 3]
    still = np.abs(wave[127] - wave[128:136]).mean()
    assert np.abs(medians - wave[128:136]).mean() < still / 2, "worse than half of what standing still misses by"
    assert np.array(calm.quantiles)[:, 3] == pytest.approx(5.0, abs=1e-3)


@pytest.mark.model
def test_the_default_model_is_hardly_surprised_by_what_it_expects(default_model, window) -> None:
    """A tag that moves as it did scores far better than one that starts to move otherwise."""
    made = LanguageForecaster(load_model(default_model), seed=1)
    wave = 50 + 10 * np.sin(np.arange(140) * 2 * np.pi / 16)
    other = wave.copy()
    other[128:] += 6
    made.read([window(values[:128], end=128, tag=tag) for tag, values in (("x/same", wave), ("x/other", other))])
    same, changed = made.read(
        [window(values[4:132], end=132, tag=tag) for tag, values in (("x/same", wave), ("x/other", other))]
    )
    assert np.mean([s.log_probability for s in same]) > np.mean([s.log_probability for s in changed]) + 1
    assert np.mean([s.log_probability for s in same]) > math.log(1 / 1000) + 2, "two nats better than knowing nothing"


def test_tags_that_look_alike_and_moments_draw_futures_of_their_own(forecaster, window) -> None:
    values = some_windows(window)[2].values
    made = forecaster()
    a, b = made.forecast([window(values, end=99, tag=tag) for tag in ("x/a", "x/b")], horizon=HORIZON)
    [later] = made.forecast([window(values, end=100, tag="x/a")], horizon=HORIZON)
    assert len({a.paths, b.paths, later.paths}) == 3


def test_tags_that_do_not_fit_are_refused_before_they_take_anything(forecaster, window, monkeypatch) -> None:
    made, windows = forecaster(), some_windows(window)
    made.forecast(windows[:2], horizon=2)
    monkeypatch.setattr("detectors.language.forecaster.free_memory", lambda _device: 100_000)
    made.forecast(windows[:2], horizon=2)
    crowd = [window(range(10), end=9, tag=f"x/new{i}") for i in range(10_000)]
    for ask in (lambda: made.forecast(crowd, horizon=2), lambda: made.read(crowd)):
        with pytest.raises(ModelError, match=r"expected at least .* free .*10002 tags.* Ways out: fewer tags"):
            ask()
    assert made._reader.cache.rows == 2
    made.forecast(windows[:2], horizon=2)

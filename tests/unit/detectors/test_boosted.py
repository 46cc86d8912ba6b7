"""Trees on top of linear forecasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.forecasters.autoregression import Autoregression
from detectors.forecasters.boosted import Boosted
from detectors.forecasters.smoothing import Smoothing
from detectors.records import LEVELS, Window

START = datetime(2026, 1, 5, tzinfo=UTC)
PERIOD_S = 900.0


def window(values, end: int) -> Window:
    part = values[: end + 1]
    at = START + timedelta(seconds=end * PERIOD_S)
    return Window(tag="x/t", period_s=PERIOD_S, end_at=at, values=tuple(part.tolist()))


def taught(forecaster, values, end: int):
    forecaster.learn([window(values, end)])
    forecaster.refit("x/t")
    return forecaster


@pytest.fixture(scope="module")
def valve() -> np.ndarray:
    """A temperature that rises until it is above 60, and then falls until it is below 40: a rule that no line knows."""
    rng = np.random.default_rng(11)
    out, value, rising = [], 50.0, True
    for _ in range(1100):
        rising = value < 60.0 if rising else value < 40.0
        value += (2.0 if rising else -3.0) + 0.3 * rng.normal()
        out.append(value)
    return np.array(out)


def test_a_rule_that_no_line_knows_is_learnt(valve) -> None:
    learners = [taught(made, valve, 799) for made in (Boosted(trees=30), Smoothing(), Autoregression())]
    off = np.zeros(len(learners))
    for end in range(800, 830):
        for k, learner in enumerate(learners):
            learner.learn([window(valve, end)])
            [said] = learner.forecast([window(valve, end)], horizon=4)
            off[k] += np.abs(np.array(said.quantiles)[:, LEVELS.index(0.5)] - valve[end + 1 : end + 5]).mean()
    assert off[0] < 0.9 * off[1:].min()


def test_bands_are_wide_where_the_noise_is() -> None:
    rng = np.random.default_rng(4)
    at = np.arange(96 * 12)
    loud = at % 96 >= 48
    values = 20.0 + np.where(loud, 3.0, 0.3) * rng.normal(size=len(at))
    learner = taught(Boosted(trees=30), values, 96 * 10 - 1)
    width = {}
    for end in (96 * 10 + 20, 96 * 10 + 70):
        learner.learn([window(values, end)])
        [said] = learner.forecast([window(values, end)], horizon=1)
        width[end] = said.quantiles[0][-1] - said.quantiles[0][0]
    assert width[96 * 10 + 70] > 3.0 * width[96 * 10 + 20]


def test_a_short_history_is_forecast_by_the_lines_alone() -> None:
    values = 10.0 * np.sin(np.arange(160) / 96 * 2 * np.pi) + np.random.default_rng(2).normal(size=160)
    [said] = taught(Boosted(), values, 149).forecast([window(values, 149)], horizon=6)
    assert np.array(said.quantiles)[:, LEVELS.index(0.5)] == pytest.approx(values[150:156], abs=4.0)


def test_tags_side_by_side_are_forecast_as_each_alone(valve) -> None:
    learner = Boosted(trees=10)
    ends = {"x/a": 500, "x/b": 600, "x/c": 1000}
    windows = {}
    for tag, end in ends.items():
        values = tuple(valve[end - 300 : end].tolist())
        windows[tag] = Window(tag=tag, period_s=PERIOD_S, end_at=START, values=values)
        learner.learn([windows[tag]])
        learner.refit(tag)
    together = learner.forecast([*windows.values()], horizon=5)
    for said in together:
        [alone] = learner.forecast([windows[said.tag]], horizon=5)
        assert np.array(alone.quantiles) == pytest.approx(np.array(said.quantiles), rel=1e-9)
    assert len({said.quantiles for said in together}) == 3

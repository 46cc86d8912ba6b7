"""What comes next if nothing changes?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from detectors.forecasters.persistence import Persistence
from detectors.records import LEVELS

MEDIAN = LEVELS.index(0.5)


def quantiles(made) -> np.ndarray:
    return np.array(made.quantiles)


def test_the_median_stays_at_the_last_value_and_the_spread_grows_as_the_root_of_the_lead(window) -> None:
    values = 100 + np.cumsum(np.random.default_rng(0).normal(0, 0.5, 500))
    [made] = Persistence(samples=4000, seed=1).forecast([window(values, end=500)], horizon=16)
    rows = quantiles(made)
    assert rows[:, MEDIAN] == pytest.approx(values[-1], abs=0.15)
    widths = rows[:, -1] - rows[:, 0]
    assert widths[15] / widths[0] == pytest.approx(4.0, rel=0.15)
    assert widths[0] == pytest.approx(2 * 1.645 * 0.5, rel=0.15)


def test_the_band_holds_as_often_as_it_says(window) -> None:
    walks = 50 + np.cumsum(np.random.default_rng(4).standard_t(3, (400, 70)), axis=1)
    windows = [window(walk[:64], end=64, tag=f"x/{i}") for i, walk in enumerate(walks)]
    made = Persistence(samples=400, seed=2).forecast(windows, horizon=6)
    low = np.array([quantiles(m)[:, 0] for m in made])
    high = np.array([quantiles(m)[:, -1] for m in made])
    inside = ((low <= walks[:, 64:]) & (walks[:, 64:] <= high)).mean(axis=0)
    assert inside == pytest.approx(0.9, abs=0.06)


def test_a_constant_stays_what_it_is(window) -> None:
    [made] = Persistence().forecast([window([5.0] * 20, end=20)], horizon=3)
    assert (quantiles(made) == 5.0).all()


def test_a_hole_at_the_end_is_held_over_and_changes_across_a_gap_are_not_counted(window) -> None:
    values = [1.0] * 10 + [math.nan] * 3 + [500.0] * 10 + [math.nan]
    [made] = Persistence().forecast([window(values, end=24)], horizon=3)
    assert (quantiles(made) == 500.0).all(), "the leap over the gap is no step"


def test_where_little_is_known_the_band_is_not_narrow(window) -> None:
    [made] = Persistence(samples=200).forecast([window([80.0, 80.0, 80.0], end=3)], horizon=1)
    row = quantiles(made)[0]
    assert 2.0 < row[-1] - row[0] < 20.0


def test_rare_jumps_are_kept(window) -> None:
    values = np.zeros(101)
    values[50:] = 30.0
    [made] = Persistence(samples=5000, seed=3).forecast([window(values, end=100)], horizon=1)
    jumps = {path[0] for path in made.paths}
    assert jumps == {0.0, 30.0, 60.0}


def test_tags_and_moments_draw_futures_of_their_own(window) -> None:
    values = np.random.default_rng(6).normal(size=30)
    windows = [window(values, end=9, tag="x/a"), window(values, end=9, tag="x/b"), window(values, end=10, tag="x/c")]
    assert len({made.paths for made in Persistence().forecast(windows, horizon=4)}) == 3


def test_values_at_the_edge_of_what_a_number_can_be_stay_finite(window) -> None:
    values = [1.7e308, -1.7e308] * 10
    [made] = Persistence().forecast([window(values, end=20)], horizon=20)
    assert np.isfinite(quantiles(made)).all()
    assert np.isfinite(np.array(made.paths)).all()

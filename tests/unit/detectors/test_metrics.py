from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.metrics import (
    Scale,
    absolute_error,
    accuracy,
    coverage,
    crps,
    mase_scale,
    pinball,
    summarise,
)
from detectors.records import LEVELS

STEPS = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])


def rows(*medians: float) -> np.ndarray:
    return np.array(medians)[:, None, None] + STEPS


def test_a_series_is_summed_up_by_what_is_known_of_it() -> None:
    figures = summarise(np.array([1.0, math.nan, 2.0, 6.0]))
    assert (figures.mean, figures.median) == (3.0, 2.0)
    assert figures.variance == pytest.approx(14 / 3)
    assert figures.standard_deviation == pytest.approx(math.sqrt(14 / 3))


def test_absolute_errors_of_worked_numbers() -> None:
    errors = absolute_error(np.array([1.0, 2.0, math.nan]), np.array([4.0, 1.0, 0.0]))
    assert (errors.mean, errors.maximum, errors.minimum) == (2.0, 3.0, 1.0)


def test_pinball_weighs_what_lies_above_by_the_level_and_what_lies_below_by_the_rest() -> None:
    above = pinball(np.array([[10.0]]), rows(0.0))[0, 0]
    below = pinball(np.array([[-10.0]]), rows(0.0))[0, 0]
    assert above[0] == pytest.approx(0.05 * 13)
    assert below[0] == pytest.approx(0.95 * 7)
    assert above[-1] == pytest.approx(0.95 * 7)


def test_the_crps_of_a_certain_forecast_is_its_absolute_error() -> None:
    certain = np.full((1, 1, len(LEVELS)), 5.0)
    assert crps(np.array([[8.0]]), certain)[0, 0] == pytest.approx(3.0)


def test_the_crps_of_a_wide_normal_distribution_is_near_the_formula() -> None:
    # Gneiting & Raftery 2007, eq. 5, for the standard normal distribution at 0: 2 phi(0) - 1 / sqrt(pi).
    normal = np.array([-1.6449, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.6449])
    exact = 2 / math.sqrt(2 * math.pi) - 1 / math.sqrt(math.pi)
    assert crps(np.array([[0.0]]), normal[None, None, :])[0, 0] == pytest.approx(exact, rel=0.1)


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_no_forecast_scores_better_than_the_truth(measured: float, said: float) -> None:
    truth = np.full((1, 1, len(LEVELS)), measured)
    other = np.full((1, 1, len(LEVELS)), said)
    at = np.array([[measured]])
    assert crps(at, truth)[0, 0] <= crps(at, other)[0, 0]


def test_coverage_counts_the_ends_of_the_band_and_leaves_holes_out() -> None:
    measured = np.array([[2.0], [-2.0], [2.5], [math.nan]])
    quantiles = rows(0.0, 0.0, 0.0, 0.0)
    assert coverage(measured, quantiles, share=0.8) == pytest.approx(2 / 3)
    assert coverage(measured, quantiles, share=0.9) == 1.0


def test_the_scale_of_mase_is_the_error_of_the_seasonal_naive_forecast() -> None:
    history = np.array([1.0, 10.0, 3.0, 14.0, math.nan, 12.0])
    assert mase_scale(history, season=2) == pytest.approx((2 + 4 + 2) / 3)
    assert mase_scale(history) == pytest.approx((9 + 7 + 11) / 3)


@pytest.mark.parametrize("history", [[], [1.0], [4.0, 4.0, 4.0], [1.0, math.nan]])
def test_without_change_there_is_no_scale(history: list[float]) -> None:
    assert math.isnan(mase_scale(np.array(history)))


def test_normalised_values_are_0_and_1_at_the_ends_of_the_history() -> None:
    scale = Scale.of(np.array([10.0, math.nan, 30.0]))
    assert scale.normalise(np.array([10.0, 20.0, 40.0])).tolist() == [0.0, 0.5, 1.5]
    assert Scale.of(np.array([7.0, 7.0])).normalise(np.array([7.5]))[0] == 0.5
    assert Scale.of(np.array([math.nan])).normalise(np.array([2.0]))[0] == 2.0


def test_all_figures_of_a_forecast_at_once() -> None:
    figures = accuracy(np.array([[1.0], [-5.0], [math.nan]]), rows(0.0, 0.0, 0.0), scale=2.0)
    assert figures.count == 2
    assert figures.mean_absolute_error == 3.0
    assert figures.mase == 1.5
    assert figures.coverage80 == figures.coverage90 == 0.5
    assert figures.pinball == pytest.approx(pinball(np.array([[1.0], [-5.0]]), rows(0.0, 0.0)).mean())


def test_of_nothing_measured_nothing_is_said() -> None:
    figures = accuracy(np.full((2, 1), math.nan), rows(0.0, 0.0), scale=1.0)
    assert figures.count == 0
    assert math.isnan(figures.pinball)
    assert math.isnan(summarise(np.array([math.nan])).mean)
    assert math.isnan(absolute_error(np.array([]), np.array([])).maximum)
    assert math.isnan(coverage(np.array([[math.nan]]), rows(0.0), share=0.8))

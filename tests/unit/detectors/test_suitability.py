"""Tolerances against noise and natural change."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.suitability import measure


def test_white_noise_is_found_whatever_the_trend_and_the_faults() -> None:
    rng = np.random.default_rng(1)
    values = 5 + np.linspace(0, 100, 5000) + 0.1 * rng.standard_normal(5000)
    values[1000:1100] = 400.0
    found = measure(values, period_s=10)
    assert found is not None
    assert found.noise == pytest.approx(0.1, rel=0.05)
    assert not found.suits(0.29)
    assert found.suits(0.35)


def test_a_value_that_runs_away_between_two_samples_has_little_noise_and_a_large_change() -> None:
    values = 5 + 2 * np.sin(np.arange(2000) / 20)
    found = measure(values, period_s=900)
    assert found is not None
    assert found.noise < 0.01
    assert found.usual_change == pytest.approx(0.1, rel=0.02)
    assert found.mean_change == pytest.approx(0.1 * 2 / np.pi, rel=0.02)
    assert found.least == pytest.approx(0.1)
    assert found.suits(found.least)


def test_holes_are_no_changes_and_too_few_values_tell_nothing() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(1000)
    values[::3] = np.nan
    assert measure(values, period_s=1) is None
    assert measure(values[:50], period_s=1) is None


def test_a_value_that_never_moves_asks_for_nothing() -> None:
    found = measure(np.full(200, 4.2), period_s=1)
    assert found is not None
    assert found.least == 0.0

"""A drift that is steeper than ever before is seen; waves, steps and lonely peaks are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.forecasters.autoregression import Autoregression
from detectors.forecasters.trend import LONGEST, drift, usual_rise
from detectors.records import Window

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def hunting(steps: int, seed: int = 0) -> np.ndarray:
    """A controlled temperature: a wave of 17 steps, and noise."""
    dice = np.random.default_rng(seed)
    return 5 + 0.04 * np.sin(np.arange(steps) * 2 * np.pi / 17) + dice.normal(0, 0.015, steps)


HISTORY = hunting(1000)
USUAL = usual_rise(HISTORY)


def test_what_was_always_so_is_no_drift() -> None:
    rows = np.lib.stride_tricks.sliding_window_view(hunting(2000, seed=1), LONGEST)
    rise, _ = drift(rows, USUAL)
    assert (rise != 0).mean() < 0.01


@pytest.mark.parametrize("per_step", [0.006, -0.006, 0.02])
def test_a_drift_is_found_with_its_slope(per_step: float) -> None:
    row = hunting(LONGEST, seed=2) + per_step * np.maximum(np.arange(LONGEST) - 20, 0)
    rise, _ = drift(row[None], USUAL)
    assert rise[0] == pytest.approx(per_step, rel=0.5)


@pytest.mark.parametrize("course", ["step", "peak"])
def test_a_step_and_a_lonely_peak_are_no_drift(course: str) -> None:
    row = hunting(LONGEST, seed=3)
    if course == "step":
        row[40:] += 0.5
    else:
        row[50] += 2.0
    rise, _ = drift(row[None], USUAL)
    assert rise[0] == 0


@pytest.mark.parametrize(("bridged", "found"), [(slice(8, 30), False), (slice(20, 22), True)])
def test_the_bridge_over_a_long_hole_is_no_drift_and_a_missing_value_or_two_hide_none(
    bridged: slice, found: bool
) -> None:
    row = 5 + 0.01 * np.arange(LONGEST)
    holes = np.zeros((1, LONGEST), dtype=bool)
    holes[0, bridged] = True
    # Only the longer span is asked.
    rise, _ = drift(row[None], np.array([np.inf, 1e-5]), holes)
    assert bool(rise[0]) is found


def test_a_short_history_says_nothing_of_drifts() -> None:
    assert np.isinf(usual_rise(HISTORY[:40])).all()
    assert np.isinf(usual_rise(HISTORY[:300])).tolist() == [False, True]


@given(scale=st.floats(1e-3, 1e3), level=st.floats(-1e3, 1e3))
def test_it_does_not_depend_on_the_unit(scale: float, level: float) -> None:
    row = hunting(LONGEST, seed=2) + 0.01 * np.arange(LONGEST)
    rise, span = drift(row[None], USUAL)
    same, same_span = drift(level + scale * row[None], usual_rise(level + scale * HISTORY))
    assert same[0] == pytest.approx(scale * rise[0], rel=1e-3)
    assert span == same_span


def test_the_autoregression_goes_on_along_a_drift_that_it_has_never_seen() -> None:
    subject = Autoregression()
    values = np.concatenate((HISTORY, hunting(60, seed=4) + 0.006 * np.arange(60)))

    def window(end: int) -> Window:
        at = T0 + timedelta(seconds=60 * end)
        return Window(tag="hx/t", period_s=60, end_at=at, values=tuple(values[max(end - 128, 0) : end].tolist()))

    for end in range(100, len(HISTORY), 100):
        subject.learn([window(end)])
    subject.learn([window(len(HISTORY))])
    subject.refit("hx/t")
    for end in range(len(HISTORY) + 1, len(values) + 1):
        subject.learn([window(end)])
    (made,) = subject.forecast([window(len(values))], horizon=12)
    medians = np.array([row[3] for row in made.quantiles])
    expected = 5 + 0.006 * (60 + np.arange(12))
    assert np.abs(medians - expected).mean() < 0.06
    assert medians[6:].mean() > 5.3

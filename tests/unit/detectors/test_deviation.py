"""The measured value against the forecast band."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from detectors.detector import Step
from detectors.deviation import Deviation
from detectors.records import Forecast

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def forecast(made_s: float, *medians: float, half: float = 0.5) -> Forecast:
    spread = (-half, -half * 0.8, -half * 0.4, 0.0, half * 0.4, half * 0.8, half)
    return Forecast(
        tag="hx/t",
        forecaster="test",
        made_at=T0 + timedelta(seconds=made_s),
        period_s=10,
        quantiles=tuple(tuple(m + d for d in spread) for m in medians),
    )


def step(at_s: float, value: float | None) -> Step:
    return Step(tag="hx/t", end_at=T0 + timedelta(seconds=at_s), value=value, age_s=0.0)


def test_the_score_is_the_residual_in_half_bands() -> None:
    deviation = Deviation(minimum=0.1)
    deviation.expect(forecast(0, 5.0, 5.0))
    verdict = deviation.judge(step(10, 6.0))
    assert verdict is not None
    assert verdict.score == pytest.approx(2.0)
    assert (verdict.low, verdict.high) == (pytest.approx(4.5), pytest.approx(5.5))


def test_a_narrow_band_never_counts_less_than_the_minimum() -> None:
    deviation = Deviation(minimum=0.3)
    deviation.expect(forecast(0, 5.0, half=0.001))
    verdict = deviation.judge(step(10, 5.15))
    assert verdict is not None
    assert verdict.score == pytest.approx(0.5)


def test_the_newest_forecast_made_before_a_step_is_the_one_that_counts() -> None:
    deviation = Deviation(minimum=0.1)
    deviation.expect(forecast(0, 1.0, 1.0, 1.0))
    deviation.expect(forecast(10, 5.0, 5.0))
    first = deviation.judge(step(10, 1.0))
    second = deviation.judge(step(20, 5.0))
    assert [v and v.score for v in (first, second)] == [0.0, 0.0]


def test_a_step_that_nobody_forecast_and_a_hole_get_no_verdict() -> None:
    deviation = Deviation(minimum=0.1)
    assert deviation.judge(step(10, 5.0)) is None
    deviation.expect(forecast(0, 5.0))
    assert deviation.judge(step(10, None)) is None
    assert deviation.judge(step(20, 5.0)) is None


def test_memory_is_one_horizon() -> None:
    deviation = Deviation(minimum=0.1)
    for i in range(1000):
        deviation.expect(forecast(10 * i, *[5.0] * 12))
        deviation.judge(step(10 * i, 5.0))
    assert len(deviation._expected) <= 13

"""A band that follows its set point, and the time that a change of it gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from detectors.breach import Breach
from detectors.records import LEVELS, Forecast, Quality, Sample
from detectors.setpoint import FollowingBreach, FollowingTolerance, Setpoint

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def sample(value: float | None, seconds: float = 0.0, tag: str = "hx/t") -> Sample:
    at = T0 + timedelta(seconds=seconds)
    quality = Quality.BAD if value is None else Quality.GOOD
    return Sample(tag=tag, value=value, source_at=at, arrived_at=at, quality=quality)


def test_nothing_is_judged_before_a_set_point_was_told() -> None:
    setpoint = Setpoint(settle_s=0)
    rule = FollowingTolerance(setpoint=setpoint, tolerance=0.5)
    assert rule.judge(sample(9.0)) is None
    setpoint.see(sample(5.0, 1))
    verdict = rule.judge(sample(6.0, 2))
    assert verdict is not None
    assert (verdict.score, verdict.low, verdict.high) == (2.0, 4.5, 5.5)


def test_a_change_gives_the_plant_time_to_follow() -> None:
    setpoint = Setpoint(settle_s=60, slack=0.05)
    rule = FollowingTolerance(setpoint=setpoint, tolerance=0.5)
    setpoint.see(sample(5.0, 0))
    setpoint.see(sample(7.0, 100))
    scores = [v.score for s in (159, 160) if (v := rule.judge(sample(5.0, s))) is not None]
    assert scores == [0.0, 4.0]


def test_a_set_point_that_only_trembles_does_not_excuse_the_value_for_ever() -> None:
    setpoint = Setpoint(settle_s=60, slack=0.05)
    for second in range(200):
        setpoint.see(sample(5.0 + 0.02 * (second % 2), second))
    assert not setpoint.settling(T0 + timedelta(seconds=200))


def test_a_bad_or_older_report_leaves_the_set_point_as_it_was() -> None:
    setpoint = Setpoint(value=4.0, settle_s=0)
    setpoint.see(sample(5.0, 10))
    setpoint.see(sample(None, 11))
    setpoint.see(sample(9.0, 5))
    assert setpoint.value == 5.0


def test_a_breach_is_foretold_of_the_band_that_holds_now() -> None:
    setpoint = Setpoint(value=5.0, settle_s=60)
    rule = FollowingBreach(setpoint=setpoint, tolerance=0.5, breach=Breach(low=0, high=1, probability=0.5))
    forecast = Forecast(
        tag="hx/t", forecaster="f", made_at=T0, period_s=10, quantiles=((7.0,) * len(LEVELS),), paths=((7.0,),)
    )
    found = rule.judge(forecast)
    assert found is not None
    assert (found.low, found.high, found.probability) == (4.5, 5.5, 1.0)
    setpoint.see(sample(5.0, -2))
    setpoint.see(sample(7.0, -1))
    assert rule.judge(forecast) is None, "settling"


def test_a_tolerance_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        FollowingTolerance(setpoint=Setpoint(settle_s=0), tolerance=0)

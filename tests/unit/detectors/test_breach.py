"""The probability of leaving the band, and when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.breach import Breach
from detectors.records import LEVELS, Forecast

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BREACH = Breach(low=4.8, high=5.2, probability=0.8)


def forecast(paths: list[list[float]] | None = None, quantiles: list[list[float]] | None = None) -> Forecast:
    rows = quantiles or [[5.0] * len(LEVELS)] * len((paths or [[]])[0])
    return Forecast(
        tag="hx/t",
        forecaster="test",
        made_at=T0,
        period_s=10,
        quantiles=tuple(map(tuple, rows)),
        paths=tuple(map(tuple, paths or [])),
    )


def test_the_share_of_futures_that_leave_the_band_is_the_probability() -> None:
    paths = [[5.0, 5.3, 5.4, 5.4], [5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 4.7, 4.7], [5.0, 5.1, 5.3, 5.3]]
    verdict = BREACH.judge(forecast(paths))
    assert verdict is not None
    assert verdict.probability == pytest.approx(0.75)
    assert verdict.score == pytest.approx(0.75 / 0.8)
    assert verdict.lead_s == pytest.approx(30)  # crossings at steps 2, 3 and 3


@pytest.mark.parametrize(("path", "left"), [([5.0, 5.3, 5.0, 4.7, 5.0], False), ([5.3, 5.3], True), ([5.3], True)])
def test_a_future_that_is_outside_for_one_step_of_several_has_not_left(path: list[float], left: bool) -> None:
    verdict = BREACH.judge(forecast([path]))
    assert verdict is not None
    assert verdict.probability == float(left)


def test_without_a_crossing_there_is_no_lead() -> None:
    verdict = BREACH.judge(forecast([[5.0, 5.2], [4.8, 5.0]]))
    assert verdict is not None
    assert (verdict.probability, verdict.score, verdict.lead_s) == (0.0, 0.0, None)


def test_quantiles_alone_give_the_worst_two_neighbouring_steps() -> None:
    calm = [4.9, 4.92, 4.96, 5.0, 5.04, 5.08, 5.1]
    half_out = [5.0, 5.05, 5.1, 5.2, 5.3, 5.4, 5.5]
    verdict = BREACH.judge(forecast(quantiles=[calm, half_out, calm, half_out, half_out]))
    assert verdict is not None
    assert verdict.probability == pytest.approx(0.5)
    assert verdict.lead_s == pytest.approx(40)


def test_a_forecast_that_is_unsure_of_the_very_next_step_calls_nothing_a_breach() -> None:
    unsure = [4.6, 4.7, 4.9, 5.0, 5.1, 5.3, 5.4]
    assert BREACH.judge(forecast([[5.5, 5.5]] * 8, quantiles=[unsure, unsure])) is None


@given(st.lists(st.floats(4.9, 5.3), min_size=7, max_size=7).map(sorted))
def test_a_probability_from_quantiles_is_a_probability(row: list[float]) -> None:
    verdict = BREACH.judge(forecast(quantiles=[row]))
    if row[-1] - row[0] <= 0.4:
        assert verdict is not None
        assert verdict.probability is not None
        assert 0 <= verdict.probability <= 1

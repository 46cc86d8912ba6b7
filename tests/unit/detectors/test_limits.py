"""The tolerance band."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from detectors.limits import Level, Tolerance
from detectors.records import Quality, Sample

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def sample(value: float | None, quality: Quality = Quality.GOOD) -> Sample:
    return Sample(tag="hx/t", value=value, source_at=T0, arrived_at=T0, quality=quality)


@pytest.mark.parametrize(("value", "score"), [(5.0, 0.0), (5.1, 0.5), (4.8, 1.0), (5.2, 1.0), (5.5, 2.5), (4.0, 5.0)])
def test_the_score_is_the_distance_from_the_set_point_in_tolerances(value: float, score: float) -> None:
    verdict = Tolerance(setpoint=5.0, tolerance=0.2).judge(sample(value))
    assert verdict is not None
    assert verdict.score == pytest.approx(score)
    assert (verdict.low, verdict.high, verdict.value) == (pytest.approx(4.8), pytest.approx(5.2), value)


def test_a_bad_sample_gets_no_verdict() -> None:
    assert Tolerance(setpoint=5.0, tolerance=0.2).judge(sample(None, Quality.BAD)) is None


def test_a_band_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="expected more than 0, found 0"):
        Tolerance(setpoint=5.0, tolerance=0)


@pytest.mark.parametrize(
    ("limit", "reference", "value", "score"),
    [(9.0, 5.0, 9.0, 1.0), (9.0, 5.0, 11.0, 1.5), (9.0, 5.0, 2.0, 0.0), (2.0, 6.0, 0.0, 1.5), (2.0, 6.0, 8.0, 0.0)],
)
def test_a_level_is_passed_on_its_own_side(limit: float, reference: float, value: float, score: float) -> None:
    verdict = Level(limit=limit, reference=reference, rule="high").judge(sample(value))
    assert verdict is not None
    assert verdict.score == pytest.approx(score)
    assert (verdict.low, verdict.high) == ((None, limit) if limit > reference else (limit, None))


def test_a_level_without_a_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="reference"):
        Level(limit=5, reference=5, rule="high")

"""Whether a signal is sound: quality, physical range, staleness."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from detectors.detector import Step
from detectors.records import Quality, Sample
from detectors.signal import Physical, Soundness, Stale

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def sample(value: float | None, quality: Quality = Quality.GOOD, reason: str = "") -> Sample:
    return Sample(tag="hx/t", value=value, source_at=T0, arrived_at=T0, quality=quality, reason=reason)


def test_bad_is_a_violation_uncertain_is_half_way_and_the_reason_is_kept() -> None:
    scores = [Soundness().judge(sample(1.0, quality)) for quality in (Quality.GOOD, Quality.UNCERTAIN)]
    assert [v and v.score for v in scores] == [0.0, 0.5]
    bad = Soundness().judge(sample(None, Quality.BAD, "BadSensorFailure"))
    assert bad is not None
    assert bad.score > 1
    assert bad.facts is not None
    assert bad.facts.code == "BadSensorFailure"


def test_both_ends_of_the_physical_range_are_possible() -> None:
    physical = Physical(low=-20, high=60)
    for value in (-20.0, 60.0):
        verdict = physical.judge(sample(value))
        assert verdict is not None
        assert verdict.score == pytest.approx(1.0)
        assert physical.sieve(sample(value)).value == value


def test_what_the_sensor_cannot_show_is_taken_for_bad() -> None:
    physical = Physical(low=-20, high=60)
    verdict = physical.judge(sample(150.0))
    assert verdict is not None
    assert verdict.score > 1
    sieved = physical.sieve(sample(150.0))
    assert (sieved.value, sieved.quality, sieved.reason) == (None, Quality.BAD, "outside_physical_range")


def test_the_age_counts_in_hold_times() -> None:
    stale = Stale(hold_s=60)
    step = Step(tag="hx/t", end_at=T0, value=1.0, age_s=90.0)
    verdict = stale.judge(step)
    assert verdict is not None
    assert verdict.score == pytest.approx(1.5)
    assert stale.judge(Step(tag="hx/t", end_at=T0, value=None, age_s=None)) is None

"""Shift: a level that moves is found, a fault does not become normal, and a slow course is followed."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.baseline import survey
from detectors.detector import Step
from detectors.shift import Shift, shifts

START = datetime(2026, 1, 1, tzinfo=UTC)


def scores(detector: Shift, values: list[float | None]) -> list[float | None]:
    found: list[float | None] = []
    alarm = False
    for i, value in enumerate(values):
        step = Step(tag="pump/flow", end_at=START + timedelta(seconds=i), value=value, age_s=0.0)
        verdict = detector.judge(step)
        assert detector.judge(step) == verdict
        found.append(None if verdict is None else verdict.score)
        if verdict is not None:
            alarm = verdict.score > (0.5 if alarm else 1)
        detector.learn(step, normal=not alarm)
    return found


def test_the_score_is_the_distance_of_the_mean_in_scales():
    detector = Shift(level=10, scale=2, length=4, follow=1_000_000)
    found = scores(detector, [10, 10, 10, 10, 14, 14, 14, 14])
    assert found[1:] == pytest.approx([0, 0, 0, 0.5, 1, 1.5, 2], abs=1e-3)


def test_a_fault_of_a_week_stays_in_alarm_all_week():
    rng = np.random.default_rng(0)
    values = (30 + 0.5 * rng.normal(size=20_400)).tolist()
    detector = shifts(survey(np.array(values[:400])[:, None], ("pump/flow",)))["pump/flow"]
    values[1000:] = [28.5 + value - 30 for value in values[1000:]]
    found = scores(detector, values[400:])
    assert max(s for s in found[:600] if s is not None) < 1
    assert min(s for s in found[620:] if s is not None) > 1
    assert detector.level == pytest.approx(30, abs=0.3)


def test_a_level_that_moves_slowly_is_followed():
    rng = np.random.default_rng(0)
    values = 30 + 0.5 * rng.normal(size=5000) + np.maximum(np.arange(5000) - 400, 0) * 0.0005
    detector = shifts(survey(values[:400, None], ("pump/flow",), chance=1e-9))["pump/flow"]
    assert max(s for s in scores(detector, values[400:].tolist()) if s is not None) < 1


def test_a_hole_has_no_verdict_and_half_a_mean_suffices():
    detector = Shift(level=0, scale=1, length=6, follow=100)
    assert [s is None for s in scores(detector, [0, 0, 0, None, 0])] == [True, True, False, True, False]


def test_drifting_and_constant_tags_have_none():
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.normal(size=400), np.arange(400.0), np.ones(400)])
    assert list(shifts(survey(values, ("a", "b", "c")))) == ["a"]


def test_a_scale_of_nought_is_refused():
    with pytest.raises(ValueError, match="shift: expected a scale above 0"):
        Shift(level=0, scale=0, length=5, follow=10)

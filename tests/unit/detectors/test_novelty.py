"""Novelty: what has been seen is no news, what has no like is."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.detector import Step
from detectors.novelty import Novelty

START = datetime(2026, 1, 1, tzinfo=UTC)


def scores(detector: Novelty, values: Iterable[float | None], *, clear_below: float = 0.7) -> list[float | None]:
    """The score of every step; what is above 1 is held in alarm until it is at or below `clear_below`."""
    found: list[float | None] = []
    alarm = False
    for i, value in enumerate(values):
        step = Step(tag="pump/flow", end_at=START + timedelta(seconds=i), value=value, age_s=0.0)
        verdict = detector.judge(step)
        found.append(None if verdict is None else verdict.score)
        if verdict is not None:
            alarm = verdict.score > (clear_below if alarm else 1)
        detector.learn(step, normal=not alarm)
    return found


def daily(steps: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 20 + 10 * (np.arange(steps) % 100 > 60) + 0.1 * rng.normal(size=steps)


def test_a_peak_that_comes_every_day_is_no_news_and_a_day_without_its_plateau_is():
    values = daily(1200)
    values[1000:1040] = 25
    found = scores(Novelty(memory=1024), values.tolist())
    before = [s for s in found[400:1000] if s is not None]
    assert max(before) < 1
    assert max(s for s in found[1000:1015] if s is not None) > 1


def test_a_fault_stays_novel_however_long_it_lasts_and_is_known_once_it_is_over():
    values = daily(3400)
    values[1000:3000] = 50
    values[3200:3300] = 50
    found = scores(Novelty(memory=512), values.tolist())
    assert min(s for s in found[1012:3000] if s is not None) > 1
    assert max(s for s in found[3215:3290] if s is not None) < 1


def test_judging_changes_nothing():
    one, other = Novelty(memory=256), Novelty(memory=256)
    for i, value in enumerate(daily(600).tolist()):
        step = Step(tag="pump/flow", end_at=START + timedelta(seconds=i), value=value, age_s=0.0)
        first = one.judge(step)
        assert one.judge(step) == first == other.judge(step)
        one.learn(step, normal=True)
        other.learn(step, normal=True)


def test_nothing_is_said_across_a_hole_and_a_signal_that_stands_still_is_as_expected():
    values: list[float | None] = [5.0] * 400
    values[300] = None
    found = scores(Novelty(length=12, memory=256), values)
    assert found[300:312] == [None] * 12
    assert {s for s in found[312:] if s is not None} == {0.0}
    assert found[312] is not None


def test_the_distance_is_that_of_the_obvious_reckoning():
    rng = np.random.default_rng(4)
    values = rng.normal(size=300)
    detector = Novelty(length=5, memory=128, edge=2, usual=0.5)
    for i, value in enumerate(values.tolist()):
        step = Step(tag="pump/flow", end_at=START + timedelta(seconds=i), value=value, age_s=0.0)
        verdict = detector.judge(step)
        if verdict is not None:
            past = values[max(0, i - 128) : i - 5]
            nearest = min(
                math.sqrt(np.mean((past[j : j + 5] - values[i - 4 : i + 1]) ** 2)) for j in range(len(past) - 4)
            )
            assert verdict.facts.figure("steps") == 5
            assert verdict.facts.figure("distance") == pytest.approx(nearest, abs=1e-6)
        detector.learn(step, normal=True)


def test_a_distance_below_the_minimum_is_never_novel():
    values = daily(800)
    values[600:620] += 3
    assert max(s for s in scores(Novelty(memory=512), values.tolist())[600:] if s is not None) > 1
    assert max(s for s in scores(Novelty(memory=512, minimum=4), values.tolist())[600:] if s is not None) < 1


@pytest.mark.parametrize("settings", [{"length": 1}, {"memory": 10}, {"edge": 1.0}, {"usual": 1.0}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="novelty: expected"):
        Novelty(**settings)

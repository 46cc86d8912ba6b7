"""Drift and rarity by river: a change is found, what is in alarm is not learnt, judging changes nothing."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

pytest.importorskip("river", reason="pip install 'givre[learn]'")

from detectors.detector import Step
from detectors.drift import Drift, Rarity

START = datetime(2026, 1, 1, tzinfo=UTC)


def run(detector: Drift | Rarity, values: list[float | None], *, normal: bool = True) -> np.ndarray:
    found = []
    for i, value in enumerate(values):
        step = Step(tag="pump/flow", end_at=START + timedelta(seconds=i), value=value, age_s=0.0)
        verdict = detector.judge(step)
        assert detector.judge(step) == verdict
        found.append(np.nan if verdict is None else verdict.score)
        detector.learn(step, normal=normal)
    return np.array(found)


def noise(steps: int, seed: int = 0) -> np.ndarray:
    return 30 + np.random.default_rng(seed).normal(size=steps)


def test_a_mean_that_moves_is_found_told_and_then_past():
    detector = Drift()
    assert run(detector, noise(1000).tolist()).max() == 0
    found = run(detector, (noise(400, seed=1) + 2).tolist())
    assert found[:100].max() > 1
    assert found[-1] == 0


def test_a_move_below_the_minimum_is_none():
    detector = Drift(minimum=5)
    assert run(detector, [*noise(1000).tolist(), *(noise(400, seed=1) + 2).tolist()]).max() == 0


def test_what_is_not_normal_is_not_learnt():
    detector = Drift()
    run(detector, noise(1000).tolist())
    assert run(detector, (noise(400, seed=1) + 2).tolist(), normal=False).max() == 0


def test_what_is_far_out_is_rare_and_what_is_usual_is_not():
    detector = Rarity()
    usual = run(detector, noise(1200).tolist())
    assert np.nanmean(usual > 1) < 0.05
    assert run(detector, [60.0, 60.0, 60.0], normal=False).max() > 1


def test_rarity_says_nothing_before_it_knows_and_nothing_of_a_hole():
    detector = Rarity()
    found = run(detector, noise(300).tolist())
    assert np.isnan(found).all()
    run(detector, noise(1000).tolist())
    assert np.isnan(run(detector, [None, 30.0])).all()


@pytest.mark.parametrize("make", [lambda: Drift(chance=0), lambda: Drift(shown=0), lambda: Rarity(window=10)])
def test_settings_that_cannot_be_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()

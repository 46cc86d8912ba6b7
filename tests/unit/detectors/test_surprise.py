"""Surprise: false alarms are no more than promised, faults are found, drift by its side."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.records import Score
from detectors.surprise import Purse, Surprise

START = datetime(2026, 1, 1, tzinfo=UTC)


def score(pit: float, i: int = 0) -> Score:
    at = START + timedelta(seconds=i)
    return Score(tag="hx/outlet", forecaster="panel", at=at, value=5.0, pit=pit, log_score=0, log_probability=0)


def run(detector: Surprise, pits: np.ndarray) -> np.ndarray:
    found = []
    for i, pit in enumerate(pits.tolist()):
        verdict = detector.judge(score(pit, i))
        assert verdict is not None
        found.append(verdict.score)
        detector.learn(score(pit, i))
    return np.array(found)


@pytest.mark.parametrize("directions", [("outward", "upward", "downward"), ("outward",), ("upward",)])
def test_on_uniform_pits_false_alarms_within_n_steps_are_no_more_than_promised(directions):
    alpha, steps, days = 1e-3, 200, 300
    rng = np.random.default_rng(11)
    alarmed = [
        (run(Surprise(alpha=alpha, directions=directions), rng.uniform(size=steps)) > 1).any() for _ in range(days)
    ]
    # The promise is a share of 0.2; the bets are not so wasteful that nothing of it is used.
    assert 0 < np.mean(alarmed) <= steps * alpha


def test_the_mean_time_to_a_false_alarm_is_at_least_one_in_alpha():
    alpha, rng, waits = 0.01, np.random.default_rng(5), []
    for _ in range(150):
        detector = Surprise(alpha=alpha)
        for step in range(1, 3000):  # noqa: B007 -- read after the loop
            pit = float(rng.uniform())
            verdict = detector.judge(score(pit))
            detector.learn(score(pit))
            if verdict is not None and verdict.score > 1:
                break
        waits.append(step)
    assert np.mean(waits) >= 1 / alpha


def test_the_promise_holds_for_half_cells_too():
    rng = np.random.default_rng(2)
    pits = (np.floor(rng.uniform(size=4000) * 5) + 0.5) / 5
    assert run(Surprise(alpha=1e-4), pits).max() < 1


@pytest.mark.parametrize(
    ("pits", "direction"),
    [
        (np.tile([0.001, 0.999], 30), "outward"),
        (np.random.default_rng(0).beta(2.5, 1, size=150), "upward"),
        (np.random.default_rng(0).beta(1, 2.5, size=150), "downward"),
    ],
    ids=["both ends", "leaning up", "leaning down"],
)
def test_what_is_not_as_expected_is_found_after_a_quiet_year_and_named(pits, direction):
    detector = Surprise(alpha=1e-4)
    run(detector, np.random.default_rng(3).uniform(size=5000))
    found = run(detector, pits)
    assert found[0] < 1 < found[-1]
    verdict = detector.judge(score(float(pits[-1])))
    assert verdict is not None
    assert verdict.facts.code == direction


def test_the_end_of_a_fault_is_seen_however_long_it_was():
    detector = Surprise(alpha=1e-3)
    run(detector, np.full(5000, 0.9999))
    assert run(detector, np.random.default_rng(1).uniform(size=150))[-1] < 0.75


def test_no_step_of_its_own_makes_an_alarm():
    assert run(Surprise(alpha=0.01), np.array([0.0]))[0] < 1


def test_a_new_detector_goes_on_where_the_old_one_was():
    rng = np.random.default_rng(9)
    first, rest = rng.uniform(size=50), rng.beta(3, 1, size=50)
    old = Surprise(alpha=1e-3)
    run(old, first)
    new = Surprise(alpha=1e-3, purse=old.purse)
    assert run(new, rest).tolist() == run(old, rest).tolist()
    new.begin_anew()
    assert new.purse == Surprise(alpha=1e-3).purse


def test_what_another_forecaster_had_expected_does_not_count():
    detector = Surprise(alpha=1e-3, forecaster="language")
    assert detector.judge(score(0.001)) is None
    detector.learn(score(0.001))
    assert detector.purse == Surprise(alpha=1e-3).purse


def test_a_pit_that_is_none_is_passed_over():
    detector = Surprise(alpha=1e-3)
    assert detector.judge(score(float("nan"))) is None
    detector.learn(score(float("nan")))
    assert detector.purse == Surprise(alpha=1e-3).purse


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"alpha": 0.01, "directions": ("sideways",)},
        {"alpha": 0.01, "directions": ()},
        {"alpha": 0.01, "purse": Purse(sums=(("outward", (float("nan"), 0.0, 0.0)),))},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="surprise: expected"):
        Surprise(**settings)

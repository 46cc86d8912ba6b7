"""How far is each member of a mixture to be trusted?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.forecasters.weighting import awake, bound, updated

SHARE = 0.01
SEQUENCES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=40).flatmap(
    lambda shape: hnp.arrays(np.float64, (shape[0], min(shape[1], 7)), elements=st.floats(-690, 0))
)


def run(logs: np.ndarray, share: float, rate: float = 1.0) -> float:
    """Log-loss of the mixture over a sequence (steps, members)."""
    weights, loss = np.full(logs.shape[1], 1 / logs.shape[1]), 0.0
    for row in logs:
        loss -= float(np.logaddexp.reduce(np.log(weights) + row))
        weights = updated(weights, row, share=share, rate=rate)
    return loss


@settings(max_examples=150)
@given(SEQUENCES, st.sampled_from([1e-4, 0.01, 0.2]), st.sampled_from([1.0, 0.5, 1 / 12]))
def test_the_mixture_is_never_further_behind_the_best_member_than_the_bound(logs, share, rate) -> None:
    steps, members = logs.shape
    best = float((-logs.sum(axis=0)).min())
    assert run(logs, share, rate) <= best + bound(members, steps, share=share, rate=rate) + 1e-6


@settings(max_examples=100)
@given(SEQUENCES, st.data())
def test_nor_behind_a_member_and_then_another(logs, data) -> None:
    steps, members = logs.shape
    change = data.draw(st.integers(1, steps - 1))
    first, then = data.draw(st.permutations(range(members)))[:2]
    followed = -float(logs[:change, first].sum() + logs[change:, then].sum())
    assert run(logs, SHARE) <= followed + bound(members, steps, share=SHARE, changes=1) + 1e-6


def test_the_bound_is_tight_where_one_member_is_always_right() -> None:
    logs = np.tile([0.0, -500.0, -500.0, -500.0], (100, 1))
    assert run(logs, SHARE) == pytest.approx(bound(4, 100, share=SHARE), abs=1e-9)


def test_at_a_lower_rate_one_step_says_less() -> None:
    logs = np.array([[0.0, -2.0], [0.0, -2.0]])
    found = updated(np.full((2, 2), 0.5), logs, share=np.array([0.0, 0.0]), rate=np.array([1.0, 0.25]))
    assert found[:, 1] / found[:, 0] == pytest.approx([math.exp(-2.0), math.exp(-0.5)])


def test_a_member_comes_back_within_the_steps_that_the_share_allows() -> None:
    weights = np.full(2, 0.5)
    for _ in range(1000):
        weights = updated(weights, np.array([0.0, -2.0]), share=SHARE)
    assert weights[0] > 0.99
    for _ in range(4):
        weights = updated(weights, np.array([-2.0, 0.0]), share=SHARE)
    assert weights[1] > 0.9


def test_who_sleeps_neither_gains_nor_loses() -> None:
    weights = np.array([0.5, 0.3, 0.2])
    found = updated(weights, np.array([-1.0, math.nan, -3.0]), share=0.0)
    assert found[1] == pytest.approx(0.3)
    assert found[0] / found[2] == pytest.approx(0.5 / 0.2 * math.exp(2))
    assert updated(weights, np.array([math.nan, -9.0, math.nan]), share=0.0) == pytest.approx(weights)
    assert (updated(weights, np.full(3, math.nan), share=0.1) == weights).all()


def test_weights_stay_weights_however_bad_all_are() -> None:
    found = updated(np.array([0.2, 0.8]), np.array([-690.0, -689.0]), share=SHARE)
    assert found.sum() == pytest.approx(1.0)
    assert found[1] > 0.9


def test_those_that_speak_share_all_weight() -> None:
    said = np.array([[True, False, True], [False, False, False]])
    found = awake(np.full((2, 3), 1 / 3), said)
    assert found.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]

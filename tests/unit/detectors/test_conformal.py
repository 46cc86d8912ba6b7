"""Do the bands still hold as often as they say?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.forecasters.conformal import LARGEST, corrected, learnt
from detectors.records import LEVELS

NORMAL = np.array([-1.6449, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.6449])


def follow(values: np.ndarray, quantiles: np.ndarray, *, rate: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Whether each value fell below each published quantile (steps, 7), and the widths at the end."""
    widths, surplus, below = np.zeros(7), np.zeros(7), []
    for value in values:
        below.append(value < corrected(quantiles, widths))
        widths, surplus = learnt(widths, surplus, quantiles, np.array(value), rate=rate)
    return np.array(below), widths


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_bands_that_are_too_wide_or_too_narrow_come_to_hold(scale) -> None:
    values = np.random.default_rng(0).normal(size=6000) * scale
    below, _ = follow(values, NORMAL)
    inside80 = (~below[1000:, 1] & below[1000:, 5]).mean()
    inside90 = (~below[1000:, 0] & below[1000:, 6]).mean()
    assert inside80 == pytest.approx(0.8, abs=0.015)
    assert inside90 == pytest.approx(0.9, abs=0.015)


def test_coverage_comes_back_after_a_shift() -> None:
    """Of many sequences at once: after the values have come to lie three times as far out."""
    rng = np.random.default_rng(1)
    widths, surplus, held = np.zeros((200, 7)), np.zeros((200, 7)), []
    rows = np.broadcast_to(NORMAL, (200, 7))
    for step in range(1200):
        values = rng.normal(size=200) * (1 if step < 800 else 3)
        band = corrected(rows, widths)
        held.append(((band[:, 1] <= values) & (values <= band[:, 5])).mean())
        widths, surplus = learnt(widths, surplus, rows, values, rate=0.02)
    assert np.mean(held[600:800]) == pytest.approx(0.8, abs=0.01)
    assert np.mean(held[800:820]) < 0.5, "the shift is felt"
    assert np.mean(held[960:980]) > 0.75, "and followed"
    assert np.mean(held[1000:]) == pytest.approx(0.8, abs=0.03)


def test_each_side_is_corrected_by_itself() -> None:
    values = np.abs(np.random.default_rng(2).normal(size=4000)) * 2
    _, widths = follow(values, NORMAL)
    assert (widths[:3] < -1).all(), "nothing is ever below: the lower side closes up"
    assert (widths[4:] > 0.3).all()


@settings(max_examples=30)
@given(hnp.arrays(np.float64, 400, elements=st.floats(-1e9, 1e9)))
def test_on_any_sequence_the_misses_weighed_by_their_rate_are_as_many_as_the_bound_says(values) -> None:
    widths, surplus, rate = np.zeros(7), np.zeros(7), 0.05
    misses, rates, inside = np.zeros(7), np.zeros(7), np.ones(7, dtype=bool)
    wanted = np.minimum(LEVELS, 1 - np.array(LEVELS))
    for value in values:
        band, before = corrected(NORMAL, widths), widths
        missed = np.where(np.arange(7) < 3, value < band, value > band)
        widths, surplus = learnt(widths, surplus, NORMAL, np.array(value), rate=rate)
        inside &= np.abs(widths) < LARGEST
        used = (widths - before) / (missed - wanted)
        misses += used * missed
        rates += used
    keep = inside & (np.arange(7) != 3)
    assert (rates[keep] >= rate * len(values) - 1e-9).all()
    assert (misses[keep] / rates[keep] <= wanted[keep] + LARGEST / rates[keep] + 1e-9).all()


@given(
    hnp.arrays(np.float64, 7, elements=st.floats(-1e300, 1e300)),
    hnp.arrays(np.float64, 7, elements=st.floats(-LARGEST, LARGEST)),
)
def test_quantiles_stay_sorted_and_finite_and_the_median_where_it_is(raw, widths) -> None:
    q = np.sort(raw)
    found = corrected(q, widths)
    assert (np.diff(found) >= 0).all()
    assert np.isfinite(found).all()
    assert found[3] == q[3]


def test_no_correction_is_none() -> None:
    np.testing.assert_allclose(corrected(NORMAL, np.zeros(7)), NORMAL)


def test_a_constant_stays_certain_and_teaches_nothing() -> None:
    q = np.full(7, 5.0)
    _, widths = follow(np.array([5.0] * 50 + [6.0] * 5), q)
    assert (widths == 0).all()
    assert corrected(q, np.ones(7)).tolist() == q.tolist()


def test_what_is_not_known_teaches_nothing() -> None:
    widths = np.full((2, 7), 0.3)
    rows = np.stack((NORMAL, np.full(7, np.nan)))
    found, surplus = learnt(widths, np.zeros((2, 7)), rows, np.array([np.nan, 9.0]), rate=0.05)
    assert (surplus == 0).all()
    assert (np.delete(found, 3, axis=1) == 0.3).all()

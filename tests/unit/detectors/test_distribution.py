"""Which distribution do seven published quantiles stand for?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.forecasters.distribution import LEAST_LOG, cdf, log_probability, mix, quantile, sample
from detectors.records import LEVELS

NORMAL = np.array([-1.6449, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.6449])
ATOM = np.full(7, 5.0)
SORTED = hnp.arrays(np.float64, 7, elements=st.floats(-1e6, 1e6).map(lambda x: round(x, 3))).map(np.sort)


def test_the_quantiles_are_met_and_the_tails_go_on() -> None:
    assert cdf(NORMAL, 0.0) == pytest.approx(0.5)
    assert [float(cdf(NORMAL, x)) for x in NORMAL] == pytest.approx(LEVELS)
    assert float(cdf(NORMAL, -0.6745 / 2)) == pytest.approx(0.375)
    # The normal distribution has 0.0228 and 0.00135 there.
    assert float(cdf(NORMAL, -2.0)) == pytest.approx(0.019, abs=0.002)
    assert 1 - float(cdf(NORMAL, 3.0)) == pytest.approx(0.0012, abs=0.0003)


def test_an_atom_has_all_its_mass_at_its_value() -> None:
    assert [float(cdf(ATOM, x)) for x in (4.999, 5.0, 5.001)] == [0.0, 1.0, 1.0]
    half = np.array([1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0])
    assert float(cdf(half, 1.0)) == pytest.approx(0.5), "all mass up to the median lies on one value"
    assert float(cdf(half, 0.999)) == 0.0


@given(SORTED, st.floats(-2e6, 2e6), st.floats(0, 1e6))
def test_a_distribution_function_rises_from_nought_to_one(q, x, step) -> None:
    low, high = float(cdf(q, x)), float(cdf(q, x + step))
    assert 0.0 <= low <= high + 1e-12 <= 1.0 + 1e-12


@given(SORTED, st.floats(0.001, 0.999))
def test_quantile_is_the_inverse(q, level) -> None:
    [value] = quantile(q, [level])
    scale = q[-1] - q[0] + 1e-9
    assert float(cdf(q, value + 1e-7 * scale + 1e-9)) >= level - 1e-4
    assert float(cdf(q, value - 1e-7 * scale - 1e-9)) <= level + 1e-4


def test_the_log_probability_of_cells_adds_up_to_all_there_is() -> None:
    edges = np.linspace(-60, 60, 6001)
    q = np.broadcast_to(NORMAL, (6000, 7))
    total = float(np.exp(log_probability(q, edges[:-1], edges[1:])).sum())
    assert total == pytest.approx(1.0, abs=1e-4)


def test_the_log_probability_of_a_cell_is_its_share() -> None:
    assert float(log_probability(NORMAL, 0.0, 0.6745)) == pytest.approx(math.log(0.25), abs=0.002)


def test_no_surprise_costs_without_bound() -> None:
    far = log_probability(np.broadcast_to(ATOM, (4, 7)), [5.1, 8, 1e6, 1e308], [5.2, 9, 1e6 + 1, 1.5e308], spread=1.0)
    assert np.isfinite(far).all()
    assert far[0] == pytest.approx(math.log(1e-3 * 0.1 / math.pi), abs=0.1)
    assert (np.diff(far[:3]) < 0).all()
    assert (far >= LEAST_LOG).all()
    sure = float(log_probability(ATOM, 4.95, 5.05, spread=1.0))
    assert -0.0011 < sure <= 0.0, "and being broad costs next to nothing"


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1.0, 1e140, 1e300])
def test_no_magnitude_breaks_it(scale) -> None:
    q = NORMAL * scale
    assert float(cdf(q, 0.6745 * scale)) == pytest.approx(0.75)
    assert float(log_probability(q, 0.0, 0.6745 * scale)) == pytest.approx(math.log(0.25), abs=0.01)
    mixed = mix(np.stack((q, q)), np.array([0.3, 0.7]))
    np.testing.assert_allclose(mixed, q, rtol=0.02, atol=1e-9 * scale)


LEAST = np.zeros((4, 7))
LEAST[0, 0], LEAST[1, 0] = -1.0, 5e-324


@settings(max_examples=60)
@example(LEAST, [0, 0, 0, 0])
@given(
    hnp.arrays(np.float64, (4, 7), elements=st.floats(-1e3, 1e3)), st.lists(st.integers(0, 9), min_size=4, max_size=4)
)
def test_a_mixture_has_the_levels_that_its_members_give_it(raw, shares) -> None:
    q = np.sort(raw, axis=1)
    w = np.array(shares, dtype=float) + (1.0 if not sum(shares) else 0.0)
    w /= w.sum()
    found = mix(q, w)
    assert (np.diff(found) >= 0).all()
    for level, value in zip(LEVELS, found, strict=True):
        nudge = 1e-5 * (np.ptp(q) + 1e-6)
        below = float((w * cdf(q, np.full(4, value - nudge))).sum())
        above = float((w * cdf(q, np.full(4, value + nudge))).sum())
        assert below <= level + 0.003
        assert above >= level - 0.003


def test_a_member_without_weight_has_no_say() -> None:
    wild = np.array([-1e300, -1e200, -1e100, 0.0, 1e100, 1e200, 1e300])
    np.testing.assert_allclose(mix(np.stack((NORMAL, wild)), np.array([1.0, 0.0])), NORMAL, atol=0.02)


def test_a_wild_member_with_little_weight_does_not_blur_the_others() -> None:
    wild = np.array([-1e30, -1e29, -1e28, 0.0, 1e28, 1e29, 1e30])
    found = mix(np.stack((NORMAL, wild)), np.array([0.99, 0.01]))
    np.testing.assert_allclose(found[1:-1], NORMAL[1:-1], atol=0.06)


def test_what_is_almost_an_atom_leaves_no_rounding_behind() -> None:
    almost = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3e-83])
    assert mix(np.stack((almost, np.array([0.0] * 6 + [1.0]))), np.array([0.5, 0.5]))[0] == pytest.approx(0.0, abs=1e-9)


def test_atoms_are_mixed_to_atoms() -> None:
    found = mix(np.stack((ATOM, ATOM + 1)), np.array([0.3, 0.7]))
    assert found.tolist() == [5.0, 5.0, 5.0, 6.0, 6.0, 6.0, 6.0]
    assert mix(np.stack((ATOM, ATOM)), np.array([0.5, 0.5])).tolist() == ATOM.tolist()


def test_an_atom_beside_a_spread() -> None:
    found = mix(np.stack((ATOM, NORMAL + 5)), np.array([0.5, 0.5]))
    assert found[2:5].tolist() == [5.0, 5.0, 5.0]
    # 5 % of the mixture is 10 % of the spread member.
    assert found[0] == pytest.approx(5 - 1.2816, abs=0.02)


def test_a_mixture_of_many_rows_is_that_of_each() -> None:
    rng = np.random.default_rng(3)
    q = np.sort(rng.normal(size=(3, 4, 5, 7)), axis=-1)
    w = rng.dirichlet(np.ones(3), size=(4, 5)).transpose(2, 0, 1)
    together = mix(q, w)
    assert together.shape == (4, 5, 7)
    np.testing.assert_allclose(together[2, 3], mix(q[:, 2, 3], w[:, 2, 3]))


def test_samples_have_the_quantiles() -> None:
    drawn = sample(np.stack((NORMAL, ATOM)), np.random.default_rng(0), 40_000)
    np.testing.assert_allclose(np.quantile(drawn[0], LEVELS), NORMAL, atol=0.03)
    assert (drawn[1] == 5.0).all()
    assert np.isfinite(drawn).all()

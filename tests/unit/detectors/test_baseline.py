"""Baseline: steady, drifting and constant tags are told apart without being told."""

import numpy as np
import pytest

from detectors.baseline import Nature, survey

TAGS = ("flow", "temperature", "valve")


def plant(steps: int = 400, seed: int = 0) -> np.ndarray:
    """A noisy flow, a temperature that rises further than it scatters, a valve that stands still."""
    rng = np.random.default_rng(seed)
    flow = 30 + 0.5 * rng.normal(size=steps)
    temperature = 60 + np.cumsum(0.05 + 0.05 * rng.normal(size=steps)) + 0.1 * rng.normal(size=steps)
    return np.column_stack([flow, temperature, np.full(steps, 42.0)])


@pytest.mark.parametrize("seed", range(8))
def test_each_tag_is_known_for_what_it_is(seed):
    baseline = survey(plant(seed=seed), TAGS)
    assert baseline.natures == (Nature.STEADY, Nature.DRIFTING, Nature.CONSTANT)
    assert baseline.steady.tolist() == [True, False, False]


def test_the_natures_do_not_depend_on_units():
    values = plant()
    assert survey(values * 1000 - 500, TAGS).natures == survey(values, TAGS).natures


def test_the_scale_is_noticeable_and_rarely_exceeded_in_a_normal_time():
    baseline = survey(plant(4000), TAGS)
    assert baseline.scale[0] >= 1.2 * baseline.noise[0]
    assert baseline.noise[0] == pytest.approx(0.5, rel=0.1)
    assert np.mean(np.abs(baseline.deviations) > 1) < 0.002


def test_the_level_is_where_the_tag_stands_at_the_end():
    values = plant(2000)
    values[1000:, 0] += 3
    assert survey(values, TAGS).level[0] == pytest.approx(33, abs=0.2)


def test_what_is_not_a_number_is_not_learnt():
    values = plant(800)
    values[200:300, 0] = np.nan
    spoilt = plant(800)
    spoilt[200:300, 0] = 90
    clean = survey(values, TAGS)
    assert clean.natures[0] is Nature.STEADY
    assert clean.noise[0] == pytest.approx(0.5, rel=0.1)
    assert clean.scale[0] < survey(spoilt, TAGS).wander[0]


def test_a_tag_that_was_hardly_ever_there_is_unknown():
    values = plant()
    values[50:, 0] = np.nan
    assert survey(values, TAGS).natures[0] is Nature.UNKNOWN


def test_more_tags_make_the_scale_of_each_wider():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(2000, 40)) + np.repeat(rng.normal(size=(100, 40)), 20, axis=0)
    many = survey(values, tuple(f"t{i}" for i in range(40)))
    few = survey(values[:, :2], ("t0", "t1"))
    assert (many.scale[:2] > 1.1 * few.scale[:2]).all()


@pytest.mark.parametrize("shape", [(400, 2), (50, 3), (400,)])
def test_a_table_that_cannot_be_learnt_from_is_refused(shape):
    with pytest.raises(ValueError, match="baseline: expected"):
        survey(np.zeros(shape), TAGS)

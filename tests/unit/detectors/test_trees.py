"""Boosted trees with a number per output in each leaf."""

from __future__ import annotations

import math

import numpy as np
import pytest

from detectors.forecasters.trees import forest_said, grown

TRAIN = 1500


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray]:
    """Four features, and two outputs: the first hangs on two of them together, the second on nothing."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(2000, 4))
    both = np.where((features[:, 1] > 0) & (features[:, 2] > 0), 1.0, -1.0)
    return features, np.stack((both + 0.1 * rng.normal(size=2000), rng.normal(size=2000)), axis=1)


def test_what_two_features_say_together_is_found(table) -> None:
    features, targets = table
    forest = grown(features, targets, train=TRAIN, trees=60, clip=3.0, generator=np.random.default_rng(0))
    off = np.abs(forest_said(features, forest) - targets)[TRAIN:, 0].mean()
    assert off < 0.25 * np.abs(targets[TRAIN:, 0]).mean()


def test_an_output_that_nothing_speaks_of_is_left_at_nought(table) -> None:
    features, targets = table
    forest = grown(features, targets, train=TRAIN, trees=60, clip=3.0, generator=np.random.default_rng(0))
    assert np.abs(forest_said(features, forest)[:, 1]).mean() < 0.1


def test_what_is_unknown_and_outliers_turn_no_tree(table) -> None:
    features, targets = table
    rough = targets.copy()
    rough[:TRAIN:10, 0] = math.nan
    rough[5:TRAIN:200, 0] = 1e6
    forest = grown(features, rough, train=TRAIN, trees=60, clip=3.0, generator=np.random.default_rng(0))
    off = np.abs(forest_said(features, forest) - targets)[TRAIN:, 0].mean()
    assert off < 0.4 * np.abs(targets[TRAIN:, 0]).mean()


def test_features_that_stand_still_grow_no_tree() -> None:
    forest = grown(np.ones((50, 3)), np.ones((50, 2)), train=40, trees=5, clip=3.0, generator=np.random.default_rng(0))
    assert len(forest.asked) == 0
    assert (forest_said(np.ones((4, 3)), forest) == np.zeros((4, 2))).all()

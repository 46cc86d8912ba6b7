"""Models of the outlier: normal points lie inside the edge, broken relations outside, and the tag is named."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="pip install 'givre[learn]'")

from detectors.outlier import FITS, fit_components, fit_forest, fit_mahalanobis

MODELS = ("mahalanobis", "components", "forest")


def related(rows: int = 600, seed: int = 0) -> np.ndarray:
    """Four coordinates, of which the first two always move together."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=rows)
    own = rng.normal(size=(rows, 4)) * (0.1, 0.1, 1.0, 1.0)
    return (own + shared[:, None] * (1, 1, 0, 0)) * 0.3


@pytest.mark.parametrize("name", MODELS)
def test_of_new_normal_points_hardly_any_lies_beyond_the_edge(name):
    model = FITS[name](related())
    beyond = [model.judge(point)[0] > 1 for point in related(1000, seed=1)]
    assert np.mean(beyond) < 0.005


def test_the_forest_sees_what_is_far_out_in_every_coordinate_and_no_more_than_that():
    model = fit_forest(related())
    assert model.judge(np.array([0.9, -0.9, 0.9, 0.9]))[0] > 1
    score, parts = model.judge(np.array([0.0, 0.0, 3.0, 0.0]))
    assert score < 1
    assert parts.argmax() == 2


@pytest.mark.parametrize("name", ["mahalanobis", "components"])
def test_a_point_that_is_far_out_lies_beyond_the_edge_and_its_coordinate_is_named(name):
    model = FITS[name](related())
    score, parts = model.judge(np.array([0.0, 0.0, 3.0, 0.0]))
    assert score > 1
    assert parts.argmax() == 2
    assert (parts >= 0).all()


@pytest.mark.parametrize("name", ["mahalanobis", "components"])
def test_a_broken_relation_is_seen_though_each_coordinate_is_where_it_often_is(name):
    model = FITS[name](related())
    together = model.judge(np.array([0.3, 0.3, 0.0, 0.0]))[0]
    apart, parts = model.judge(np.array([0.3, -0.3, 0.0, 0.0]))
    assert together < 0.5
    assert apart > 1
    assert set(parts.argsort()[-2:]) == {0, 1}


def test_the_forest_judges_as_the_library_does():
    from sklearn.ensemble import IsolationForest

    points, new = related(), related(50, seed=2).astype(np.float32).astype(float)
    theirs = IsolationForest(n_estimators=100, max_samples=256, random_state=7).fit(points)
    assert fit_forest(points, seed=7).isolation(new) == pytest.approx(-theirs.score_samples(new), abs=1e-6)


@pytest.mark.parametrize("judge", [fit_mahalanobis, fit_components])
def test_one_coordinate_is_enough(judge):
    rng = np.random.default_rng(0)
    score, parts = judge(rng.normal(size=(100, 1))).judge(np.array([9.0]))
    assert score > 1
    assert parts.shape == (1,)


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="outlier: expected at least 20 rows"):
        fit_components(np.zeros((10, 2)))

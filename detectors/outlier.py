"""How far out is a point, seen by a model of what is normal, and which of its coordinates make it so?

Three models with one face. A point is the deviations of the tags of an asset from their baseline, in scales. Fitting takes the
deviations of a normal time (a row per moment), is done by scikit-learn outside the hot path; what
it gives back is frozen and judges a point in 10 to 300 microseconds without it.

- `Mahalanobis`: distance under the covariance of Ledoit and Wolf (2004).
- `Components`: principal components, T2 within the plane they span and Q (SPE) off it, with contributions (Kourti and
  MacGregor 1996).
- `Forest`: isolation forest (Liu, Ting and Zhou 2008).

Of a statistic the edge lies at `EDGE` times its 99 % quantile in the normal time, as it was on stretches that the model had not
been fitted to: slow signals give fewer independent rows than they have moments, and a model flatters what it has seen. What a
forest finds is bounded, since beyond the last normal point it cuts no further: its edge is the most isolated normal point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "DEFAULT",
    "FEWEST_ROWS",
    "FITS",
    "Components",
    "Forest",
    "Mahalanobis",
    "Outlier",
    "fit_components",
    "fit_forest",
    "fit_mahalanobis",
]

EDGE = 2.5
EXPLAINED = 0.9
"""Share of the variance that the kept components explain."""
FOLDS = 5
TREES, SAMPLES = 100, 256
FEWEST_ROWS = 20
"""Rows that a model is fitted to at least; also twice as many as there are columns."""


DEFAULT = "components"
"""The model that judges an asset unless another is named."""


class Outlier(Protocol):
    """What every model promises."""

    @property
    def rule(self) -> str:
        """Name of the rule."""

    def judge(self, point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Score of a point (1 is the edge) and the contribution of each coordinate, not negative, in no unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mahalanobis:
    """Distance under a covariance; the score is its root, so that twice as far is twice the score."""

    precision: NDArray[np.float64]
    limit: float
    rule: str = "mahalanobis"

    def judge(self, point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Contributions add up to the squared distance, but for those below nought, which are set to it."""
        parts = point * (self.precision @ point)
        return math.sqrt(max(float(parts.sum()), 0.0) / self.limit), np.maximum(parts, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Principal components: `axes` has a column per kept component, `variance` what lies along it."""

    axes: NDArray[np.float64]
    variance: NDArray[np.float64]
    plane_limit: float
    rest_limit: float
    rule: str = "components"

    def judge(self, point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The larger of T2 and Q, each at its limit; contributions are those of the larger."""
        along = point @ self.axes
        rest = point - self.axes @ along
        plane_parts = point * (self.axes @ (along / self.variance))
        plane = max(float(plane_parts.sum()), 0.0) / self.plane_limit
        off = float(rest @ rest) / self.rest_limit if self.rest_limit > 0 else 0.0
        return math.sqrt(max(plane, off)), np.maximum(plane_parts, 0.0) if plane >= off else rest**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Isolation forest, its trees laid side by side: column 0 is the root of each; a leaf is its own child."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    path: NDArray[np.float64]
    depth: int
    unit: float
    middle: float
    limit: float
    rule: str = "forest"

    def judge(self, point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Contributions say how much less of an outlier the point were with that coordinate on its baseline."""
        points = np.tile(point, (len(point) + 1, 1))
        np.fill_diagonal(points[1:], 0.0)
        found = self.isolation(points)
        score = max(float(found[0]) - self.middle, 0.0) / (self.limit - self.middle)
        return score, np.maximum(found[0] - found[1:], 0.0)

    def isolation(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The score of the paper, 0..1, of each row of `points`; above 0.5 is easier to isolate than most."""
        trees = np.arange(len(self.feature))[:, None]
        which = np.arange(len(points))[None, :]
        node = np.zeros((len(self.feature), len(points)), dtype=np.int64)
        for _ in range(self.depth):
            low = points[which, self.feature[trees, node]] <= self.threshold[trees, node]
            node = np.where(low, self.left[trees, node], self.right[trees, node])
        mean = self.path[trees, node].mean(axis=0)
        return np.asarray(2.0 ** (-mean / self.unit))


def fit_mahalanobis(points: NDArray[np.float64]) -> Mahalanobis:
    """Fits to rows of normal deviations; at least as many rows as twice the columns."""
    squared = [_squared(rest, _precision(most)) for most, rest in _folds(_checked(points))]
    return Mahalanobis(precision=_precision(points), limit=_limit(squared))


def fit_components(points: NDArray[np.float64]) -> Components:
    """Fits to rows of normal deviations; keeps as many components as explain `EXPLAINED` of the variance."""
    planes, offs = [], []
    for most, rest in _folds(_checked(points)):
        axes, variance = _axes(most)
        along = rest @ axes
        planes.append((along**2 / variance).sum(axis=1))
        offs.append(((rest - along @ axes.T) ** 2).sum(axis=1))
    axes, variance = _axes(points)
    return Components(axes=axes, variance=variance, plane_limit=_limit(planes), rest_limit=_limit(offs))


def fit_forest(points: NDArray[np.float64], *, seed: int = 0) -> Forest:
    """Fits to rows of normal deviations; the same seed gives the same forest."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 -- heavy, and only for those who use it

    samples = min(SAMPLES, len(_checked(points)))
    fitted = IsolationForest(n_estimators=TREES, max_samples=samples, random_state=seed).fit(points)
    trees = [each.tree_ for each in fitted.estimators_]
    size = max(tree.node_count for tree in trees)
    shape = (len(trees), size)
    feature, left, right = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    threshold, path = np.zeros(shape), np.zeros(shape)
    for row, tree in enumerate(trees):
        count, nodes = tree.node_count, np.arange(tree.node_count)
        leaf = tree.children_left < 0
        feature[row, :count] = np.where(leaf, 0, tree.feature)
        # The trees were grown on single precision: the cut is compared as they do.
        threshold[row, :count] = tree.threshold
        left[row, :count] = np.where(leaf, nodes, tree.children_left)
        right[row, :count] = np.where(leaf, nodes, tree.children_right)
        path[row, :count] = _depths(left[row], right[row], leaf) + _unfinished(tree.n_node_samples)
    forest = Forest(
        feature=feature,
        threshold=threshold,
        left=left,
        right=right,
        path=path,
        depth=max(tree.max_depth for tree in trees),
        unit=float(_unfinished(np.array([samples]))[0]),
        middle=0.0,
        limit=1.0,
    )
    found = forest.isolation(points)
    middle = float(np.median(found))
    limit = float(found.max())
    return Forest(**{**{name: getattr(forest, name) for name in forest.__slots__}, "middle": middle, "limit": limit})


FITS: dict[str, Callable[[NDArray[np.float64]], Outlier]] = {
    "components": fit_components,
    "mahalanobis": fit_mahalanobis,
    "forest": fit_forest,
}
"""What fits each model to rows of normal deviations, by the name of its rule."""


def _precision(points: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.covariance import LedoitWolf  # noqa: PLC0415 -- heavy, and only for those who use it

    return np.asarray(np.linalg.inv(LedoitWolf(assume_centered=True).fit(points).covariance_))


def _axes(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.decomposition import PCA  # noqa: PLC0415 -- heavy, and only for those who use it

    pca = PCA(n_components=EXPLAINED if points.shape[1] > 1 else 1, svd_solver="full").fit(points)
    return pca.components_.T, pca.explained_variance_


def _folds(points: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Each stretch of the time with all that is not in it."""
    for out in np.array_split(np.arange(len(points)), FOLDS):
        yield np.delete(points, out, axis=0), points[out]


def _limit(found: list[NDArray[np.float64]]) -> float:
    return EDGE * float(np.quantile(np.concatenate(found), 0.99))


def _squared(points: NDArray[np.float64], precision: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("ij,jk,ik->i", points, precision, points))


def _checked(points: NDArray[np.float64]) -> NDArray[np.float64]:
    if points.ndim != 2 or not points.shape[1] or len(points) < max(2 * points.shape[1], FEWEST_ROWS):
        raise ValueError(
            f"outlier: expected at least {FEWEST_ROWS} rows and twice as many as columns, found shape {points.shape}"
        )
    return points


def _depths(left: NDArray[np.int64], right: NDArray[np.int64], leaf: NDArray[np.bool_]) -> NDArray[np.float64]:
    depth = np.zeros(len(leaf))
    # A child stands after its parent.
    for node in np.flatnonzero(~leaf):
        depth[left[node]] = depth[right[node]] = depth[node] + 1
    return depth


def _unfinished(count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean depth that a tree of `count` points would still have had (equation 1 of the paper)."""
    many = np.maximum(count, 3)
    depth = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.asarray(np.where(count > 2, depth, np.where(count == 2, 1.0, 0.0)))

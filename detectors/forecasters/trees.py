"""What do some features together say of several outputs? Boosted trees whose leaves hold a number for each output.

Gradient boosting (Friedman 2001; with a random part of the rows per tree, 2002) of symmetric trees: all nodes of one depth
ask the same question, as in CatBoost (Prokhorenkova et al. 2018), so that a tree is read by `DEPTH` comparisons and one
look-up. A split is judged by what it gains over all outputs together; an error counts for at most `clip`, so that outliers
turn no tree. How many trees serve an output is told by rows that none was grown from: it may be none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Design = NDArray[np.float32]

__all__ = ["DEPTH", "Forest", "forest_said", "grown"]

DEPTH = 4
BINS = 16
"""A feature is compared with so many values less one, its own quantiles."""
RATE = 0.1
PRIOR = 20.0
"""Rows at nought that each leaf is taken to hold beside its own."""
FEWEST = 20
"""A node of fewer rows says nothing of the next split."""
ROWS = 2000
"""Rows that a tree is grown from, at most."""
SHARE = 0.5
"""Share of the questions that may be asked in one tree."""
SMALLEST = 0.01
"""A question that parts off a smaller share of the rows is not asked."""
PATIENCE = 40
"""No more trees are grown where the last so many have served no output."""
_POWERS = 2 ** np.arange(DEPTH - 1, -1, -1)


class Forest(NamedTuple):
    """Which features are `asked` and what each is compared `against`, both (trees, DEPTH), and (trees, 2 ** DEPTH, outputs)."""

    asked: Array
    against: Array
    leaves: Array


def grown(
    features: Array, targets: Array, *, train: int, trees: int, clip: float, generator: np.random.Generator
) -> Forest:
    """Trees for `targets` (n, outputs), NaN where unknown, from `features` (n, q).

    They are grown from the first `train` rows and tried on the others. Targets should lie around nought, a usual one at about
    1. There are fewer than `trees` where more serve no output, perhaps none.
    """
    asked, against, answers = _questions(features, train)
    unknown = ~np.isfinite(targets)
    left = np.where(unknown, 0.0, targets).astype(np.float32)
    outputs = targets.shape[1]
    splits = np.zeros((trees, DEPTH), dtype=np.int64)
    leaves = np.zeros((trees, 2**DEPTH, outputs), dtype=np.float32)
    lowest = np.abs(left[train:]).sum(axis=0)
    best = np.zeros(outputs, dtype=np.int64)
    count = 0
    while len(asked) and count < min(trees, int(best.max()) + PATIENCE):
        pull = np.clip(left[:train], -clip, clip)
        rows = np.sort(generator.choice(train, min(ROWS, train), replace=False))
        some = np.sort(generator.choice(len(asked), max(int(SHARE * len(asked)), 1), replace=False))
        splits[count] = some[_split(answers[rows][:, some].astype(np.float32), pull[rows])]
        at = _leaf(answers, splits[count])
        held = np.bincount(at[:train], minlength=2**DEPTH) + PRIOR
        sums = [np.bincount(at[:train], pull[:, k], minlength=2**DEPTH) for k in range(outputs)]
        leaves[count] = RATE * np.stack(sums, axis=1) / held[:, None]
        left -= leaves[count][at]
        left[unknown] = 0.0
        count += 1
        loss = np.abs(left[train:]).sum(axis=0)
        better = loss < lowest
        lowest[better] = loss[better]
        best[better] = count
    for k, last in enumerate(best.tolist()):
        leaves[last:, :, k] = 0.0
    count = int(best.max())
    chosen = splits[:count]
    return Forest(asked[chosen].astype(np.float64), against[chosen], leaves[:count].astype(np.float64))


def forest_said(features: Array, forest: Forest) -> Array:
    """The outputs (n, outputs) of features (n, q)."""
    at = (features[:, forest.asked.astype(np.int64)] > forest.against) @ _POWERS
    found: Array = forest.leaves[np.arange(len(forest.leaves)), at].sum(axis=1)
    return found


def _questions(features: Array, train: int) -> tuple[NDArray[np.int64], Array, NDArray[np.uint8]]:
    """Which feature is compared with what (questions,), and the answers (n, questions)."""
    asked, against, answers = [], [], []
    shares = np.linspace(0.0, 1.0, BINS + 1)[1:-1]
    for k, edges in enumerate(np.quantile(features[:train], shares, axis=0).T):
        each = np.unique(edges)
        above = features[:, k, None] > each
        size = above[:train].mean(axis=0)
        fit = (size > SMALLEST) & (size < 1.0 - SMALLEST)
        asked += [k] * int(fit.sum())
        against.append(each[fit])
        answers.append(above[:, fit])
    return np.array(asked, dtype=np.int64), np.concatenate(against), np.concatenate(answers, axis=1).view(np.uint8)


def _leaf(answers: NDArray[np.uint8], split: NDArray[np.int64]) -> NDArray[np.int64]:
    found = np.zeros(len(answers), dtype=np.int64)
    for question in split.tolist():
        found = 2 * found + answers[:, question]
    return found


def _split(design: Design, pull: Design) -> NDArray[np.int64]:
    """The questions (DEPTH,) that part the rows best, one after the other."""
    counted = np.concatenate((pull, np.ones((len(pull), 1), dtype=np.float32)), axis=1)
    leaf = np.zeros(len(design), dtype=np.int64)
    found = np.zeros(DEPTH, dtype=np.int64)
    for depth in range(DEPTH):
        gain = np.zeros(design.shape[1], dtype=np.float32)
        if depth:
            order = np.argsort(leaf, kind="stable")
            leaf, design, counted = leaf[order], design[order], counted[order]
        ends = np.searchsorted(leaf, np.arange(2**depth + 1))
        for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            if end - begin < FEWEST:
                continue
            above = counted[begin:end].T @ design[begin:end]
            below = counted[begin:end].sum(axis=0)[:, None] - above
            for side in (above, below):
                gain += (side[:-1] ** 2).sum(axis=0) / (side[-1] + PRIOR)
        found[depth] = int(np.argmax(gain))
        leaf = 2 * leaf + design[:, found[depth]].astype(np.int64)
    return found

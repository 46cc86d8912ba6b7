"""What do trees see that lines do not? Boosted trees over lags, seasons and clock, on top of linear forecasts.

Three lines are fitted first: exponential smoothing, a ridge regression on lags and harmonic regression. At each lead one of
them or a mean of some is the point to start from, whichever was off least lately. Trees (`detectors.forecasters.trees`)
then say by how much that will be off, and others how far off what they say may be: nights are quieter than days, and change
is followed by change. How many trees serve a lead is told by the last part of the history, that they were not grown from.
Where none does, and where the history is too short to grow any, the lines remain.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from itertools import chain, combinations
from typing import TYPE_CHECKING

import numpy as np

from detectors.forecasters.fit import Past
from detectors.forecasters.fitted import FEWEST, FittedForecaster, held_back
from detectors.forecasters.harmonic import HarmonicModel
from detectors.forecasters.lag_regression import lag_weights
from detectors.forecasters.lookback import CLOSEST, Lookback
from detectors.forecasters.season import DAY_S, seasons
from detectors.forecasters.smoothing import smoothing_found
from detectors.forecasters.trees import DEPTH, Forest, forest_said, grown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from detectors.forecasters.fitted import Asked

    Array = NDArray[np.float64]

__all__ = ["Boosted"]

LAGS = (48, 120)
"""Lags of the ridge regression, fewest and most; in between a day and a few steps."""
KNOTS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24])
"""Leads that trees speak of; what they say of one between two of them lies on the line."""
BLENDS = np.array([[k in some for k in range(3)] for some in chain(*(combinations(range(3), n) for n in (1, 2, 3)))])
BLENDS = BLENDS / BLENDS.sum(axis=1, keepdims=True)
"""Shares of the three lines in what may be the point to start from (blends, 3)."""
FEWEST_ROWS = 200
"""Fewer examples grow no tree."""
CLIP = 3.0
"""An error counts for at most so many usual ones where trees are grown."""
LARGEST_ERROR = 6.0
"""The same where it is learnt how large errors are."""
WIDTHS = (0.25, 4.0)
"""Trees narrow or widen a band by such factors at most."""
CHUNK = 1024
"""Rows that are worked on at once."""


class Boosted(FittedForecaster):
    """Trees per tag. It remembers 6000 steps: 48 to 96 kB per tag, and at most 600 kB of weights and leaves.

    `trees` bounds what a fit may take: 150 of them are grown in 2 seconds. It predicts 24 steps at once.
    """

    name = "boosted"
    leads = int(KNOTS[-1])
    patience = 512
    once = True

    def __init__(self, *, limit: int = 6000, samples: int = 16, seed: int = 0, trees: int = 150) -> None:
        super().__init__(limit=limit, samples=samples, seed=seed)
        self._trees = trees
        self._harmonic = HarmonicModel(leads=self.leads)

    def _fit(self, values: Array, end_s: float, period_s: float) -> dict[str, Array] | None:
        count = len(values)
        kept = held_back(count)
        if count - kept < FEWEST:
            return None
        numbers = self._lines(values[: count - kept], end_s - kept * period_s, period_s, longest=count // 2)
        context = int(numbers["context"])
        rows = np.lib.stride_tricks.sliding_window_view(values, context)[:-1]
        origins = np.arange(context - 1, count - 1)
        steps = origins[:, None] + np.arange(1, self.leads + 1)
        aims = np.where(steps < count, values[np.minimum(steps, count - 1)], np.nan)
        # The part that is kept out is not known before it begins.
        aims[(origins[:, None] < count - kept) & (steps >= count - kept)] = np.nan
        ends_s = end_s - period_s * (count - 1 - origins).astype(np.float64)
        chunks = [*_chunks(rows, ends_s, period_s)]
        numbers["reach"] = np.max([np.abs(self._apart(numbers, past)[1]).max(axis=1) for past in chunks], axis=0)
        looked = [self._seen(numbers, past) for past in chunks]
        lines = np.concatenate([one[0] for one in looked], axis=1)
        early = int((origins + self.leads < count - kept).sum())
        numbers["blend"] = _blend(lines, aims, early or len(origins))
        if early >= FEWEST_ROWS:
            used = np.flatnonzero((origins + self.leads < count - kept) | (origins >= count - kept))
            left = aims - np.einsum("knl,lk->nl", lines, numbers["blend"])
            features = np.concatenate([one[1] for one in looked])
            numbers |= self._grown(features[used], left[used][:, KNOTS - 1], early)
        return numbers

    def _lines(self, values: Array, end_s: float, period_s: float, *, longest: int) -> dict[str, Array]:
        """The linear forecasts, and what the trees look at."""
        lags = min(max(LAGS[0], round(DAY_S / period_s) + 4), LAGS[1], len(values) // 4)
        level = float(np.median(values))
        ridge = lag_weights(values - level, lags=lags, leads=self.leads)
        smooth = smoothing_found(values, period_s, leads=self.leads)["weights"]
        waves = self._harmonic.fit(values, end_s, period_s)
        context = max(len(smooth), lags, min(CLOSEST, longest))
        weights = np.zeros((context, 2 * self.leads))
        weights[context - len(smooth) :, : self.leads] = smooth
        weights[context - lags :, self.leads :] = ridge
        blank = Forest(np.zeros((0, DEPTH)), np.zeros((0, DEPTH)), np.zeros((0, 2**DEPTH, len(KNOTS))))
        return {
            **_numbers(blank, blank, np.ones(len(KNOTS))),
            **Lookback.of(period_s, context=context, leads=KNOTS).numbers,
            **{f"waves {name}": value for name, value in waves.items()},
            "weights": weights,
            "level": level * (1.0 - ridge.sum(axis=0)),
            "context": np.array(float(context)),
            "season": np.array(float(next(iter(seasons(period_s, longest=longest)), 0))),
        }

    def _apart(self, numbers: Mapping[str, Array], past: Past) -> tuple[Array, Array]:
        """What smoothing expects (n, leads), and how far the other two lines are from it (2, n, leads)."""
        both = past.values @ numbers["weights"]
        waves = {name.removeprefix("waves "): value for name, value in numbers.items() if name.startswith("waves ")}
        lately = Past(values=past.values[:, -int(waves["context"]) :], ends_s=past.ends_s, period_s=past.period_s)
        smooth, ridge = both[:, : self.leads], both[:, self.leads :] + numbers["level"]
        return smooth, np.stack((ridge, self._harmonic.predict(waves, lately, self.leads))) - smooth

    def _seen(self, numbers: Mapping[str, Array], past: Past) -> tuple[Array, Array]:
        """What each line expects (3, n, leads), and the features (n, q); the rows of `past` follow each other."""
        smooth, apart = self._apart(numbers, past)
        return _looked(smooth, apart, numbers["reach"][:, None], Lookback(numbers), past)

    def _grown(self, features: Array, left: Array, early: int) -> dict[str, Array]:
        """Trees for what the lines were off by (n, knots), and for how far off the trees were."""
        generator = np.random.default_rng([self._seed, zlib.crc32(self.name.encode())])
        usual = 1.4826 * np.nanmedian(np.abs(left[:early]), axis=0) + 1e-9
        left = left / usual
        points = grown(features, left, train=early, trees=self._trees, clip=CLIP, generator=generator)
        said = np.concatenate(
            [forest_said(part, points) for part in np.array_split(features, len(features) // CHUNK + 1)]
        )
        away = np.abs(left - said)
        away = np.minimum(away / (np.nanmean(away[:early], axis=0) + 1e-9), LARGEST_ERROR) - 1.0
        widths = grown(features, away, train=early, trees=self._trees // 2, clip=LARGEST_ERROR, generator=generator)
        return _numbers(points, widths, usual)

    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        return self._predict_scaled(numbers, past, horizon)[0]

    def _predict_scaled(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> tuple[Array, Array]:
        lines, features = self._seen(numbers, past)
        off, wide = _said(numbers, features)
        return _bent(lines[..., :horizon], numbers["blend"][None], off, wide, numbers["usual"])

    def _expect(self, asked: Sequence[Asked], horizon: int) -> list[tuple[Array, Array]]:
        if horizon > self.leads:
            return super()._expect(asked, horizon)
        out: dict[int, tuple[Array, Array]] = {}
        alike: dict[tuple[int, float, float], list[int]] = {}
        for i, one in enumerate(asked):
            alike.setdefault((one.fit.context, one.period_s, one.end_s), []).append(i)
        for places in alike.values():
            out |= dict(zip(places, self._side_by_side([asked[i] for i in places], horizon), strict=True))
        return [out[i] for i in range(len(asked))]

    def _side_by_side(self, asked: Sequence[Asked], horizon: int) -> Iterator[tuple[Array, Array]]:
        """The same for tags that look back alike from the same moment: most of the work is done once for all of them."""
        every = [one.fit.numbers for one in asked]
        pasts = [self._past(one, 1) for one in asked]
        apart = [self._apart(numbers, past) for numbers, past in zip(every, pasts, strict=True)]
        values, ends_s = (np.concatenate([getattr(one, name) for one in pasts]) for name in ("values", "ends_s"))
        past = replace(pasts[0], values=values, ends_s=ends_s)
        reach, blend, usual = (np.stack([one[name] for one in every]) for name in ("reach", "blend", "usual"))
        lines, features = _looked(
            np.concatenate([one[0] for one in apart]),
            np.concatenate([one[1] for one in apart], axis=1),
            reach.transpose(1, 0, 2),
            Lookback(every[0]),
            past,
        )
        said = [_said(numbers, features[i : i + 1]) for i, numbers in enumerate(every)]
        off, wide = (np.concatenate([one[k] for one in said]) for k in (0, 1))
        return zip(*_bent(lines[..., :horizon], blend, off, wide, usual), strict=True)


def _looked(smooth: Array, apart: Array, reach: Array, lookback: Lookback, past: Past) -> tuple[Array, Array]:
    """The lines (3, n, leads) and the features (n, q), from the first line (n, leads) and how far off the others are."""
    # Smoothing follows a level that has shifted for good: none of the others stays farther behind than it ever was.
    lines = np.concatenate((smooth[None], smooth + np.minimum(np.maximum(apart, -reach), reach)))
    moved = lines[:, :, KNOTS - 1] - past.values[:, -1:]
    return lines, np.concatenate((*moved, *(moved - moved[[2, 0, 1]]), lookback.features(past)), axis=1)


def _said(numbers: Mapping[str, Array], features: Array) -> tuple[Array, Array]:
    """What the trees say of errors and of widths, both (n, knots)."""
    points, widths = (Forest(*(numbers[f"{name} {part}"] for part in Forest._fields)) for name in ("points", "widths"))
    return forest_said(features, points), forest_said(features, widths)


def _bent(lines: Array, blend: Array, off: Array, wide: Array, usual: Array) -> tuple[Array, Array]:
    """What is expected and how far off it may be (n, horizon), from lines (3, n, horizon) and what trees say (n, knots)."""
    between = _BETWEEN[:, : lines.shape[2]]
    points = np.einsum("knl,nlk->nl", lines, np.broadcast_to(blend[:, : lines.shape[2]], (*lines.shape[1:], 3)))
    points += (off * usual) @ between
    return points, np.clip(1.0 + wide @ between, *WIDTHS) * (usual @ between)


def _numbers(points: Forest, widths: Forest, usual: Array) -> dict[str, Array]:
    named = (("points", points), ("widths", widths))
    return {
        "usual": usual,
        **{f"{name} {part}": value for name, forest in named for part, value in forest._asdict().items()},
    }


def _blend(lines: Array, aims: Array, early: int) -> Array:
    """The shares (leads, 3) of the lines: those that were off least over the last quarter of the first `early` rows."""
    part = slice(early - max(early // 4, 1), early)
    known = np.isfinite(aims[part])
    off = [
        np.where(known, np.abs(aims[part] - np.einsum("knl,k->nl", lines[:, part], shares)), 0.0).sum(axis=0)
        for shares in BLENDS
    ]
    found: Array = BLENDS[np.argmin(off, axis=0)]
    return found


def _chunks(rows: Array, ends_s: Array, period_s: float) -> Iterator[Past]:
    for begin in range(0, len(rows), CHUNK):
        part = slice(begin, begin + CHUNK)
        # A view of overlapping rows would be multiplied one by one.
        yield Past(values=np.ascontiguousarray(rows[part]), ends_s=ends_s[part], period_s=period_s)


_BETWEEN = np.stack([np.interp(np.arange(1, KNOTS[-1] + 1), KNOTS, row) for row in np.eye(len(KNOTS))])
"""How the leads (knots, leads) follow from the knots."""

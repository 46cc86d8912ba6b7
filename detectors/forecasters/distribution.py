"""Which distribution do seven published quantiles stand for?

The one whose distribution function is linear between the levels, with exponential tails beyond the outermost two that go on with
the density there. Quantiles that coincide are an atom: a tag that has stood still is certain of its one value. Everything is
vectorised over leading axes; the last axis of `quantiles` is that of `LEVELS`, sorted and finite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detectors.records import LEVELS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["BROAD", "LEAST_LOG", "cdf", "log_probability", "mix", "quantile", "sample"]

BROAD = 1e-3
"""Share of a distribution that is spread broadly, as nobody knows everything: it bounds what one surprise can cost."""
LEAST_LOG = -690.0
"""The lowest log probability that is ever said, where even the broad share underflows."""
ATOM = 1e-9
"""Two quantiles that lie closer together than this share of a distribution's width are one value to `mix`."""
LEAST_WIDTH = 1e-290
"""Below it two values are one whatever the scale: a density there would not be a number."""
ROUGH = 1e8
"""Ratio of densities beyond which `mix` looks them up member by member in place of adding up their changes."""
LEAST_TAIL = 0.1
"""A tail is at least so wide, as a share of the way from its outermost quantile to the median."""

_LEVELS = np.array(LEVELS)
_MASSES = np.diff(_LEVELS)
_TAIL = LEVELS[0]
_MEDIAN = LEVELS.index(0.5)
_TAIL_KNOTS = np.array([0.01, 0.12, 0.3, 0.57])
"""Shares of a tail's mass at which `mix` lays further knots."""


def cdf(quantiles: Array, x: ArrayLike) -> Array:
    """P(X <= x): `quantiles` (..., 7) and `x` (...), broadcast."""
    at = np.asarray(x, dtype=np.float64)
    lower, upper = _tails(quantiles)
    first, last = quantiles[..., 0], quantiles[..., -1]
    with np.errstate(all="ignore"):
        widths = np.diff(quantiles, axis=-1)
        # An atom has no width: all of its mass is there at its value, and none of it before.
        atoms = widths <= 0.0
        steep = np.where(atoms, 1e300, 1.0 / widths)
        found: Array = np.full(np.broadcast_shapes(at.shape, first.shape), _TAIL)
        for i, mass in enumerate(_MASSES):
            share = (at - quantiles[..., i]) * steep[..., i] + atoms[..., i]
            found += mass * np.clip(share, 0.0, 1.0)
        below, above = at < first, at >= last
        found[below] = 0.0
        found[above] = 1.0
        for side, sign, edge, scale in ((below, 1.0, first, lower), (above, -1.0, last, upper)):
            # Only where there is a tail at all: exponentials are dear.
            wide = side & (scale > 0)
            away = np.broadcast_to((at - edge) * sign / scale, found.shape)[wide]
            found[wide] += sign * _TAIL * np.exp(away)
    return found


def log_probability(
    quantiles: Array, low_edge: ArrayLike, high_edge: ArrayLike, *, spread: ArrayLike = 0.0, broad: float = BROAD
) -> Array:
    """Log probability, in nats, of the cell from `low_edge` (left out) to `high_edge`: shape (...), never -inf.

    A share `broad` of the distribution is a Cauchy distribution around the median, whose scale is the largest of `spread` (how
    far the tag's values usually lie apart), the 5-95 % width and the cell: it costs at most -ln(1 - broad) nats where the
    quantiles are right, and grants a value d scales away about broad * cell / (pi * scale * d^2). At least `LEAST_LOG`.
    """
    low, high = np.asarray(low_edge, dtype=np.float64), np.asarray(high_edge, dtype=np.float64)
    with np.errstate(all="ignore"):
        width = high - low
        scale = np.maximum(np.maximum(spread, quantiles[..., -1] - quantiles[..., 0]), np.maximum(width, 1e-300))
        away = (low + width / 2 - quantiles[..., _MEDIAN]) / scale
        wide = width / (np.pi * scale * (1.0 + away * away))
        sharp = np.maximum(cdf(quantiles, high) - cdf(quantiles, low), 0.0)
        found: Array = np.log((1.0 - broad) * sharp + broad * np.nan_to_num(wide))
    return np.clip(found, LEAST_LOG, 0.0)


def quantile(quantiles: Array, level: ArrayLike) -> Array:
    """The values at some levels, each between 0 and 1 (both left out): (..., 7) and (m,) give (..., m)."""
    levels = np.asarray(level, dtype=np.float64)
    place = np.clip(np.searchsorted(_LEVELS, levels, side="right") - 1, 0, len(LEVELS) - 2)
    share = np.clip((levels - _LEVELS[place]) / _MASSES[place], 0.0, 1.0)
    begin = quantiles[..., place]
    found: Array = begin + share * (quantiles[..., place + 1] - begin)
    lower, upper = _tails(quantiles)
    for at, sign, scale in ((levels / _TAIL, 1.0, lower), ((1.0 - levels) / _TAIL, -1.0, upper)):
        beyond = np.flatnonzero(at < 1.0)
        found[..., beyond] += sign * scale[..., None] * np.log(at[beyond])
    return found


def sample(quantiles: Array, generator: np.random.Generator, size: int) -> Array:
    """Independent draws, shape (..., size)."""
    uniforms = 1.0 - generator.random((*quantiles.shape[:-1], size))
    place = np.clip(np.searchsorted(_LEVELS, uniforms, side="right") - 1, 0, len(LEVELS) - 2)
    share = np.clip((uniforms - _LEVELS[place]) / _MASSES[place], 0.0, 1.0)
    begin = np.take_along_axis(quantiles, place, axis=-1)
    inside = begin + share * (np.take_along_axis(quantiles, place + 1, axis=-1) - begin)
    lower, upper = _tails(quantiles)
    # `uniforms` is never 0, but it may be 1, of which the tail is left at its last number below.
    left = np.log(np.minimum(uniforms / _TAIL, 1.0))
    right = np.log(np.minimum(np.maximum(1.0 - uniforms, 1e-17) / _TAIL, 1.0))
    found: Array = inside + lower[..., None] * left - upper[..., None] * right
    return found


def mix(quantiles: Array, weights: Array) -> Array:
    """The seven quantiles of a mixture: (K, ..., 7) and weights (K, ...) that add up to 1 over K, give (..., 7).

    The mixture's distribution function is laid out over the knots of all members, between which it is linear, and inverted
    there. The tails alone are not: they are given four knots more. The levels are met to 0.002, or jumped over by an atom.
    A member whose weight is 0 has no say, however far away it is.
    """
    shape = quantiles.shape[1:-1]
    members = len(quantiles)
    if members == 1 or not quantiles.size:
        alone: Array = quantiles[0].copy()
        return alone
    q = np.moveaxis(quantiles.reshape(members, -1, len(LEVELS)), 0, 1)
    w = np.moveaxis(np.broadcast_to(weights, quantiles.shape[:-1]).reshape(members, -1), 0, 1)
    return _invert(q, w).reshape(*shape, len(LEVELS))


def _invert(q: Array, w: Array) -> Array:
    """`mix` of rows: (rows, K, 7) and (rows, K)."""
    rows, members, _ = q.shape
    knots, masses = _knots(q)
    count = knots.shape[2]
    with np.errstate(all="ignore"):
        width = np.diff(knots, axis=2)
        weighted = masses * w[..., None]
        atoms = width <= np.maximum(ATOM * (q[..., -1:] - q[..., :1]), LEAST_WIDTH)
        # By how much the density changes at each knot; the mass of an atom sits on its upper knot.
        density = np.zeros((rows, members, count + 1))
        density[..., 1:-1] = np.where(atoms, 0.0, weighted / width)
        change = np.diff(density, axis=2).reshape(rows, -1)
        flat = knots.reshape(rows, -1)
        order = np.argsort(flat, axis=1)
        x = np.take_along_axis(flat, order, axis=1)
        change = np.take_along_axis(change, order, axis=1)
        jumps = np.zeros(x.shape)
        if atoms.any():
            jump = np.zeros(knots.shape)
            jump[..., 1:] = np.where(atoms, weighted, 0.0)
            jumps = np.take_along_axis(jump.reshape(rows, -1), order, axis=1)
        total = np.cumsum(change, axis=1)
        # Where one member is far narrower than another, its density would leave rounding behind that drowns the other's.
        rough = np.flatnonzero(density.max((1, 2)) > ROUGH * np.where(density > 0, density, np.inf).min((1, 2)))
        if len(rough):
            owner = order[rough] // count
            total[rough] = sum(
                np.take_along_axis(density[rough, k], np.cumsum(owner == k, axis=1), axis=1) for k in range(members)
            )
        after = np.cumsum(jumps, axis=1)
        after[:, 1:] += np.cumsum(np.maximum(total[:, :-1], 0.0) * np.diff(x, axis=1), axis=1)
        levels = _LEVELS * after[:, -1:]
        # The first knot by which each level is reached, and the one before it.
        place = (after[:, None, :] < levels[..., None] * (1 - 1e-12)).sum(axis=2)
        place = np.clip(place, 1, x.shape[1] - 1)
        at, begin = np.take_along_axis(x, place, axis=1), np.take_along_axis(x, place - 1, axis=1)
        short = np.take_along_axis(after - jumps, place, axis=1) - levels
        slope = np.take_along_axis(total, place - 1, axis=1)
        found = np.where(short < 0, at, np.clip(at - short / slope, begin, at))
    result: Array = np.maximum.accumulate(np.where(np.isfinite(found), found, at), axis=1)
    return result


def _knots(q: Array) -> tuple[Array, Array]:
    """Knots of each member, tails included, and the mass between each two of them: (rows, K, n) and (n - 1,)."""
    lower, upper = _tails(q)
    away = -np.log(_TAIL_KNOTS)
    with np.errstate(over="ignore"):
        left = q[..., :1] - lower[..., None] * away
        right = q[..., -1:] + upper[..., None] * away[::-1]
    shares = np.diff([0.0, *_TAIL_KNOTS[1:], 1.0]) * _TAIL
    masses: Array = np.concatenate((shares, _MASSES, shares[::-1]))
    return np.concatenate((left, q, right), axis=2), masses


def _tails(quantiles: Array) -> tuple[Array, Array]:
    """Scales of the exponential tails: that which continues the density, but not next to nothing beside the band."""
    q = quantiles
    with np.errstate(over="ignore"):
        lower = np.maximum(q[..., 1] - q[..., 0], LEAST_TAIL * (q[..., _MEDIAN] - q[..., 0]))
        upper = np.maximum(q[..., -1] - q[..., -2], LEAST_TAIL * (q[..., -1] - q[..., _MEDIAN]))
    return lower, upper

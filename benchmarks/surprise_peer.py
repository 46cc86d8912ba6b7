"""What probability do simple statistical forecasters give the next value? Peers of the language model, on its own grid.

Each is fitted to the values before, with Student-t errors (scale and degrees of freedom by maximum likelihood, EM after Lange,
Little and Taylor 1989), and says how much probability falls into the cell that the value then took. One per cent is spread
evenly over the grid, so that a single jump costs no peer its whole score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from detectors.language.codec import Grid

__all__ = ["PEERS", "nats"]

FREEDOM = (2.1, 3.0, 4.0, 6.0, 10.0, 30.0)
ORDERS = (1, 2, 3, 4, 6, 8)
SMOOTHING = np.linspace(0.05, 1.0, 20)
EVENLY = 0.01
REFIT_EVERY = 4


def nats(values: NDArray[np.float64], grids: list[Grid], *, first: int, name: str) -> list[float]:
    """-ln of the probability of the cell of each value from `first` on, given all before it; `grids[i]` is that of value i."""
    out = []
    predict: Callable[[NDArray[np.float64]], float] | None = None
    scale = freedom = 1.0
    for i in range(first, len(values)):
        past, grid = values[:i], grids[i]
        if predict is None or (i - first) % REFIT_EVERY == 0:
            predict, residuals, parameters = PEERS[name](past)
            scale, freedom = _student(residuals, floor=grid.cell / 20)
            scale *= np.sqrt(len(residuals) / max(len(residuals) - parameters, 1))
        middle = predict(past)
        cell = grid.encode(values[i])
        cell = (0 if values[i] < grid.low else grid.cells - 1) if cell is None else cell
        low = -np.inf if cell == 0 else grid.low + cell * grid.cell
        high = np.inf if cell == grid.cells - 1 else grid.low + (cell + 1) * grid.cell
        # Of the nearer tail, so that a far cell is not lost in rounding.
        sign = -1.0 if low > middle else 1.0
        edges = np.sort(sign * (np.array([low, high]) - middle)) / scale
        share = float(np.diff(student.cdf(edges, freedom))[0])
        out.append(-float(np.log((1 - EVENLY) * share + EVENLY / grid.cells)))
    return out


def _persistence(past: NDArray[np.float64]) -> tuple[Callable[[NDArray[np.float64]], float], NDArray[np.float64], int]:
    return lambda known: float(known[-1]), np.diff(past), 0


def _smoothing(past: NDArray[np.float64]) -> tuple[Callable[[NDArray[np.float64]], float], NDArray[np.float64], int]:
    levels = np.full(len(SMOOTHING), past[0])
    residuals = []
    for value in past[1:]:
        residuals.append(value - levels)
        levels = levels + SMOOTHING * (value - levels)
    errors = np.array(residuals)
    best = int(np.argmin((errors**2).sum(axis=0)))
    share = SMOOTHING[best]

    def predict(known: NDArray[np.float64]) -> float:
        level = known[0]
        for value in known[1:]:
            level += share * (value - level)
        return float(level)

    return predict, errors[:, best], 1


def _regression(
    past: NDArray[np.float64], orders: tuple[int, ...]
) -> tuple[Callable[[NDArray[np.float64]], float], NDArray[np.float64], int]:
    """Least squares on the last values; of several orders the one with the least Bayesian information criterion."""
    deepest = max(orders)
    target, middle = past[deepest:], float(past.mean())
    found = []
    for order in orders:
        lags = np.stack([past[deepest - k : len(past) - k] for k in range(1, order + 1)], axis=1) - middle
        design = np.column_stack((lags, np.ones(len(target))))
        weights, *_ = np.linalg.lstsq(design, target - middle, rcond=1e-8)
        errors = target - middle - design @ weights
        criterion = len(target) * np.log(max(float((errors**2).mean()), 1e-300)) + (order + 1) * np.log(len(target))
        found.append((criterion, order, weights, errors))
    _, order, weights, errors = min(found, key=lambda one: one[0])

    def predict(known: NDArray[np.float64]) -> float:
        return float(np.append(known[-1 : -order - 1 : -1] - middle, 1.0) @ weights + middle)

    return predict, errors, order + 1


def _student(residuals: NDArray[np.float64], *, floor: float) -> tuple[float, float]:
    """Scale and degrees of freedom that the residuals are likeliest under."""
    best = (-np.inf, floor, FREEDOM[-1])
    for freedom in FREEDOM:
        least = max(floor**2, 1e-300)
        square = max(float(np.median(residuals**2)), least)
        for _ in range(20):
            weights = (freedom + 1) / (freedom + residuals**2 / square)
            square = max(float((weights * residuals**2).mean()), least)
        scale = float(np.sqrt(square))
        best = max(best, (float(student.logpdf(residuals, freedom, scale=scale).sum()), scale, freedom))
    return best[1], best[2]


PEERS: dict[
    str, Callable[[NDArray[np.float64]], tuple[Callable[[NDArray[np.float64]], float], NDArray[np.float64], int]]
] = {
    "persistence": _persistence,
    "smoothing": _smoothing,
    "ar": lambda past: _regression(past, ORDERS),
    "ar8": lambda past: _regression(past, (8,)),
}
"""Fits to the values before; returns the predictor, its residuals and the number of fitted parameters."""

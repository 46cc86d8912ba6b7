"""How much heat do the consumers give, and how cold is the chiller's water?

A day with its peak in the afternoon, a slow and a quick random walk that return to their mean (Ornstein-Uhlenbeck, exact
in time steps of any size), and on the cold side the saw-tooth of a chiller that switches its stages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Chiller", "Load"]

DAY_S = 86_400.0


@dataclass(slots=True, kw_only=True)
class Load:
    """Heat from the consumers in kW."""

    nominal: float = 1000.0
    swing: float = 0.13
    """Half the difference between afternoon and night, as a share."""
    peak_s: float = 15 * 3600.0
    """Second of the day of the peak."""
    slow_std: float = 0.02
    slow_s: float = 1800.0
    quick_std: float = 0.012
    quick_s: float = 90.0
    _slow: float = 0.0
    _quick: float = 0.0

    def step(self, second_of_day: float, dt_s: float, rng: np.random.Generator) -> float:
        """Heat in kW, `dt_s` after the last call."""
        slow, quick = rng.standard_normal(2)
        self._slow = _walk(self._slow, self.slow_std, self.slow_s, dt_s, float(slow))
        self._quick = _walk(self._quick, self.quick_std, self.quick_s, dt_s, float(quick))
        day = self.swing * math.cos(2.0 * math.pi * (second_of_day - self.peak_s) / DAY_S)
        return self.nominal * (1.0 + day + self._slow + self._quick)


@dataclass(slots=True, kw_only=True)
class Chiller:
    """Temperature of the cold water supply in C."""

    mean: float = 0.5
    swing: float = 0.35
    """Half the height of the saw-tooth."""
    cycle_s: float = 660.0
    fall_share: float = 0.3
    """Share of the cycle in which a stage runs and the supply falls."""

    def temperature(self, at_s: float) -> float:
        """Temperature `at_s` seconds into the run."""
        phase = (at_s % self.cycle_s) / self.cycle_s
        fall = self.fall_share
        up = 1.0 - phase / fall if phase < fall else (phase - fall) / (1.0 - fall)
        return self.mean + self.swing * (2.0 * up - 1.0)


def _walk(value: float, std: float, time_s: float, dt_s: float, normal: float) -> float:
    keep = math.exp(-dt_s / time_s)
    return keep * value + std * math.sqrt(1.0 - keep * keep) * normal

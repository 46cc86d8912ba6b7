"""How much water do three pumps on one variator move?

Affinity laws: at the share n of full speed a pump's head is n^2 * shutoff - steepness * q^2. The three run in parallel
against a system curve static + friction * Q^2; both meet in one flow, in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["PumpGroup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpGroup:
    """Equal pumps in parallel and the circuit that they push through; heads in metres, flows in m3/h."""

    count: int = 3
    shutoff: float = 60.0
    """Head of one pump at full speed and no flow."""
    steepness: float = 4.9e-3
    """Head lost per square of one pump's flow, m/(m3/h)^2."""
    static: float = 3.0
    """Head that the circuit asks for at no flow: its check valves."""
    friction: float = 9.8e-4
    """Friction of the circuit per square of the whole flow, m/(m3/h)^2."""

    def flow(self, command: float, *, head_lost: float = 0.0) -> float:
        """Flow in m3/h at a variator command in %, with the share `head_lost` of the pumps' head worn away."""
        speed = min(max(command, 0.0), 100.0) / 100.0
        head = (1.0 - head_lost) * self.shutoff * speed**2 - self.static
        if head <= 0.0:
            return 0.0  # the check valves stay shut
        return math.sqrt(head / (self.friction + self.steepness / self.count**2))

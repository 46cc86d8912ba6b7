"""How much heat passes through a counter-current plate heat exchanger?

Effectiveness-NTU method (Kays and London, Compact Heat Exchangers): with C the heat capacity rates of both sides,
NTU = UA / Cmin and Cr = Cmin / Cmax, the exchanger moves effectiveness * Cmin * (hot inlet - cold inlet), whatever its
outlets are. Film coefficients follow the 0.7 power of the flow, the usual exponent for chevron plates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["GLYCOL", "WATER", "Fluid", "Plates", "effectiveness"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluid:
    """A liquid with constant properties."""

    density: float
    """kg/m3"""
    heat_capacity: float
    """kJ/(kg K)"""

    def capacity_rate(self, flow: float) -> float:
        """Heat capacity rate in kW/K of a flow in m3/h."""
        return self.volumetric * flow / 3600.0

    @property
    def volumetric(self) -> float:
        """Heat that a cubic metre holds per kelvin, in kJ/(m3 K)."""
        return self.density * self.heat_capacity


WATER = Fluid(density=999.7, heat_capacity=4.195)
"""Water at about 8 C."""

GLYCOL = Fluid(density=1033.0, heat_capacity=3.76)
"""Water with 30 % of propylene glycol at about 3 C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plates:
    """The plate pack: film resistance of each side at its nominal flow (K/kW, m3/h) and that of the metal."""

    hot_resistance: float = 1.55e-3
    cold_resistance: float = 1.85e-3
    wall_resistance: float = 0.45e-3
    nominal_flow: float = 140.0

    def conductance(self, hot_flow: float, cold_flow: float, *, fouled: float = 0.0) -> float:
        """UA in kW/K at the two flows (m3/h), of which deposits have taken the share `fouled` (0 to below 1)."""
        if hot_flow <= 0.0 or cold_flow <= 0.0:
            return 0.0
        hot = self.hot_resistance * (self.nominal_flow / hot_flow) ** 0.7
        cold = self.cold_resistance * (self.nominal_flow / cold_flow) ** 0.7
        return float((1.0 - fouled) / (hot + cold + self.wall_resistance))


def effectiveness(units: float, ratio: float) -> float:
    """Effectiveness of a counter-current exchanger with `units` transfer units (NTU) and capacity `ratio` Cmin/Cmax."""
    if abs(1.0 - ratio) < 1e-6:  # the general form is 0/0 here
        return units / (1.0 + units)
    decay = math.exp(-units * (1.0 - ratio))
    return (1.0 - decay) / (1.0 - ratio * decay)

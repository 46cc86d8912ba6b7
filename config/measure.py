"""What is a unit in SI? Those of a heat balance: what is not here cannot be balanced."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FLOWS", "POWERS", "TEMPERATURES", "Conversion", "conversion"]


class Conversion(NamedTuple):
    """value * factor + offset."""

    factor: float
    offset: float = 0.0


POWERS = {"W": Conversion(1e-3), "kW": Conversion(1.0), "MW": Conversion(1e3)}
"""To kW."""
FLOWS = {
    "m3/s": Conversion(1.0),
    "m3/h": Conversion(1 / 3600),
    "l/s": Conversion(1e-3),
    "l/min": Conversion(1e-3 / 60),
    "l/h": Conversion(1e-3 / 3600),
}
"""To m3/s."""
TEMPERATURES = {
    "K": Conversion(1.0),
    "degC": Conversion(1.0, 273.15),
    "degF": Conversion(5 / 9, 459.67 * 5 / 9),
}
"""To K."""

_SPELLINGS = {"°C": "degC", "C": "degC", "°F": "degF", "F": "degF", "L/s": "l/s", "L/min": "l/min", "L/h": "l/h"}


def conversion(unit: str, known: dict[str, Conversion]) -> Conversion | None:
    """How a unit becomes SI's, in its usual spellings; None for one that is not `known`."""
    plain = unit.strip().replace("³", "3").replace("^3", "3")
    return known.get(_SPELLINGS.get(plain, plain))

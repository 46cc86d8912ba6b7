"""What does each instrument show?

A reading is the true value with the instrument's noise, laid on its resolution. The controller of the chilled water has
a probe of its own, and the heat meter its own pair: what goes wrong with a tag's instrument never changes the plant.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SENSORS", "TAGS", "Reading", "Sensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """An instrument; everything in its tag's engineering unit."""

    tag: str
    unit: str
    description: str
    noise: float
    """Standard deviation of one reading."""
    resolution: float
    deadband: float
    """Change that is worth a report."""

    def show(self, value: float) -> float:
        """`value` on the instrument's resolution, free of binary dust."""
        return round(round(value / self.resolution) * self.resolution, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an instrument shows at one scan: a value, or None with the reason."""

    tag: str
    value: float | None
    reason: str = ""


SENSORS = (
    Sensor(tag="flow", unit="m3/h", description="Water flow", noise=0.35, resolution=0.1, deadband=0.5),
    Sensor(
        tag="pump_command",
        unit="%",
        description="Command to the variator of the three pumps",
        noise=0.0,
        resolution=0.1,
        deadband=0.05,
    ),
    Sensor(
        tag="inlet",
        unit="degC",
        description="Temperature of the water that comes back",
        noise=0.025,
        resolution=0.01,
        deadband=0.04,
    ),
    Sensor(
        tag="chilled_water",
        unit="degC",
        description="Temperature of the chilled water that leaves",
        noise=0.018,
        resolution=0.01,
        deadband=0.02,
    ),
    Sensor(tag="power", unit="kW", description="Cooling power", noise=4.0, resolution=1.0, deadband=6.0),
)
TAGS = tuple(sensor.tag for sensor in SENSORS)

"""How far does the cold side's valve open, and who decides it?

A PI controller in its discrete form holds the chilled water at its set point; its integral stops while the output is
saturated (clamping), so that it does not wind up. The valve has an equal-percentage trim and an actuator of finite speed.
A controller whose gain someone has turned up too far hunts: the loop swings between the ends that the actuator can reach.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Controller", "Valve"]


class Controller:
    """PI controller of a process that must be cooled more when it is too warm; output is 0 to 1."""

    def __init__(self, *, setpoint: float, gain: float, integral_s: float, output: float) -> None:
        self.setpoint = setpoint
        self._gain = gain
        self._integral_s = integral_s
        self._integral = output

    def step(self, measured: float, dt_s: float, *, gain_factor: float = 1.0) -> float:
        """New output, `dt_s` after the last one, with the proportional part multiplied by `gain_factor`."""
        error = measured - self.setpoint
        moved = self._integral + self._gain * error * dt_s / self._integral_s
        output = self._gain * gain_factor * error + moved
        inside = 0.0 < output < 1.0
        returning = (output >= 1.0 and error < 0.0) or (output <= 0.0 and error > 0.0)
        if inside or returning:
            self._integral = moved
        return min(max(output, 0.0), 1.0)


@dataclass(slots=True, kw_only=True)
class Valve:
    """Control valve with actuator; `position` is the share of the stroke."""

    position: float
    full_flow: float = 260.0
    """m3/h when open."""
    rangeability: float = 30.0
    authority: float = 0.5
    """Share of the circuit's pressure drop that the open valve takes: less of it bends the characteristic."""
    stroke_s: float = 75.0
    """Time from shut to open."""

    def move(self, wanted: float, dt_s: float) -> None:
        """Moves towards `wanted` at the actuator's speed."""
        reach = dt_s / self.stroke_s
        self.position += min(max(wanted - self.position, -reach), reach)

    def flow(self) -> float:
        """Flow in m3/h at the present position: installed characteristic of an equal-percentage trim."""
        trim = self.rangeability ** (self.position - 1.0)
        return float(self.full_flow / (1.0 - self.authority + self.authority / trim**2) ** 0.5)

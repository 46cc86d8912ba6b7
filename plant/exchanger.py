"""What happens in a chilled-water plate heat exchanger, second by second?

Consumers warm the water of a closed loop; three pumps bring it to the exchanger, where a cold glycol circuit takes the
heat. A PI controller moves the valve on the cold side so that the water leaves at 5 C, and the pump command follows the
temperature of the water that comes back. Heat passes by effectiveness-NTU; each side's hold-up of liquid and metal is
one thermal mass, and pipes are plug flow. Pure: time moves in `step` alone, and a seed fixes everything.
Only faults are told from outside, as a `Wear`; it never changes which random numbers are drawn, so that a plant with a
fault is the same plant as without until the fault begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plant.control import Controller, Valve
from plant.heat import GLYCOL, WATER, Plates, effectiveness
from plant.load import DAY_S, Chiller, Load
from plant.pipe import Pipe
from plant.pump import PumpGroup

__all__ = ["NO_WEAR", "Exchanger", "State", "Wear"]

SETPOINT = 5.0
RETURN_SETPOINT = 11.5
"""Temperature of the returning water that the pump command is trimmed to, C."""

STEP_S = 1.0
"""Longest step of the integration; longer ones are divided."""
SETTLE_S = 1800.0
"""Run-in before the first second, so that the plant is met in operation."""

HOT_MASS = 2900.0
COLD_MASS = 2600.0
"""Hold-up of each side with its half of the plates, kJ/K (about 0.6 m3 of water and 1.2 t of steel in all)."""
OUTLET_PIPE = 0.12
"""Volume from the plates to the outlet's thermometer, m3."""
NETWORK_PIPE = 1.6
"""Volume of the supply and of the return pipe, m3 each."""
CONSUMERS = 12.0
"""Volume of the consumers' coils and tank, mixed, m3."""
THERMOMETER_S = 5.0
"""Time constant of a resistance thermometer in its well."""

TRIM_S = 60.0
TRIM = 0.5
TRIM_BAND = 0.35
"""Each `TRIM_S` seconds the command moves by `TRIM` % if the return is more than `TRIM_BAND` K off."""
AIR_S = 4.0
"""Time for which a pocket of air stays in the pumps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """What is wrong with the machinery now; a healthy plant has the defaults."""

    fouled: float = 0.0
    """Share of the conductance lost to deposits."""
    head_lost: float = 0.0
    """Share of the pumps' head lost."""
    air: float = 0.0
    """Largest share of the flow that air takes away."""
    gain_factor: float = 1.0
    """By how much the controller's gain is too high."""
    extra_load: float = 0.0
    """Heat of a consumer that is switched on close to the exchanger, as a share of the nominal load."""


NO_WEAR = Wear()
"""A healthy plant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The true values at one moment: C, m3/h, % and kW; thermometers lag behind them."""

    flow: float
    pump_command: float
    inlet: float
    chilled_water: float
    power: float
    load: float
    cold_flow: float
    cold_inlet: float
    cold_outlet: float
    valve: float
    heat: float
    """What passes through the plates, kW; `power` is what the measured side gives up."""


class Exchanger:
    """The plant room: exchanger, pumps, valve, controller, consumers."""

    def __init__(self, *, seed: int, second_of_day: float = 43_200.0) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._plates = Plates()
        self._pumps = PumpGroup()
        self._load = Load()
        self._chiller = Chiller()
        self._command = 72.0
        self._valve = Valve(position=0.8)
        self._controller = Controller(setpoint=SETPOINT, gain=0.09, integral_s=22.0, output=0.8)
        self._hot_out = SETPOINT
        self._cold_out = 7.0
        self._outlet = Pipe(OUTLET_PIPE, SETPOINT)
        self._supply = Pipe(NETWORK_PIPE, SETPOINT)
        self._return = Pipe(NETWORK_PIPE, RETURN_SETPOINT)
        self._consumers = RETURN_SETPOINT
        self._air = 0.0
        self._at_s = -SETTLE_S
        self._second_of_day = second_of_day
        self._trimmed_s = 0.0
        self._thermometer = SETPOINT
        self._return_thermometer = RETURN_SETPOINT
        self.state = self._advance(STEP_S, NO_WEAR)
        while self._at_s < 0.0:
            self.step(STEP_S)

    @property
    def at_s(self) -> float:
        """Seconds since the start."""
        return self._at_s

    @property
    def stored(self) -> float:
        """Heat in the loop's water and in both sides of the plates above 0 C, in kJ: what an energy balance needs."""
        water = self._outlet.content + self._supply.content + self._return.content + CONSUMERS * self._consumers
        return water * WATER.volumetric + HOT_MASS * self._hot_out + COLD_MASS * self._cold_out

    def step(self, dt_s: float, wear: Wear = NO_WEAR) -> State:
        """Moves the plant `dt_s` seconds on and returns its state then."""
        if not dt_s > 0.0:
            raise ValueError(f"step: dt_s must be above 0, found {dt_s}")
        left = dt_s
        while left > 0.0:
            part = min(left, STEP_S)
            self.state = self._advance(part, wear)
            left -= part
        return self.state

    def _advance(self, dt_s: float, wear: Wear) -> State:
        self._at_s += dt_s
        load = self._load.step((self._second_of_day + self._at_s) % DAY_S, dt_s, self._rng)
        load_kw = load + wear.extra_load * self._load.nominal
        flow = self._flow(dt_s, wear)
        volume = flow / 3600.0 * dt_s
        hot_rate = WATER.capacity_rate(flow)

        # Round the loop: plates -> thermometer -> consumers (mixed) -> a consumer next door -> return.
        leaving = self._outlet.push(volume, self._hot_out)
        arriving = self._supply.push(volume, leaving)
        extra = (load_kw - load) / hot_rate if hot_rate > 0.0 else 0.0
        inlet = self._return.push(volume, self._consumers) + extra
        self._consumers += (volume * (arriving - self._consumers) + load * dt_s / WATER.volumetric) / CONSUMERS

        # The exchanger itself.
        self._control(dt_s, wear)
        cold_flow = self._valve.flow()
        cold_rate = GLYCOL.capacity_rate(cold_flow)
        cold_inlet = self._chiller.temperature(self._at_s + SETTLE_S)
        conductance = self._plates.conductance(flow, cold_flow, fouled=wear.fouled)
        least, most = sorted((hot_rate, cold_rate))
        heat = 0.0
        if least > 0.0:
            heat = effectiveness(conductance / least, least / most) * least * (inlet - cold_inlet)
        self._hot_out += (hot_rate * (inlet - self._hot_out) - heat) * dt_s / HOT_MASS
        self._cold_out += (heat - cold_rate * (self._cold_out - cold_inlet)) * dt_s / COLD_MASS

        lag = min(1.0, dt_s / THERMOMETER_S)
        self._thermometer += lag * (leaving - self._thermometer)
        self._return_thermometer += lag * (inlet - self._return_thermometer)
        return State(
            flow=flow,
            pump_command=self._command,
            inlet=self._return_thermometer,
            chilled_water=self._thermometer,
            power=hot_rate * (inlet - leaving),
            load=load_kw,
            cold_flow=cold_flow,
            cold_inlet=cold_inlet,
            cold_outlet=self._cold_out,
            valve=self._valve.position,
            heat=heat,
        )

    def _flow(self, dt_s: float, wear: Wear) -> float:
        self._trimmed_s += dt_s
        if self._trimmed_s >= TRIM_S:
            self._trimmed_s = 0.0
            off = self._return_thermometer - RETURN_SETPOINT
            if abs(off) > TRIM_BAND:
                self._command = min(max(self._command + (TRIM if off > 0.0 else -TRIM), 40.0), 95.0)
        keep = max(0.0, 1.0 - dt_s / AIR_S)
        self._air = keep * self._air + (1.0 - keep) * float(self._rng.uniform())
        return self._pumps.flow(self._command, head_lost=wear.head_lost) * (1.0 - wear.air * self._air)

    def _control(self, dt_s: float, wear: Wear) -> None:
        wanted = self._controller.step(self._thermometer, dt_s, gain_factor=wear.gain_factor)
        self._valve.move(wanted, dt_s)

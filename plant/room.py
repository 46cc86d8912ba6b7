"""What does the plant room's PLC report at each scan?

The exchanger, its instruments, the faults of both and report by exception, in one place without servers or clock: the
same seed and scenario give the same reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plant.exchanger import Exchanger, State
from plant.faults import Fault, Kind, Schedule, machine_wear
from plant.report import ReportByException
from plant.sensor import SENSORS, Reading, Sensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SCAN_S", "PlantRoom", "Scan"]

SCAN_S = 1.0
BAD_SENSOR = "BadSensorFailure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One scan: true state, what the instruments show, which of it is reported, and the faults that begin with it."""

    at_s: float
    state: State
    readings: tuple[Reading, ...]
    reports: tuple[Reading, ...]
    begun: tuple[Fault, ...]


class PlantRoom:
    """The plant as its PLC sees it."""

    def __init__(self, *, seed: int, faults: Iterable[Fault] = (), second_of_day: float = 43_200.0) -> None:
        self._exchanger = Exchanger(seed=seed, second_of_day=second_of_day)
        self._schedule = Schedule(faults)
        self._rng = np.random.default_rng([seed, 2])
        self._rules = {sensor.tag: ReportByException(sensor.deadband) for sensor in SENSORS}
        self._stuck: dict[Fault, float] = {}
        self._at_s = -SCAN_S

    def scan(self) -> Scan:
        """Moves the plant on by one scan; the first one is at second 0."""
        self._at_s += SCAN_S
        begun, active = self._schedule.advance(self._at_s)
        state = self._exchanger.step(SCAN_S, machine_wear(active, self._at_s))
        self._stuck = {fault: value for fault, value in self._stuck.items() if fault in active}
        noise = self._rng.standard_normal(len(SENSORS))
        readings = tuple(
            self._read(sensor, getattr(state, sensor.tag) + sensor.noise * float(normal), active)
            for sensor, normal in zip(SENSORS, noise, strict=True)
        )
        silent = {fault.tag for fault in active if fault.kind is Kind.LOST_SOURCE}
        reports = tuple(
            reading
            for reading in readings
            if not silent & {"", reading.tag} and self._rules[reading.tag].is_due(reading, self._at_s)
        )
        return Scan(at_s=self._at_s, state=state, readings=readings, reports=reports, begun=tuple(begun))

    def _read(self, sensor: Sensor, value: float, active: Sequence[Fault]) -> Reading:
        for fault in active:
            if fault.tag != sensor.tag:
                continue
            if fault.kind is Kind.BAD_QUALITY:
                return Reading(tag=sensor.tag, value=None, reason=BAD_SENSOR)
            if fault.kind is Kind.SENSOR_DRIFT:
                value += fault.size * fault.progress(self._at_s)
            elif fault.kind is Kind.STUCK_SENSOR:
                value = self._stuck.setdefault(fault, value + fault.size)
        return Reading(tag=sensor.tag, value=sensor.show(value))

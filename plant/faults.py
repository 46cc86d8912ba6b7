"""What goes wrong in the plant, and when?

A fault has a kind, a beginning and an end in seconds since the plant's start, a size in the unit of its kind, and, where
one sensor is meant, a tag. A scenario is a sequence of faults, by name (`quiet`, `tour`) or written out:
``load_step@120+60,sensor_drift:inlet=2@300+80`` (kind, tag, size, begin, duration; tag and size may be left out).
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from plant.exchanger import NO_WEAR, Wear
from plant.sensor import TAGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Fault", "Kind", "Schedule", "ScheduleError", "machine_wear", "parse_schedule", "scenario", "tour"]


class ScheduleError(ValueError):
    """A fault, or a schedule's text, that cannot be."""


class Kind(StrEnum):
    """Kinds of fault; `docs/plant.md` has the table of what each does."""

    FOULING = "fouling"
    PUMP_WEAR = "pump_wear"
    VALVE_HUNTING = "valve_hunting"
    AIR_IN_LOOP = "air_in_loop"
    LOAD_STEP = "load_step"
    SENSOR_DRIFT = "sensor_drift"
    STUCK_SENSOR = "stuck_sensor"
    BAD_QUALITY = "bad_quality"
    LOST_SOURCE = "lost_source"


@dataclass(frozen=True, slots=True)
class _Traits:
    size: float
    """What stands for a size left out."""
    low: float
    high: float
    tag: str | None
    """What stands for a tag left out; None: the kind concerns the machinery and takes no tag."""


# Shares end below 1: a loop without any flow or heat transfer is another plant.
_TRAITS = {
    Kind.FOULING: _Traits(0.6, 0.0, 0.95, None),
    Kind.PUMP_WEAR: _Traits(0.35, 0.0, 0.8, None),
    Kind.VALVE_HUNTING: _Traits(40.0, 1.0, 100.0, None),
    Kind.AIR_IN_LOOP: _Traits(0.35, 0.0, 0.9, None),
    Kind.LOAD_STEP: _Traits(0.5, -0.5, 1.0, None),
    Kind.SENSOR_DRIFT: _Traits(0.8, -1e6, 1e6, "chilled_water"),
    Kind.STUCK_SENSOR: _Traits(0.0, -1e6, 1e6, "chilled_water"),
    Kind.BAD_QUALITY: _Traits(0.0, 0.0, 0.0, "chilled_water"),
    Kind.LOST_SOURCE: _Traits(0.0, 0.0, 0.0, ""),
}

PUMP_WEAR_S = 5.0
"""Time in which worn pumps lose their head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One labelled fault, from `begin_s` up to `end_s`.

    `tag` is empty where the fault concerns the machinery, or every tag (a lost source).

    Raises ScheduleError where the parts do not fit the kind.
    """

    kind: Kind
    begin_s: float
    end_s: float
    size: float
    tag: str = ""

    def __post_init__(self) -> None:
        traits = _TRAITS[self.kind]
        if not (math.isfinite(self.begin_s) and math.isfinite(self.end_s) and 0.0 <= self.begin_s < self.end_s):
            raise ScheduleError(f"{self.kind}: expected 0 <= begin < end, found {self.begin_s:g} and {self.end_s:g}")
        if not traits.low <= self.size <= traits.high:
            span = f"{traits.low:g} to {traits.high:g}"
            raise ScheduleError(f"{self.kind}: expected a size of {span}, found {self.size:g}")
        if traits.tag is None and self.tag:
            raise ScheduleError(f"{self.kind}: concerns the machinery and takes no tag, found {self.tag!r}")
        if self.tag and self.tag not in TAGS:
            raise ScheduleError(f"{self.kind}: expected one of the tags {', '.join(TAGS)}, found {self.tag[:40]!r}")
        if traits.tag and not self.tag:
            raise ScheduleError(f"{self.kind}: needs a tag, one of {', '.join(TAGS)}")

    def progress(self, at_s: float) -> float:
        """How much of the fault is over, 0 to 1."""
        return min(max((at_s - self.begin_s) / (self.end_s - self.begin_s), 0.0), 1.0)


class Schedule:
    """Faults by their time; `faults` may be endless, and must then come in the order of their beginnings."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._coming: Iterator[Fault] = iter(faults)
        self._next = next(self._coming, None)
        self._active: list[Fault] = []

    def advance(self, at_s: float) -> tuple[list[Fault], Sequence[Fault]]:
        """Faults that have begun since the last call, and all that are active at `at_s`."""
        begun: list[Fault] = []
        while self._next is not None and self._next.begin_s <= at_s:
            begun.append(self._next)
            self._next = next(self._coming, None)
        self._active = [fault for fault in (*self._active, *begun) if fault.end_s > at_s]
        return begun, self._active


def machine_wear(active: Iterable[Fault], at_s: float) -> Wear:
    """What the active faults do to the machinery; of two of one kind the greater counts."""
    fouled = head_lost = air = extra_load = 0.0
    gain_factor = NO_WEAR.gain_factor
    for fault in active:
        if fault.kind is Kind.FOULING:
            fouled = max(fouled, fault.size * fault.progress(at_s))
        elif fault.kind is Kind.PUMP_WEAR:
            head_lost = max(head_lost, fault.size * min(1.0, (at_s - fault.begin_s) / PUMP_WEAR_S))
        elif fault.kind is Kind.AIR_IN_LOOP:
            air = max(air, fault.size)
        elif fault.kind is Kind.VALVE_HUNTING:
            gain_factor = max(gain_factor, fault.size)
        elif fault.kind is Kind.LOAD_STEP:
            extra_load = max(extra_load, fault.size, key=abs)
    return Wear(fouled=fouled, head_lost=head_lost, air=air, gain_factor=gain_factor, extra_load=extra_load)


_FAULT = re.compile(
    r"(?P<kind>\w+)(?::(?P<tag>\w+))?(?:=(?P<size>[+-]?[\d.]+))?@(?P<begin>[\d.]+)\+(?P<duration>[\d.]+)", re.ASCII
)


def parse_schedule(text: str) -> list[Fault]:
    """Faults written as ``kind[:tag][=size]@begin+duration`` and parted by commas, in the order of their beginnings.

    Raises ScheduleError that quotes what cannot be read.
    """
    faults = [_parse_fault(part.strip()) for part in text.split(",")]
    return sorted(faults, key=lambda fault: fault.begin_s)


def _parse_fault(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    if match is None:
        shape = "kind[:tag][=size]@begin+duration, such as load_step@120+60"
        raise ScheduleError(f"fault {text[:60]!r}: expected {shape}")
    if match["kind"] not in set(Kind):
        raise ScheduleError(f"fault {text[:60]!r}: expected one of the kinds {', '.join(Kind)}")
    kind = Kind(match["kind"])
    traits = _TRAITS[kind]
    try:
        begin_s, duration_s = float(match["begin"]), float(match["duration"])
        size = traits.size if match["size"] is None else float(match["size"])
    except ValueError as error:
        raise ScheduleError(f"fault {text[:60]!r}: expected decimal numbers, {error}") from None
    tag = match["tag"] or traits.tag or ""
    return Fault(kind=kind, tag=tag, begin_s=begin_s, end_s=begin_s + duration_s, size=size)


# Kind, tag, size, duration and the time until the next one begins. Faults of the machinery, from which the loop needs up to
# two minutes to swing back into its band, take turns with faults of the instruments.
_TOUR = (
    (Kind.LOAD_STEP, "", 0.5, 60.0, 140.0),
    (Kind.BAD_QUALITY, "flow", 0.0, 70.0, 110.0),
    (Kind.PUMP_WEAR, "", 0.35, 60.0, 190.0),
    (Kind.SENSOR_DRIFT, "chilled_water", 0.8, 80.0, 110.0),
    (Kind.AIR_IN_LOOP, "", 0.35, 60.0, 190.0),
    (Kind.STUCK_SENSOR, "chilled_water", 0.4, 70.0, 110.0),
    (Kind.FOULING, "", 0.6, 75.0, 180.0),
    (Kind.LOST_SOURCE, "", 0.0, 90.0, 120.0),
    (Kind.VALVE_HUNTING, "", 40.0, 75.0, 180.0),
    (Kind.BAD_QUALITY, "power", 0.0, 70.0, 110.0),
)
TOUR_BEGIN_S = 100.0


def tour() -> Iterator[Fault]:
    """Every kind in turn, for ever: the first after 100 s, then one about every two minutes."""
    begin_s = TOUR_BEGIN_S
    for kind, tag, size, duration_s, spacing_s in itertools.cycle(_TOUR):
        yield Fault(kind=kind, tag=tag, begin_s=begin_s, end_s=begin_s + duration_s, size=size)
        begin_s += spacing_s


def scenario(text: str) -> Iterable[Fault]:
    """Faults of the scenario `quiet` (none) or `tour`, or of a schedule written out.

    Raises ScheduleError where it is neither.
    """
    if text == "quiet":
        return ()
    if text == "tour":
        return tour()
    if "@" not in text:
        raise ScheduleError(f"scenario {text[:60]!r}: expected quiet, tour, or a schedule such as load_step@120+60")
    return parse_schedule(text)

"""What may be an alarm? The rules of a tag, of an asset and of a source, as they stand in a configuration file."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.form import AlarmName, Amount, Duration, Finite, Name, Positive, Priority, Section, Span, wrong

__all__ = [
    "Alarm",
    "Balance",
    "Baseline",
    "Breach",
    "Deviation",
    "Drift",
    "Frozen",
    "Level",
    "Limits",
    "Liquid",
    "Lost",
    "Novelty",
    "Physical",
    "Pump",
    "Rarity",
    "Rate",
    "Surprise",
    "Tolerance",
]


class Physical(Section):
    """What the sensor can show at all; a value outside is a broken signal, not a measurement."""

    low: Finite = Field(description="lowest value that it can show, in the tag's unit")
    high: Finite = Field(description="highest")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.low < self.high:
            raise wrong("low", f"expected low below high {self.high:g}, found {self.low:g}")
        return self


class Alarm(Section):
    """What every alarm has."""

    on_delay_s: Duration = Field(default=0.0, description="how long the condition must hold before the alarm is raised")
    off_delay_s: Duration = Field(default=0.0, description="how long it must be over before the alarm is cleared")
    priority: Priority = Field(default="medium", description="how much the alarm matters")
    suppressed_by: list[AlarmName] = Field(
        default=[], description="alarms, `asset/tag/rule`, that explain it: while one of them stands, it is not raised"
    )


class Tolerance(Alarm):
    """The band setpoint +/- tolerance, judged on every sample as it arrives."""

    setpoint: Finite | None = Field(
        default=None,
        description="middle of the band, in the tag's unit; beside `setpoint_tag`, until that has told one",
    )
    setpoint_tag: Name | None = Field(default=None, description="tag of the asset that tells the set point")
    settle_s: Duration = Field(
        default=0.0, description="nothing is judged for so long after the set point of `setpoint_tag` has changed"
    )
    tolerance: Positive = Field(description="half the width of the band")
    deadband: Amount = Field(
        default=0.0, description="how far back inside the band the value must come before the alarm may clear"
    )

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.deadband >= self.tolerance:
            message = f"expected deadband below tolerance {self.tolerance:g}, found {self.deadband:g}"
            raise wrong("deadband", message)
        if self.setpoint is None and self.setpoint_tag is None:
            raise ValueError("expected a `setpoint`, or a `setpoint_tag` that tells it")
        if self.settle_s and self.setpoint_tag is None:
            raise wrong("settle_s", "expected no `settle_s`: without `setpoint_tag` the set point never changes")
        return self


class Level(Alarm):
    """A level that the value must not pass; the level itself is allowed."""

    at: Finite = Field(description="the level, in the tag's unit")
    deadband: Amount = Field(default=0.0, description="how far back the value must come before the alarm may clear")


class Limits(Section):
    """Levels, each an alarm of its own, judged on every sample as it arrives."""

    low_low: Level | None = Field(default=None, description="LL, below `low`")
    low: Level | None = Field(default=None, description="L")
    high: Level | None = Field(default=None, description="H")
    high_high: Level | None = Field(default=None, description="HH, above `high`")

    @property
    def levels(self) -> dict[str, Level]:
        """Those that are given, in rising order."""
        found = {"low_low": self.low_low, "low": self.low, "high": self.high, "high_high": self.high_high}
        return {name: level for name, level in found.items() if level is not None}

    @property
    def middle(self) -> float | None:
        """Half way between the lower and the upper level that are next to each other; None without both sides."""
        lower, upper = self.low or self.low_low, self.high or self.high_high
        return None if lower is None or upper is None else (lower.at + upper.at) / 2

    @model_validator(mode="after")
    def _order(self) -> Self:
        levels = list(self.levels.items())
        if not levels:
            raise ValueError("expected at least one of low_low, low, high, high_high")
        for (below, lower), (above, upper) in pairwise(levels):
            if not lower.at < upper.at:
                raise wrong(above, f"expected a level above {below} {lower.at:g}, found {upper.at:g}")
        for name, level in levels:
            if (middle := self.middle) is not None and level.deadband >= abs(level.at - middle):
                way = f"below {abs(level.at - middle):g}, the way from the middle between low and high"
                raise wrong(name, f"expected a deadband {way}, found {level.deadband:g}")
        return self


class Rate(Alarm):
    """How fast the value may change, judged on every closed step."""

    per_minute: Positive = Field(description="change that is still allowed, in the tag's unit per minute")
    over_s: Span = Field(
        description="time over which the change is taken: the longer, the less the sensor's noise counts"
    )
    direction: Literal["both", "rising", "falling"] = Field(default="both", description="which change counts")


class Frozen(Alarm):
    """The sensor shows exactly the same value for longer than it ever does, while the asset's other tags move."""

    resolution: Amount = Field(default=0.0, description="a change of no more than this is none, in the tag's unit")
    after_s: Span | None = Field(
        default=None, description="how long one value may be shown; absent: learnt from what the tag does"
    )
    at_rest: list[Finite] = Field(default=[], description="values that it may show for ever: 0 of a flow meter")


class Deviation(Alarm):
    """The measured value against the forecast band, judged on every closed step."""

    minimum: Positive = Field(
        description="a smaller distance from the median is never an alarm, however narrow the band"
    )


class Surprise(Alarm):
    """The forecasts no longer fit: a test martingale over what the panel had expected, judged on every scored step."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=1e-5,
        description="false alarms per step, at most, where the forecasts are right: 1e-5 is one in 100,000 steps",
    )


class Breach(Alarm):
    """The band of `tolerance` is about to be left: judged on every forecast."""

    probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.6, description="how probable it must be that the band is left within the horizon"
    )


class Lost(Alarm):
    """No tag of the source reports any more: one alarm, and none that its tags are stale."""

    priority: Priority = Field(default="high", description="how much the alarm matters")


class Liquid(Section):
    """What carries the heat, at the temperature of the plant."""

    density: Positive = Field(
        default=999.7, description="kg/m3; water at 8 C: 999.7, 30 % of propylene glycol at 3 C: 1033"
    )
    heat_capacity: Positive = Field(
        default=4.195, description="kJ/(kg K); of the same water 4.195, of the same glycol 3.76"
    )


class Balance(Alarm):
    """Power against density * heat capacity * flow * (warm - cold), judged where it is steady.

    Units: W, kW, MW; m3/h, m3/s, l/h, l/min, l/s; degC, degF, K.
    """

    power: Name = Field(description="tag of the heat meter's power")
    flow: Name = Field(description="tag of the flow")
    warm: Name = Field(description="tag of the temperature on the warm side")
    cold: Name = Field(description="tag of the temperature on the cold side")
    liquid: Liquid = Field(default=Liquid(), description="what flows")
    tolerance_percent: Positive = Field(default=10.0, description="share of the heat that may be missing or too much")
    minimum_kw: Positive = Field(description="less than this, in kW, is never an alarm")
    min_flow: Positive = Field(description="below this flow, in its tag's unit, nothing is judged")
    min_difference: Positive = Field(default=1.0, description="below this difference of temperatures, in K, neither")
    steady_s: Span = Field(
        default=120.0, description="means over so long are compared: longer than the liquid takes from sensor to sensor"
    )


class Pump(Alarm):
    """A pump that is told to run makes a flow, and one that is not makes none."""

    command: Name = Field(description="tag of the command")
    flow: Name = Field(description="tag of the flow")
    on_above: Finite = Field(default=0.0, description="above this the command means that the pump is to run")
    flow_above: Finite = Field(description="above this there is a flow, in the flow's unit")
    delay_s: Span = Field(default=60.0, description="how long the two may disagree")


class Novelty(Alarm):
    """The last steps have no like in the tag's own normal past: a course of the day that never was."""

    remember_s: Span = Field(
        default=604_800.0,
        description="how far back it remembers (20,000 steps at most); judged from a day on, or a half of it",
    )
    minimum: Amount = Field(default=0.0, description="a smaller distance is never an alarm, in the tag's unit")


class Drift(Alarm):
    """The mean of the tag has changed, by ADWIN: for tags that are held at one level."""

    chance: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.002, description="how readily chance is taken for a change (the delta of the method)"
    )
    minimum: Amount = Field(default=0.0, description="a smaller change is none, in the tag's unit")


class Rarity(Alarm):
    """The value and its change are as they hardly ever are, by half-space trees: give it an on-delay."""


class Baseline(Section):
    """What is usual is learnt from the asset's own normal operation; what moves away from it is an alarm.

    Each rule is made an alarm of if it is given; nothing is judged before `learn_s` of normal operation.
    """

    learn_s: Span = Field(default=86_400.0, description="the last so long of normal operation say what is usual")
    tags: list[Name] = Field(default=[], description="tags of the asset that belong to it; absent: all of them")
    chance: Annotated[float, Field(gt=0, lt=0.1)] = Field(
        default=4e-4, description="how often, at most, a normal moment may look like a shift of any of the tags"
    )
    shift: Alarm | None = Field(
        default=None, description="a tag has left its level, by an alarm of each tag that has one"
    )
    components: Alarm | None = Field(
        default=None, description="the tags no longer fit together: principal components, T2 and Q"
    )
    mahalanobis: Alarm | None = Field(default=None, description="the same by the Mahalanobis distance")
    forest: Alarm | None = Field(default=None, description="the same by an isolation forest")

    @property
    def rules(self) -> dict[str, Alarm]:
        """Those that are given."""
        found = {name: getattr(self, name) for name in ("shift", "components", "mahalanobis", "forest")}
        return {name: rule for name, rule in found.items() if rule is not None}

    @model_validator(mode="after")
    def _asked(self) -> Self:
        if not self.rules:
            raise ValueError("expected at least one of shift, components, mahalanobis, forest")
        return self

"""What is watched, as the settings say: of each tag its window, its detectors and the rule of each alarm; what spans tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.measure import FLOWS, POWERS, TEMPERATURES, Conversion, conversion
from detectors.alarm import AlarmRule
from detectors.balance import Balance, HeatBalance, Quantity
from detectors.breach import Breach
from detectors.deviation import Deviation
from detectors.frozen import Company, Frozen
from detectors.limits import Level, Tolerance
from detectors.line import Line, Lost
from detectors.rate import Rate
from detectors.records import Priority
from detectors.response import Response
from detectors.setpoint import FollowingBreach, FollowingTolerance, Setpoint
from detectors.shift import Shift
from detectors.signal import Physical, Soundness, Stale
from detectors.surprise import Surprise
from stream.watch import ModelWatch, SeriesWatch, Watch
from stream.window import RollingWindow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.rule import Alarm as AlarmSettings
    from config.rule import Limits as LimitsSettings
    from config.rule import Tolerance as ToleranceSettings
    from config.schema import Asset, Settings, Tag

__all__ = ["judged_elsewhere", "watches"]

SETPOINT_SLACK = 0.1
"""Share of the tolerance by which a set point may move without the plant having to settle anew."""


def watches(settings: Settings, *, length: int) -> tuple[list[Watch], list[SeriesWatch]]:
    """What is watched of every tag, with windows of `length` steps, and what is watched of several steps or tags."""
    lines = {
        source: Line({name: tag.hold_s for name, tag in settings.tags().items() if tag.source.name == source})
        for source in settings.sources
    }
    by_name: dict[str, Watch] = {}
    series: list[SeriesWatch] = []
    for asset_name, asset in settings.assets.items():
        company = Company()
        for own_name, tag in asset.tags.items():
            name = f"{asset_name}/{own_name}"
            line = lines[tag.source.name]
            by_name[name] = _watch(name, tag, line=line, length=length, lateness_s=settings.lateness_s)
            _watch_stillness(by_name[name], tag, company, line)
            series += _rates(name, tag)
        for own_name, tag in asset.tags.items():
            if tag.tolerance is not None:
                _watch_band(by_name, f"{asset_name}/{own_name}", tag, tag.tolerance)
        series += _balances(asset_name, asset)
        series += _pumps(asset_name, asset)
    return list(by_name.values()), [*series, *_lost(settings, lines)]


def judged_elsewhere(settings: Settings) -> list[ModelWatch]:
    """What the model lane judges: what it follows tag by tag, and of each baseline its tags and the asset as a whole."""
    found = [
        ModelWatch(tag=name, rule_name=rule_name, rule=_rule(rule, tag.unit, clear_below=0.5))
        for name, tag in settings.tags().items()
        for rule_name, rule in tag.followed.items()
    ]
    for name, asset in settings.assets.items():
        if asset.baseline is None:
            continue
        for rule_name, rule in asset.baseline.rules.items():
            tags = [f"{name}/{tag}" for tag in asset.baseline.tags or asset.tags]
            for tag in tags if rule_name == Shift.rule else [f"asset/{name}"]:
                unit = settings.tags()[tag].unit if rule_name == Shift.rule else ""
                alarm = _rule(rule, unit, clear_below=0.5)
                found.append(ModelWatch(tag=tag, rule_name=rule_name, rule=alarm))
    return found


def _watch(name: str, tag: Tag, *, line: Line, length: int, lateness_s: float) -> Watch:
    health = AlarmRule(priority=Priority.LOW, unit=tag.unit)
    watch = Watch(
        window=RollingWindow(tag=name, period_s=tag.period_s, hold_s=tag.hold_s, length=length, lateness_s=lateness_s),
        observers=[line],
        on_report=[(Soundness(), health)],
        on_step=[(Stale(hold_s=tag.hold_s, line=line), health)],
    )
    if tag.physical is not None:
        watch.physical = Physical(low=tag.physical.low, high=tag.physical.high)
        watch.on_report = [*watch.on_report, (watch.physical, health)]
    if tag.limits is not None:
        watch.on_sample = _levels(tag.limits, tag)
    if tag.deviation is not None:
        watch.deviation = (Deviation(minimum=tag.deviation.minimum), _rule(tag.deviation, tag.unit, clear_below=0.9))
    if tag.surprise is not None:
        watch.surprise = (Surprise(alpha=tag.surprise.alpha), _rule(tag.surprise, tag.unit, clear_below=0.75))
    return watch


def _watch_stillness(watch: Watch, tag: Tag, company: Company, line: Line) -> None:
    """Every tag of an asset is a sibling; an alarm is made of those alone that are asked for."""
    asked = tag.frozen
    frozen = Frozen(
        company=company,
        line=line,
        period_s=tag.period_s,
        hold_s=tag.hold_s,
        resolution=0.0 if asked is None else asked.resolution,
        after_s=None if asked is None else asked.after_s,
        at_rest=() if asked is None else asked.at_rest,
    )
    watch.observers = [*watch.observers, frozen]
    if asked is not None:
        watch.on_step = [*watch.on_step, (frozen, _rule(asked, tag.unit))]


def _watch_band(by_name: Mapping[str, Watch], name: str, tag: Tag, band: ToleranceSettings) -> None:
    watch = by_name[name]
    # The deadband in engineering units becomes the lower edge of the normalised score.
    rule = _rule(band, tag.unit, clear_below=1 - band.deadband / band.tolerance)
    breach_rule = None if tag.breach is None else _rule(tag.breach, tag.unit, clear_below=0.75)
    probability = 0.5 if tag.breach is None else tag.breach.probability
    middle = 0.0 if band.setpoint is None else band.setpoint
    breach = Breach(low=middle - band.tolerance, high=middle + band.tolerance, probability=probability)
    if band.setpoint_tag is None:
        watch.on_sample = [(Tolerance(setpoint=middle, tolerance=band.tolerance), rule), *watch.on_sample]
        if breach_rule is not None:
            watch.on_forecast = [(breach, breach_rule)]
        return
    setpoint = Setpoint(value=band.setpoint, settle_s=band.settle_s, slack=SETPOINT_SLACK * band.tolerance)
    told_by = by_name[f"{name.partition('/')[0]}/{band.setpoint_tag}"]
    told_by.observers = [*told_by.observers, setpoint]
    watch.on_sample = [(FollowingTolerance(setpoint=setpoint, tolerance=band.tolerance), rule), *watch.on_sample]
    if breach_rule is not None:
        following = FollowingBreach(setpoint=setpoint, tolerance=band.tolerance, breach=breach)
        watch.on_forecast = [(following, breach_rule)]


def _levels(limits: LimitsSettings, tag: Tag) -> list[tuple[Level, AlarmRule]]:
    found = []
    for name, level in limits.levels.items():
        reference = limits.middle
        if reference is None:
            # Without a level on the other side the score has no scale of its own; the sensor's range is one.
            spans = (4 * level.deadband, 0.1 * abs(level.at)) if level.at or level.deadband else (1.0,)
            below = name.startswith("high")
            if tag.physical is not None:
                spans = (*spans, level.at - tag.physical.low if below else tag.physical.high - level.at)
            reference = level.at - max(spans) if below else level.at + max(spans)
        clear_below = 1 - level.deadband / abs(level.at - reference)
        detector = Level(limit=level.at, reference=reference, rule=name)
        found.append((detector, _rule(level, tag.unit, clear_below=clear_below)))
    return found


def _rates(name: str, tag: Tag) -> list[SeriesWatch]:
    if tag.rate is None:
        return []
    rate = Rate(
        per_minute=tag.rate.per_minute, over_s=tag.rate.over_s, period_s=tag.period_s, direction=tag.rate.direction
    )
    return [SeriesWatch(tag=name, steps_of=[name], detector=rate, rule=_rule(tag.rate, tag.unit))]


def _balances(asset_name: str, asset: Asset) -> list[SeriesWatch]:
    asked = asset.balance
    if asked is None:
        return []

    def quantity(own_name: str, known: dict[str, Conversion]) -> Quantity:
        unit = asset.tags[own_name].unit
        # A unit that is not known is refused with the settings.
        factor, offset = conversion(unit, known) or Conversion(1.0)
        return Quantity(tag=f"{asset_name}/{own_name}", factor=factor, offset=offset, unit=unit)

    flow = quantity(asked.flow, FLOWS)
    balance = HeatBalance(
        power=quantity(asked.power, POWERS),
        flow=flow,
        warm=quantity(asked.warm, TEMPERATURES),
        cold=quantity(asked.cold, TEMPERATURES),
        volumetric=asked.liquid.density * asked.liquid.heat_capacity,
        tolerance=asked.tolerance_percent / 100,
        minimum_kw=asked.minimum_kw,
        min_flow=flow.si(asked.min_flow),
        min_difference=asked.min_difference,
        steady_s=asked.steady_s,
    )
    power = asset.tags[asked.power]
    return [
        SeriesWatch(
            tag=balance.power.tag,
            steps_of=[quantity.tag for quantity in balance.quantities],
            detector=Balance(balance, period_s=power.period_s),
            rule=_rule(asked, power.unit, clear_below=0.9),
        )
    ]


def _pumps(asset_name: str, asset: Asset) -> list[SeriesWatch]:
    found = []
    for pump in asset.pumps.values():
        command, flow = f"{asset_name}/{pump.command}", f"{asset_name}/{pump.flow}"
        response = Response(
            command=command,
            flow=flow,
            on_above=pump.on_above,
            flow_above=pump.flow_above,
            delay_s=pump.delay_s,
            flow_unit=asset.tags[pump.flow].unit,
        )
        rule = _rule(pump, asset.tags[pump.command].unit)
        found.append(SeriesWatch(tag=command, steps_of=[command, flow], detector=response, rule=rule))
    return found


def _lost(settings: Settings, lines: Mapping[str, Line]) -> list[SeriesWatch]:
    found = []
    for source, line in lines.items():
        tags = [name for name, tag in settings.tags().items() if tag.source.name == source]
        rule = _rule(settings.sources[source].lost, "")
        name = f"source/{source}"
        if tags:
            found.append(SeriesWatch(tag=name, steps_of=tags, detector=Lost(line, name=name), rule=rule))
    return found


def _rule(settings: AlarmSettings, unit: str, *, clear_below: float = 1.0) -> AlarmRule:
    return AlarmRule(
        on_delay_s=settings.on_delay_s,
        off_delay_s=settings.off_delay_s,
        priority=Priority(settings.priority),
        suppressed_by=tuple(settings.suppressed_by),
        clear_below=clear_below,
        unit=unit,
    )

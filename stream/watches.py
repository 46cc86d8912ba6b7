"""What is watched of each tag, as the settings say: its window, its detectors, and the rule of each alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.alarm import AlarmRule
from detectors.breach import Breach
from detectors.deviation import Deviation
from detectors.limits import Tolerance
from detectors.records import Priority
from detectors.signal import Physical, Soundness, Stale
from stream.lane import Watch
from stream.window import RollingWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.schema import Breach as BreachSettings
    from config.schema import Deviation as DeviationSettings
    from config.schema import Settings, Tag
    from config.schema import Tolerance as ToleranceSettings

__all__ = ["watches"]


def watches(settings: Settings, *, length: int) -> Iterator[Watch]:
    """The watch of every tag, with windows of `length` steps."""
    for name, tag in settings.tags().items():
        yield _watch(name, tag, length=length, lateness_s=settings.lateness_s)


def _watch(name: str, tag: Tag, *, length: int, lateness_s: float) -> Watch:
    watch = Watch(
        window=RollingWindow(tag=name, period_s=tag.period_s, hold_s=tag.hold_s, length=length, lateness_s=lateness_s),
        on_report=[(Soundness(), AlarmRule(priority=Priority.LOW, unit=tag.unit))],
        on_step=[(Stale(hold_s=tag.hold_s), AlarmRule(priority=Priority.LOW, unit=tag.unit))],
    )
    if tag.physical is not None:
        watch.physical = Physical(low=tag.physical.low, high=tag.physical.high)
        watch.on_report = [*watch.on_report, (watch.physical, AlarmRule(priority=Priority.LOW, unit=tag.unit))]
    if (band := tag.tolerance) is not None:
        tolerance = Tolerance(setpoint=band.setpoint, tolerance=band.tolerance)
        # The deadband in engineering units becomes the lower edge of the normalised score.
        watch.on_sample = [(tolerance, _rule(band, tag.unit, clear_below=1 - band.deadband / band.tolerance))]
        if tag.breach is not None:
            breach = Breach(low=tolerance.low, high=tolerance.high, probability=tag.breach.probability)
            watch.on_forecast = [(breach, _rule(tag.breach, tag.unit, clear_below=0.75))]
    if tag.deviation is not None:
        watch.deviation = (Deviation(minimum=tag.deviation.minimum), _rule(tag.deviation, tag.unit, clear_below=0.9))
    return watch


def _rule(
    settings: ToleranceSettings | BreachSettings | DeviationSettings, unit: str, *, clear_below: float
) -> AlarmRule:
    return AlarmRule(
        on_delay_s=settings.on_delay_s,
        off_delay_s=settings.off_delay_s,
        priority=Priority(settings.priority),
        clear_below=clear_below,
        unit=unit,
    )

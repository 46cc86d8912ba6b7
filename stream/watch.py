"""What is watched of a tag, and what became of it? Detectors, each with its alarm, and the steps that may be learnt from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from detectors.alarm import Alarm, AlarmRule
    from detectors.detector import ForecastDetector, Observer, SampleDetector, SeriesDetector, StepDetector
    from detectors.deviation import Deviation
    from detectors.records import Verdict, Window
    from detectors.signal import Physical
    from detectors.surprise import Surprise
    from stream.window import RollingWindow

__all__ = ["Judge", "ModelWatch", "SeriesWatch", "Watch", "Watched"]

SCORE_DEADBAND = 0.05
KEPT_EVERY = timedelta(seconds=60)
SETTLED = 0.9
"""Share of the last steps that must be known and normal for a forecast to be news."""


@dataclass(kw_only=True)
class Watch:
    """All that is watched of one tag: its window, and each detector with the rule of its alarm.

    `on_report` sees every report as it came; `physical` then takes what cannot be for Bad, and the rest sees what is left,
    the `observers` before any detector.
    """

    window: RollingWindow
    observers: Sequence[Observer] = ()
    on_report: Sequence[tuple[SampleDetector, AlarmRule]] = ()
    physical: Physical | None = None
    on_sample: Sequence[tuple[SampleDetector, AlarmRule]] = ()
    on_step: Sequence[tuple[StepDetector, AlarmRule]] = ()
    on_forecast: Sequence[tuple[ForecastDetector, AlarmRule]] = ()
    deviation: tuple[Deviation, AlarmRule] | None = None
    surprise: tuple[Surprise, AlarmRule] | None = None
    forecast: bool = True


@dataclass(kw_only=True)
class ModelWatch:
    """A rule that is judged in the model lane; its verdicts are of `tag`, a tag or a whole asset, and its alarm is made here."""

    tag: str
    rule_name: str
    rule: AlarmRule


@dataclass(kw_only=True)
class SeriesWatch:
    """A detector that looks at the steps of several tags, or of one over time; its alarm is that of `tag`."""

    tag: str
    steps_of: Sequence[str]
    detector: SeriesDetector
    rule: AlarmRule


class Judge:
    """One detector with its alarm: judges, alarms, and decides which verdicts are worth keeping."""

    __slots__ = ("alarm", "kept", "latest")

    def __init__(self, alarm: Alarm) -> None:
        self.alarm = alarm
        self.latest: Verdict | None = None
        self.kept: Verdict | None = None

    def keeps_now(self, verdict: Verdict) -> bool:
        """A crossing of the edge is kept at once, anything else at the end of a step at most."""
        before, self.latest = self.latest, verdict
        return before is not None and (before.score > 1) != (verdict.score > 1)

    def news(self) -> bool:
        """Verdicts are reported by exception, as tags are: if they changed, and now and then all the same."""
        latest, kept = self.latest, self.kept
        if latest is None or latest is kept:
            return False
        return kept is None or abs(latest.score - kept.score) >= SCORE_DEADBAND or latest.at - kept.at >= KEPT_EVERY


class Watched:
    """A watch, set up: the judges beside their detectors."""

    __slots__ = (
        "deviation",
        "forecast",
        "guards",
        "judges",
        "normal",
        "observers",
        "on_forecast",
        "on_report",
        "on_sample",
        "on_step",
        "physical",
        "series",
        "surprise",
        "window",
    )

    def __init__(self, watch: Watch, judge: Callable[[str, AlarmRule], Judge]) -> None:
        self.window = watch.window
        self.forecast = watch.forecast
        self.physical = watch.physical
        self.observers = tuple(watch.observers)
        self.series: list[tuple[SeriesDetector, Judge]] = []
        self.on_report = [(d, judge(d.rule, rule)) for d, rule in watch.on_report]
        self.on_sample = [(d, judge(d.rule, rule)) for d, rule in watch.on_sample]
        self.on_step = [(d, judge(d.rule, rule)) for d, rule in watch.on_step]
        self.on_forecast = [(d, judge(d.rule, rule)) for d, rule in watch.on_forecast]
        self.deviation: Deviation | None = None
        if watch.deviation is not None:
            self.deviation = watch.deviation[0]
            self.on_step.append((self.deviation, judge(self.deviation.rule, watch.deviation[1])))
        self.surprise: tuple[Surprise, Judge] | None = None
        if watch.surprise is not None:
            self.surprise = watch.surprise[0], judge(watch.surprise[0].rule, watch.surprise[1])
        self.judges = [judge for _, judge in (*self.on_report, *self.on_sample, *self.on_step)]
        self.guards = [*self.judges, *([self.surprise[1]] if self.surprise else [])]
        self.normal: deque[bool] = deque(maxlen=self.window.length)

    def snapshot(self) -> Window | None:
        """The window, with the steps marked that nothing may be learnt from."""
        window = self.window.snapshot()
        if window is None or all(self.normal):
            return window
        return replace(window, normal=tuple(self.normal)[-len(window.values) :])

    def settled(self, steps: int) -> bool:
        """Whether the tag was known and normal at the last step, and at nearly all of so many before it."""
        last = [
            normal and known for normal, known in zip(reversed(self.normal), self.window.known(steps), strict=False)
        ]
        return bool(last) and last[0] and sum(last) >= SETTLED * steps

    def learnable(self, at: datetime) -> bool:
        """Whether the value of this moment may be taken for normal: no alarm of the tag stood then.

        A predicted breach says nothing of the values that were measured.
        """
        memories = [judge.alarm.memory for judge in self.guards]
        return not any(memory.state.active and (memory.since is None or memory.since <= at) for memory in memories)

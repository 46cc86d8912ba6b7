"""What follows from a sample, a closed step, a forecast or the passing of time? The fast lane, as one object without I/O.

Everything that decides is in here, and nothing that waits: the same samples with the same arrival times and the same
forecasts give the same records, live or replayed, however the calls are cut. Limits are judged on every sample as it
arrives; steps of the grid are judged once they are closed; forecasts when they come from the model lane.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from detectors.alarm import Alarm, AlarmRule, Memory
from detectors.records import Mark
from stream.agenda import Agenda
from stream.watch import Judge, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detectors.detector import SeriesDetector, Step
    from detectors.reason.sentence import Language
    from detectors.records import Alert, Forecast, Record, Sample, Score, Verdict, Window
    from stream.watch import ModelWatch, SeriesWatch, Watch
    from stream.window import RollingWindow

__all__ = ["LEAP_STEPS", "FastLane", "Harvest"]

LEAP_STEPS = 10_000
"""A leap of time over more steps than this (a machine that slept, a clock set right) is not walked step by step."""
SETTLED_STEPS = 36
"""A forecast raises no alarm before so many known and normal steps: what was an alarm or a hole shows in it."""


@dataclass(kw_only=True)
class Harvest:
    """What the journal is to keep, and what is to be remembered of the alarms that changed, by alarm name."""

    records: list[Record] = field(default_factory=list)
    memories: dict[str, Memory] = field(default_factory=dict)


class FastLane:
    """The windows, detectors and alarms of all tags."""

    def __init__(
        self,
        watches: Iterable[Watch],
        memories: Mapping[str, Memory],
        series: Iterable[SeriesWatch] = (),
        elsewhere: Iterable[ModelWatch] = (),
        *,
        language: Language = "en",
    ) -> None:
        self.verdicts = 0
        self.placements: Counter[tuple[str, str]] = Counter()
        self._harvest = Harvest()
        self._alarms: dict[str, Alarm] = {}
        self._delays = Agenda()
        self._now: datetime | None = None
        self._tags: dict[str, Watched] = {}
        self._groups: dict[float, list[Watched]] = {}
        self._closed: set[float] = set()
        # Whose tags have closed a step at this moment, in the order in which that happened.
        self._told: dict[SeriesDetector, Judge] = {}
        self._elsewhere: dict[tuple[str, str], Judge] = {}
        self._foretold: dict[tuple[str, str], Judge] = {}

        def judge(tag: str, rule_name: str, rule: AlarmRule) -> Judge:
            memory = memories.get(f"{tag}/{rule_name}", Memory())
            alarm = Alarm(tag=tag, rule_name=rule_name, rule=rule, memory=memory, language=language)
            self._alarms[alarm.name] = alarm
            self._watch_delay(alarm)
            return Judge(alarm)

        # Before anything is judged: what the settings say of suppression may have changed since the memories were saved.
        self._unsettled = True
        for watch in watches:
            name = watch.window.tag
            tag = self._tags[name] = Watched(watch, partial(judge, name))
            self._groups.setdefault(watch.window.period_s, []).append(tag)
            self._foretold |= {(name, detector.rule): judged for detector, judged in tag.on_forecast}
        for each in series:
            judged = judge(each.tag, each.detector.rule, each.rule)
            for name in each.steps_of:
                self._tags[name].series.append((each.detector, judged))
            if each.tag in self._tags:
                self._tags[each.tag].guards.append(judged)
        for other in elsewhere:
            judged = self._elsewhere[other.tag, other.rule_name] = judge(other.tag, other.rule_name, other.rule)
            if other.tag in self._tags:
                self._tags[other.tag].guards.append(judged)

        self._closings = Agenda(tag.window.tag for tags in self._groups.values() for tag in tags)
        self._children: dict[str, list[Alarm]] = {}
        for alarm in self._alarms.values():
            for parent in alarm.rule.suppressed_by:
                self._children.setdefault(parent, []).append(alarm)

    @property
    def alarms(self) -> Mapping[str, Alarm]:
        """Every alarm by name."""
        return self._alarms

    @property
    def tags(self) -> Iterable[str]:
        """Every tag that is watched."""
        return self._tags

    def restore(self, samples: Iterable[Sample], now: datetime) -> None:
        """Fills the windows from the journal after a restart, in arrival order: nothing is judged, past steps included."""
        for sample in samples:
            if (tag := self._tags.get(sample.tag)) is not None:
                sieved = tag.physical.sieve(sample) if tag.physical else sample
                self._remember(tag, sample.arrived_at)
                if not tag.window.offer(sieved, sample.arrived_at).dropped:
                    for observer in tag.observers:
                        observer.see(sieved)
        for tag in self._tags.values():
            self._remember(tag, now)
            window = tag.window.snapshot()
            ends = () if window is None else range(1 - len(window.values), 1)
            for back in ends:
                tag.normal.append(
                    window is None or tag.learnable(window.end_at + back * timedelta(seconds=window.period_s))
                )
            self._closings.set(tag.window.tag, tag.window.due_at)

    def offer(self, sample: Sample) -> str:
        """Takes a sample; the placement says what became of it. Time passes up to its arrival first."""
        self.advance(sample.arrived_at)
        now = self._now or sample.arrived_at
        tag = self._tags.get(sample.tag)
        if tag is None:
            self.placements[sample.tag, "unknown_tag"] += 1
            return "unknown_tag"
        if now > sample.arrived_at:
            # Another source was a moment ahead: the order in which samples are judged is the order that is kept.
            sample = replace(sample, arrived_at=now)
        held = tag.physical.sieve(sample) if tag.physical else sample
        placement = tag.window.offer(held, now)
        self.placements[sample.tag, placement] += 1
        if placement.dropped:
            return placement
        if sample.tag not in self._closings:
            self._closings.set(sample.tag, tag.window.due_at)
        self._harvest.records.append(sample)
        for observer in tag.observers:
            observer.see(held)
        if placement.present:
            for detector, judge in tag.on_report:
                self._take(detector.judge(sample), judge, now)
            for detector, judge in tag.on_sample:
                self._take(detector.judge(held), judge, now)
        return placement

    def mark(self, now: datetime, *, command: str = "", forecasts: int = 0) -> datetime:
        """Says that something follows that is no sample (see `records.Mark`), and the moment at which it is taken."""
        self.advance(now)
        moment = self._now or now
        self._harvest.records.append(Mark(at=moment, command=command, forecasts=forecasts))
        return moment

    def expect(self, forecast: Forecast, now: datetime, *, again: bool = False) -> None:
        """Takes a forecast from the model lane.

        One that comes from a recording is taken `again`: its paths are gone, and what was found in them is heard beside it.
        """
        self.advance(now)
        tag = self._tags.get(forecast.tag)
        if tag is None:
            return
        self._harvest.records.append(forecast)
        if tag.deviation is not None:
            tag.deviation.expect(forecast)
        if again or not tag.settled(min(SETTLED_STEPS, tag.window.length)):
            return
        for detector, judge in tag.on_forecast:
            self._hear(detector.judge(forecast), judge, self._now or now)

    def score(self, scores: Iterable[Score]) -> None:
        """Takes what the model lane found of values that had closed before."""
        for score in scores:
            tag = self._tags.get(score.tag)
            if tag is None:
                continue
            self._harvest.records.append(score)
            if tag.surprise is not None:
                detector, judge = tag.surprise
                self._take(detector.judge(score), judge, self._now or score.at)
                detector.learn(score)
                if judge.news():
                    self._keep_latest(judge)

    def hear(self, verdicts: Iterable[Verdict]) -> None:
        """Takes what the model lane judged of the last closed steps."""
        for verdict in verdicts:
            key = verdict.tag, verdict.rule
            judge = self._elsewhere.get(key) or self._foretold.get(key)
            if judge is not None:
                self._hear(verdict, judge, self._now or verdict.at)

    @property
    def standing(self) -> frozenset[str]:
        """Names of the alarms judged in the model lane that are active: what they stand on must not be learnt there."""
        alarms = (judge.alarm for judge in self._elsewhere.values())
        return frozenset(alarm.name for alarm in alarms if alarm.memory.state.active)

    def command(self, alarm: str, change: Callable[[Alarm, datetime], Alert | None], now: datetime) -> bool:
        """Lets an operator's command change an alarm, at a moment that is never before what was judged; False if nothing did.

        Raises KeyError for an alarm that does not exist, and what `change` raises.
        """
        self.advance(now)
        known = self._alarms[alarm]
        alert = change(known, self._now or now)
        if alert is not None:
            self._record(known, [alert])
        return alert is not None

    def advance(self, now: datetime) -> None:
        """Lets time pass: steps close and delays run out in the order of their moments, however the calls are cut."""
        if self._unsettled:
            self._unsettled = False
            self._now = self._now or now
            for alarm in self._alarms.values():
                self._settle_suppression(alarm)
        while (moment := self._next_at()) is not None and moment <= now:
            self._now = max(moment, self._now or moment)
            for name in self._delays.take(moment):
                alert = self._alarms[name].advance(moment)
                self._record(self._alarms[name], [alert] if alert else [])
            for name in self._closings.take(moment):
                tag = self._tags[name]
                self._closed.add(tag.window.period_s)
                for step in tag.window.close(now if _leap(tag.window, now) else moment):
                    self._judge_step(tag, step)
                self._closings.set(name, tag.window.due_at)
            self._judge_series(moment)
        self._now = max(now, self._now or now)

    @property
    def has_closed(self) -> bool:
        """Whether `windows` has something new."""
        return bool(self._closed)

    def windows(self) -> list[Window]:
        """The windows to forecast from: those of every period of which a step has closed since the last call."""
        tags = [tag for period_s in sorted(self._closed) for tag in self._groups[period_s] if tag.forecast]
        self._closed.clear()
        return [window for tag in tags if (window := tag.snapshot()) is not None]

    def snapshots(self) -> dict[str, Window]:
        """The window of every tag that has one, to look at; nothing is handed over by it."""
        windows = (tag.window.snapshot() for tag in self._tags.values())
        return {window.tag: window for window in windows if window is not None}

    def harvest(self) -> Harvest:
        """What has come together since the last call."""
        harvest, self._harvest = self._harvest, Harvest()
        return harvest

    def _remember(self, tag: Watched, now: datetime) -> None:
        for step in tag.window.close(now):
            for detector, _ in tag.series:
                detector.take(step)

    def _judge_series(self, moment: datetime) -> None:
        """Those that look at several steps are asked once all that close at the moment are closed."""
        for detector, judge in self._told.items():
            self._take(detector.judge(), judge, self._now or moment)
            if judge.news():
                self._keep_latest(judge)
        self._told.clear()

    def _judge_step(self, tag: Watched, step: Step) -> None:
        moment = self._now or step.end_at
        for series, judge in tag.series:
            series.take(step)
            self._told[series] = judge
        for detector, judge in tag.on_step:
            self._take(detector.judge(step), judge, moment)
        for judge in tag.judges:
            if judge.news():
                self._keep_latest(judge)
        tag.normal.append(tag.learnable(step.end_at))

    def _take(self, verdict: Verdict | None, judge: Judge, now: datetime) -> None:
        if verdict is None:
            return
        self.verdicts += 1
        if judge.keeps_now(verdict):
            self._keep_latest(judge)
        alarm = judge.alarm
        before = alarm.memory
        alerts = alarm.judge(verdict, now)
        if alarm.memory is not before:
            self._record(alarm, alerts)

    def _hear(self, verdict: Verdict | None, judge: Judge, now: datetime) -> None:
        """What stands on the model lane cannot be judged again without it: every such verdict is kept."""
        self._take(verdict, judge, now)
        if verdict is not None and judge.kept is not verdict:
            self._keep_latest(judge)

    def _keep_latest(self, judge: Judge) -> None:
        if judge.latest is not None:
            judge.kept = judge.latest
            self._harvest.records.append(judge.latest)

    def _record(self, alarm: Alarm, alerts: Sequence[Alert]) -> None:
        self._harvest.records.extend(alerts)
        self._harvest.memories[alarm.name] = alarm.memory
        self._watch_delay(alarm)
        for child in self._children.get(alarm.name, ()):
            self._settle_suppression(child)

    def _settle_suppression(self, child: Alarm) -> None:
        """Suppresses an alarm while one of its parents stands, and no longer."""
        standing = [name for name in child.rule.suppressed_by if self._alarms[name].memory.explains]
        if bool(standing) == child.memory.suppressed or self._now is None:
            return
        alert = child.suppress(self._now, parent=standing[0]) if standing else child.release(self._now)
        self._record(child, [] if alert is None else [alert])

    def _watch_delay(self, alarm: Alarm) -> None:
        self._delays.set(alarm.name, alarm.due_at)

    def _next_at(self) -> datetime | None:
        closing, delay = self._closings.next_at, self._delays.next_at
        return min(closing, delay) if closing is not None and delay is not None else closing or delay


def _leap(window: RollingWindow, now: datetime) -> bool:
    steps = max(window.length, LEAP_STEPS)
    return window.due_at is not None and now - window.due_at > timedelta(seconds=window.period_s * steps)

"""In what state is the alarm, and what transition just happened?

An alarm has memory where a verdict has none: it is raised when the condition has held for the on-delay and cleared when it
has been over for the off-delay, with a gap between the two edges (deadband), after ISA-18.2 and OPC UA Part 9. Shelved or
out of service it is silent, while the condition goes on being followed underneath; the end of the silence tells how it
stands by then. Suppressed by design (another alarm stands that explains it) it is not raised; afterwards it is, if its
condition still holds, after its on-delay. All times are handed in; the machine draws no clock, does no I/O, and the same
calls give the same alerts, to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from detectors.reason.sentence import Language, sentence
from detectors.reason.told import Told
from detectors.records import AlarmState, Alert, Priority, Verdict

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ACCEPTABLE", "Alarm", "AlarmRule", "Memory"]

ACCEPTABLE = frozenset(
    {"deviation", "surprise", "shift", "components", "mahalanobis", "forest", "novelty", "drift", "rarity"}
)
"""Rules that compare with what was learnt: what they find may be accepted as the new normal. A limit is changed instead."""

_RETURNED = {
    AlarmState.UNACKNOWLEDGED: AlarmState.RETURNED_UNACKNOWLEDGED,
    AlarmState.ACKNOWLEDGED: AlarmState.NORMAL,
}
_ACKNOWLEDGED = {
    AlarmState.UNACKNOWLEDGED: AlarmState.ACKNOWLEDGED,
    AlarmState.RETURNED_UNACKNOWLEDGED: AlarmState.NORMAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRule:
    """When one alarm is raised and cleared.

    The condition begins with a score above 1 and is over with one at or below `clear_below` (at most 1); between the two
    nothing changes, which is the deadband in normalised units.
    """

    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    clear_below: float = 1.0
    priority: Priority = Priority.MEDIUM
    unit: str = ""
    suppressed_by: tuple[str, ...] = ()
    """Names of alarms: while the condition of one of them holds, this alarm is suppressed."""

    def __post_init__(self) -> None:
        if not 0 <= self.clear_below <= 1:
            raise ValueError(f"alarm rule: expected clear_below between 0 and 1, found {self.clear_below}")


INSTANT = timedelta(microseconds=1)
AT_ONCE = timedelta(milliseconds=10)
"""Messages pushed apart by no more than this are of one moment; a last one that is later was of a clock that was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All that an alarm remembers: what must survive a restart.

    `since` is when the present condition began, `changing_since` when a change that waits for its delay began. `silence` is
    SHELVED or OUT_OF_SERVICE while nothing is told, until `silent_until` where that is set; `state` goes on underneath.
    `accepted`: the condition that stands was taken for normal, and counts again once it has been over. `suppressed`: another
    alarm stands that explains this one; `withheld`: it had been raised before, and was told to be suppressed. `told_at` is the
    time of the last message.
    """

    state: AlarmState = AlarmState.NORMAL
    sequence: int = 0
    since: datetime | None = None
    changing_since: datetime | None = None
    silence: AlarmState | None = None
    silent_until: datetime | None = None
    accepted: bool = False
    suppressed: bool = False
    withheld: bool = False
    told_at: datetime | None = None

    @property
    def told(self) -> AlarmState:
        """The state that the last message about it has."""
        if self.silence is not None:
            return self.silence
        if self.suppressed:
            return AlarmState.SUPPRESSED if self.withheld else AlarmState.NORMAL
        return self.state

    @property
    def shown(self) -> AlarmState:
        """The state as an operator who asks sees it: what was never told because it is suppressed is shown as well."""
        hidden = self.silence is None and self.suppressed and self.state is not AlarmState.NORMAL
        return AlarmState.SUPPRESSED if hidden else self.told

    @property
    def explains(self) -> bool:
        """Whether the alarms that it suppresses are suppressed; out of service it explains nothing."""
        return self.state.active and self.silence is not AlarmState.OUT_OF_SERVICE


class Alarm:
    """One alarm of one tag."""

    def __init__(
        self, *, tag: str, rule_name: str, rule: AlarmRule, memory: Memory | None = None, language: Language = "en"
    ) -> None:
        self.tag = tag
        self.rule_name = rule_name
        self.rule = rule
        self.memory = memory or Memory()
        self._language = language
        self._verdict: Verdict | None = None

    @property
    def name(self) -> str:
        """``asset/tag/rule``."""
        return f"{self.tag}/{self.rule_name}"

    @property
    def due_at(self) -> datetime | None:
        """When the next change takes effect if nothing intervenes: a delay runs out, or a time of shelving; None without one."""
        change, silence = self._change_due_at, self.memory.silent_until
        return min(change, silence) if change is not None and silence is not None else change or silence

    @property
    def _change_due_at(self) -> datetime | None:
        since = self.memory.changing_since
        return None if since is None else since + timedelta(seconds=self._delay_s)

    def judge(self, verdict: Verdict, now: datetime) -> list[Alert]:
        """Takes a verdict; `now` is when it became known, and delays count from there."""
        # A delay that ran out before this verdict came is settled by what was known until then.
        alerts = self._settle(now)
        if self.memory.accepted:
            if verdict.score > self.rule.clear_below:
                return alerts
            self.memory = replace(self.memory, accepted=False)
        active = self.memory.state.active
        wants_change = verdict.score <= self.rule.clear_below if active else verdict.score > 1
        takes_back = verdict.score > 1 if active else verdict.score <= self.rule.clear_below
        # The verdict that a message speaks of is the one that decided: in the deadband nothing is decided.
        if wants_change or takes_back or self._verdict is None:
            self._verdict = verdict
        if wants_change and self.memory.changing_since is None:
            self.memory = replace(self.memory, changing_since=now)
        elif takes_back and self.memory.changing_since is not None:
            self.memory = replace(self.memory, changing_since=None)
        return alerts + self._settle(now)

    def advance(self, now: datetime) -> Alert | None:
        """Lets time pass up to the first transition that is told; it takes effect at the moment when it was due."""
        while (due_at := self.due_at) is not None and due_at <= now:
            memory = self.memory
            alert: Alert | None
            # What changes at the moment at which the silence ends is part of how it stands then.
            if self._change_due_at != due_at:
                alert = self.speak(due_at, by="")
            elif memory.state.active:
                alert = self._enter(_RETURNED[memory.state], at=due_at, since=memory.since or due_at)
            else:
                alert = self._enter(AlarmState.UNACKNOWLEDGED, at=due_at, since=memory.changing_since or due_at)
            if alert is not None:
                return alert
        return None

    def acknowledge(self, now: datetime, *, by: str) -> Alert | None:
        """An operator has seen it; None if there is nothing to acknowledge, or it is silent."""
        state = _ACKNOWLEDGED.get(self.memory.told)
        if state is None:
            return None
        changing_since = self.memory.changing_since
        alert = self._enter(state, at=now, since=self.memory.since or now, by=by)
        # A return to normal that waits for its off-delay goes on waiting.
        self.memory = replace(self.memory, changing_since=changing_since)
        return alert

    def accept(self, now: datetime, *, by: str) -> Alert | None:
        """What stands is the new normal: the alarm is over until it has returned and comes again; None if none stands.

        Raises ValueError for a rule that is not about what was learnt.
        """
        if self.rule_name not in ACCEPTABLE:
            raise ValueError(
                f"alarm {self.name}: only {', '.join(sorted(ACCEPTABLE))} can be accepted; change its limit"
            )
        if not self.memory.told.active:
            return None
        alert = self._enter(AlarmState.NORMAL, at=now, since=self.memory.since or now, by=by)
        self.memory = replace(self.memory, accepted=True)
        return alert

    def shelve(self, now: datetime, *, until: datetime, by: str, reason: str = "") -> Alert | None:
        """Silent until then, when it speaks again by itself; shelving anew moves the end. None while out of service."""
        if until <= now:
            raise ValueError(f"alarm {self.name}: expected an end after now, found {until.isoformat()}")
        if self.memory.silence is AlarmState.OUT_OF_SERVICE:
            return None
        return self._hush(AlarmState.SHELVED, at=now, until=until, by=by, reason=reason)

    def take_out(self, now: datetime, *, by: str, reason: str = "") -> Alert | None:
        """Out of service until it is put back; None if it is already."""
        if self.memory.silence is AlarmState.OUT_OF_SERVICE:
            return None
        return self._hush(AlarmState.OUT_OF_SERVICE, at=now, until=None, by=by, reason=reason)

    def speak(self, now: datetime, *, by: str) -> Alert | None:
        """Ends a silence: how the alarm stands is told, and what stands is to be acknowledged anew; None without one."""
        memory = self.memory
        if memory.silence is None:
            return None
        state = AlarmState.UNACKNOWLEDGED if memory.state.active else memory.state
        self.memory = replace(
            memory,
            state=state,
            sequence=memory.sequence + 1,
            silence=None,
            silent_until=None,
            withheld=memory.suppressed and state is not AlarmState.NORMAL,
        )
        return self._alert(self.memory.told, previous=memory.silence, at=now, since=memory.since or now, by=by)

    def suppress(self, now: datetime, *, parent: str) -> Alert | None:
        """The alarm `parent` stands, which explains this one: that is told where this one was raised before, else None."""
        before = self.memory
        if before.suppressed:
            return None
        raised = before.state is not AlarmState.NORMAL
        told = raised and before.silence is None
        self.memory = replace(before, suppressed=True, withheld=raised, sequence=before.sequence + told)
        if not told:
            return None
        since = before.since or now
        return self._alert(AlarmState.SUPPRESSED, previous=before.state, at=now, since=since, by="", reason=parent)

    def release(self, now: datetime) -> Alert | None:
        """Nothing explains it any more: a condition that holds counts from now; told where the suppression was told."""
        before = self.memory
        if not before.suppressed:
            return None
        holds = before.state.active != (before.changing_since is not None)
        missed = before.withheld and before.state is AlarmState.RETURNED_UNACKNOWLEDGED
        state = AlarmState.RETURNED_UNACKNOWLEDGED if missed else AlarmState.NORMAL
        self.memory = replace(
            before,
            state=state,
            since=before.since if missed else None,
            changing_since=now if holds else None,
            suppressed=False,
            withheld=False,
        )
        if before.silence is not None or not before.withheld:
            return None
        since = before.since or before.changing_since or now
        if holds and not self.rule.on_delay_s:
            self.memory = replace(self.memory, state=AlarmState.UNACKNOWLEDGED, since=since, changing_since=None)
        self.memory = replace(self.memory, sequence=before.sequence + 1)
        return self._alert(self.memory.state, previous=AlarmState.SUPPRESSED, at=now, since=since, by="")

    @property
    def _delay_s(self) -> float:
        return self.rule.off_delay_s if self.memory.state.active else self.rule.on_delay_s

    def _settle(self, now: datetime) -> list[Alert]:
        alerts: list[Alert] = []
        if self.memory.changing_since is None and self.memory.silent_until is None:
            return alerts  # nothing waits, as nearly always
        while (alert := self.advance(now)) is not None:
            alerts.append(alert)
        return alerts

    def _hush(self, silence: AlarmState, *, at: datetime, until: datetime | None, by: str, reason: str) -> Alert:
        before = self.memory
        self.memory = replace(before, sequence=before.sequence + 1, silence=silence, silent_until=until)
        return self._alert(silence, previous=before.told, at=at, since=before.since or at, by=by, reason=reason)

    def _enter(self, state: AlarmState, *, at: datetime, since: datetime, by: str = "") -> Alert | None:
        """A transition of the condition; None where the alarm is silent, and it is not counted either."""
        before = self.memory
        told = before.silence is None and not before.suppressed
        if before.suppressed and not before.withheld and state is AlarmState.RETURNED_UNACKNOWLEDGED:
            state = AlarmState.NORMAL  # it came and went while something else explained it
        self.memory = replace(
            before,
            state=state,
            sequence=before.sequence + told,
            since=None if state is AlarmState.NORMAL else since,
            changing_since=None,
        )
        return self._alert(state, previous=before.state, at=at, since=since, by=by) if told else None

    def _apart(self, at: datetime) -> datetime:
        """Samples that arrived together are judged at one moment; two messages of one alarm still have two times.

        A database that knows a point by its series and its time would keep the last of them alone.
        """
        last = self.memory.told_at
        return last + INSTANT if last is not None and timedelta() <= last - at < AT_ONCE else at

    def _alert(
        self, state: AlarmState, *, previous: AlarmState, at: datetime, since: datetime, by: str, reason: str = ""
    ) -> Alert:
        at = self._apart(at)
        self.memory = replace(self.memory, told_at=at)
        accepted = bool(by) and state is AlarmState.NORMAL and previous.active
        told = Told(
            tag=self.tag,
            rule=self.rule_name,
            state=state,
            previous=previous,
            at=at,
            since=since,
            unit=self.rule.unit,
            verdict=self._verdict,
            by=by,
            until=self.memory.silent_until,
            note=reason,
            accepted=accepted,
        )
        return Alert(
            tag=self.tag,
            rule=self.rule_name,
            sequence=self.memory.sequence,
            state=state,
            previous=previous,
            at=at,
            since=since,
            priority=self.rule.priority,
            text=sentence(told, self._language),
            verdict=self._verdict,
            by=by,
            unit=self.rule.unit,
        )

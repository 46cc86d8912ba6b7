"""In what state is the alarm, and what transition just happened?

An alarm has memory where a verdict has none: it is raised when the condition has held for the on-delay and cleared when it
has been over for the off-delay, with a gap between the two edges (deadband), after ISA-18.2 and OPC UA Part 9. All times
are handed in; the machine draws no clock, does no I/O, and the same calls give the same alerts, to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from detectors.reason import sentence
from detectors.records import AlarmState, Alert, Priority, Verdict

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Alarm", "AlarmRule", "Memory"]

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

    def __post_init__(self) -> None:
        if not 0 <= self.clear_below <= 1:
            raise ValueError(f"alarm rule: expected clear_below between 0 and 1, found {self.clear_below}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All that an alarm remembers: what must survive a restart.

    `since` is when the present condition began, `changing_since` when a change that waits for its delay began.
    """

    state: AlarmState = AlarmState.NORMAL
    sequence: int = 0
    since: datetime | None = None
    changing_since: datetime | None = None


class Alarm:
    """One alarm of one tag."""

    def __init__(self, *, tag: str, rule_name: str, rule: AlarmRule, memory: Memory | None = None) -> None:
        self.tag = tag
        self.rule_name = rule_name
        self.rule = rule
        self.memory = memory or Memory()
        self._verdict: Verdict | None = None

    @property
    def name(self) -> str:
        """``asset/tag/rule``."""
        return f"{self.tag}/{self.rule_name}"

    @property
    def due_at(self) -> datetime | None:
        """When a change that is under way takes effect if nothing intervenes; None when none is."""
        since = self.memory.changing_since
        return None if since is None else since + timedelta(seconds=self._delay_s)

    def judge(self, verdict: Verdict, now: datetime) -> list[Alert]:
        """Takes a verdict; `now` is when it became known, and delays count from there. At most two transitions follow."""
        # A delay that ran out before this verdict came is settled by what was known until then.
        before = self.advance(now)
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
        return [alert for alert in (before, self.advance(now)) if alert is not None]

    def advance(self, now: datetime) -> Alert | None:
        """Lets time pass: a change whose delay has run out takes effect, at the moment it ran out."""
        due_at = self.due_at
        if due_at is None or now < due_at:
            return None
        memory = self.memory
        if memory.state.active:
            return self._enter(_RETURNED[memory.state], at=due_at, since=memory.since or due_at)
        return self._enter(AlarmState.UNACKNOWLEDGED, at=due_at, since=memory.changing_since or due_at)

    def acknowledge(self, now: datetime, *, by: str) -> Alert | None:
        """An operator has seen it; None if there is nothing to acknowledge."""
        state = _ACKNOWLEDGED.get(self.memory.state)
        if state is None:
            return None
        changing_since = self.memory.changing_since
        alert = self._enter(state, at=now, since=self.memory.since or now, by=by)
        # A return to normal that waits for its off-delay goes on waiting.
        self.memory = replace(self.memory, changing_since=changing_since)
        return alert

    @property
    def _delay_s(self) -> float:
        return self.rule.off_delay_s if self.memory.state.active else self.rule.on_delay_s

    def _enter(self, state: AlarmState, *, at: datetime, since: datetime, by: str = "") -> Alert:
        previous = self.memory.state
        self.memory = Memory(
            state=state,
            sequence=self.memory.sequence + 1,
            since=None if state is AlarmState.NORMAL else since,
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
            text=sentence(
                tag=self.tag,
                rule=self.rule_name,
                state=state,
                at=at,
                since=since,
                unit=self.rule.unit,
                verdict=self._verdict,
                by=by,
            ),
            verdict=self._verdict,
            by=by,
        )

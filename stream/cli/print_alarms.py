"""How do the alarms stand, what did operators do about them, and how many were there? As a person or a program reads it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.text import Text

from detectors.alarm import Memory
from detectors.records import AlarmState, Alert, Priority, Reply
from stream import alarm_memory
from stream.assemble import build_lane, open_journal, state_folder
from stream.flood import CHATTER_SPAN, CHATTERS_FROM, SPAN, Flood, FloodWatch, raised
from stream.journal.journal import JournalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from config.load import Loaded
    from stream.journal.journal import Journal

__all__ = ["AlarmQuery", "print_alarms", "print_commands", "print_flood"]

_LOOK_BACK = timedelta(days=1)
_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmQuery:
    """Which alarms; empty or False asks for nothing of the kind. `every` has those that are normal as well."""

    states: tuple[str, ...] = ()
    priorities: tuple[str, ...] = ()
    tag: str = ""
    active: bool = False
    silenced: bool = False
    every: bool = False

    def problem(self, tags: Sequence[str]) -> str:
        """What is wrong with the question, or nothing."""
        for option, given, known in (
            ("--state", self.states, list(AlarmState)),
            ("--priority", self.priorities, list(Priority)),
            ("--tag", (self.tag,) if self.tag else (), tags),
        ):
            for found in given:
                if found not in list(known):
                    return f"{option}: expected one of {', '.join(known)}, found {found!r}"
        return ""

    def wants(self, memory: Memory, tag: str, priority: str) -> bool:
        """Whether an alarm is asked for."""
        shown = memory.shown
        asked = self.every or bool(self.states) or shown is not AlarmState.NORMAL
        return (
            asked
            and (not self.states or shown in self.states)
            and (not self.priorities or priority in self.priorities)
            and (not self.tag or tag == self.tag)
            and (not self.active or memory.state.active)
            and (not self.silenced or shown in _SILENCED)
        )


_SILENCED = (AlarmState.SHELVED, AlarmState.SUPPRESSED, AlarmState.OUT_OF_SERVICE)


def print_alarms(loaded: Loaded, query: AlarmQuery, *, console: Console, as_json: bool) -> str:
    """Prints the alarms that are asked for, the most urgent first; returns what is wrong with the question, or nothing."""
    lane = build_lane(loaded.settings, {})
    if problem := query.problem(sorted({alarm.tag for alarm in lane.alarms.values()})):
        return problem
    journal = _open(loaded)
    if isinstance(journal, str):
        return journal
    try:
        memories = alarm_memory.load(journal.memory(alarm_memory.PREFIX))
        alerts = {alert.alarm: alert for alert in journal.history(kinds={Alert}) if isinstance(alert, Alert)}
    finally:
        journal.close()
    urgency = list(reversed(Priority))
    found = [
        (alarm, memories.get(name, Memory()))
        for name, alarm in sorted(lane.alarms.items(), key=lambda item: (urgency.index(item[1].rule.priority), item[0]))
        if query.wants(memories.get(name, Memory()), alarm.tag, alarm.rule.priority)
    ]
    for alarm, memory in found:
        alert = alerts.get(alarm.name)
        text = "" if alert is None else alert.text
        if as_json:
            console.out(json.dumps(_fields(alarm.name, memory, alarm.rule.priority, text)), highlight=False)
            continue
        style = "bold red" if memory.shown.active else "yellow"
        until = f"  until {_clock(memory.silent_until)}" if memory.silent_until else ""
        since = f"  since {_clock(memory.since)}" if memory.since else ""
        line = Text.assemble(
            (f"{memory.shown:>23}", style), f"  {alarm.name}", (f"  {alarm.rule.priority}{since}{until}", "dim")
        )
        console.print(line, soft_wrap=True)
        if text:
            console.print(Text(f"{'':>25}{text}", style="dim"), soft_wrap=True)
    if not found and not as_json:
        console.print(f"no alarms: none of {len(lane.alarms)} is as asked for", highlight=False)
    return ""


def print_commands(loaded: Loaded, *, alarm: str, limit: int, console: Console, as_json: bool) -> str:
    """Prints what operators asked for and what came of it, newest last; returns what is wrong with the question, or nothing."""
    journal = _open(loaded)
    if isinstance(journal, str):
        return journal
    try:
        replies = [reply for reply in journal.history(kinds={Reply}, tag=alarm or None) if isinstance(reply, Reply)]
    finally:
        journal.close()
    # One that was answered again is one command.
    once = {(reply.id or str(i), reply.at): reply for i, reply in enumerate(replies)}
    for reply in list(once.values())[-limit:]:
        if as_json:
            fields = {key: getattr(reply, key) for key in reply.__slots__} | {"at": reply.at.isoformat()}
            console.out(json.dumps(fields), highlight=False)
            continue
        who = reply.by or "nobody"
        line = Text(_clock(reply.at), style="dim")
        line.append(f"  {'done' if reply.done else 'refused':<8}", style="green" if reply.done else "yellow")
        why = f" ({reply.reason})" if reply.reason else ""
        line.append(f"{who}, {reply.via}: {reply.command} {reply.alarm}{why}", style="default")
        if not reply.done:
            line.append(f": {reply.text}", style="default")
        console.print(line, soft_wrap=True)
    if not once and not as_json:
        console.print("no command has come in", highlight=False)
    return ""


def print_flood(loaded: Loaded, *, now: datetime, console: Console, as_json: bool) -> str:
    """Prints how many alarms a day had, its floods and the alarms behind them; returns what is wrong, or nothing."""
    journal = _open(loaded)
    if isinstance(journal, str):
        return journal
    try:
        day = [a for a in journal.history(kinds={Alert}, since=now - _LOOK_BACK) if isinstance(a, Alert) and raised(a)]
    finally:
        journal.close()
    watch, floods, chatters, peak = FloodWatch(), list[Flood](), set[str](), 0
    for alert in day:
        watch.take([alert])
        peak = max(peak, watch.recent)
        chatters.update(watch.chattering)
        if watch.flood is not None and (not floods or floods[-1] is not watch.flood):
            floods.append(watch.flood)
    watch.pass_to(now)
    most = Counter(alert.alarm for alert in day).most_common(_NAMED)
    if as_json:
        fields: dict[str, Any] = {
            "alarms": len(day),
            "most_in_10_min": peak,
            "last_10_min": watch.recent,
            "floods": [_flood_fields(flood) for flood in floods],
            "chattering": sorted(chatters),
            "most_often": dict(most),
        }
        console.print_json(json.dumps(fields))
        return ""
    minutes = SPAN // timedelta(minutes=1)
    lines = [
        f"{len(day)} alarms raised in 24 h, {peak} at most within {minutes} min, {watch.recent} in the last {minutes} min"
    ]
    lines += [
        f"flood from {_clock(flood.began_at)} {f'to {_clock(flood.ended_at)}' if flood.ended_at else 'until now'}: "
        f"{flood.alarms} alarms, most often {flood.most}"
        for flood in floods
    ]
    if chatters:
        span = CHATTER_SPAN // timedelta(seconds=1)
        lines.append(
            f"raised {CHATTERS_FROM} times within {span} s, give them a deadband or delays: {', '.join(sorted(chatters))}"
        )
    lines += [f"{count:>6}  {name}" for name, count in most]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return ""


def _fields(name: str, memory: Memory, priority: str, text: str) -> dict[str, Any]:
    return {
        "alarm": name,
        "state": memory.shown,
        "active": memory.state.active,
        "priority": priority,
        "since": memory.since and memory.since.isoformat(),
        "silent_until": memory.silent_until and memory.silent_until.isoformat(),
        "sequence": memory.sequence,
        "text": text,
    }


def _flood_fields(flood: Flood) -> dict[str, Any]:
    return {
        "began_at": flood.began_at.isoformat(),
        "ended_at": flood.ended_at and flood.ended_at.isoformat(),
        "alarms": flood.alarms,
        "most_often": dict(flood.names.most_common(_NAMED)),
    }


def _open(loaded: Loaded) -> Journal | str:
    path = state_folder(loaded) / "journal.sqlite3"
    if not path.exists():
        return f"there is no journal at {path}: has the service run with this configuration?"
    try:
        return open_journal(loaded)
    except JournalError as error:
        return str(error)


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"

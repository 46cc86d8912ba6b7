"""What did the operator ask for? Commands that `givre alarms` leaves in the journal, as JSON."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from detectors.alarm import Alarm
    from detectors.records import Alert
    from stream.lane import FastLane

__all__ = ["COMMANDS", "LONGEST_SHELVING_S", "ask", "obey"]

COMMANDS = {
    "acknowledge": "acknowledged",
    "accept": "accepted as normal",
    "shelve": "shelved",
    "unshelve": "no longer shelved, ended",
    "out_of_service": "set out of service",
    "in_service": "back in service, set",
}
"""What can be asked for, and what is said when it is done."""
LONGEST_SHELVING_S = 30 * 86_400.0
_TEXT_MAX = 200


def ask(command: str, alarm: str, *, by: str, for_s: float | None = None, reason: str = "") -> str:
    """The command as text; `for_s` is how long to shelve, in plant seconds."""
    fields = {"command": command, "alarm": alarm, "by": by, "reason": reason}
    return json.dumps(fields if for_s is None else fields | {"for_s": for_s})


def obey(text: str, lane: FastLane, now: datetime) -> str:
    """Carries a command out and says what came of it; a command that makes no sense changes nothing."""
    try:
        fields = json.loads(text)
        command, alarm, by = fields["command"], fields["alarm"], fields["by"]
        reason = fields.get("reason", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"refused, not a command: {text[:_TEXT_MAX]!r}"
    if command not in list(COMMANDS) or not all(isinstance(part, str) for part in (alarm, by, reason)):
        return f"refused, unknown command: {text[:_TEXT_MAX]!r}"
    if not by.strip():
        return f"refused, it does not say by whom: {text[:_TEXT_MAX]!r}"
    if alarm not in lane.alarms:
        return f"refused, no alarm is named {alarm[:_TEXT_MAX]!r}"
    try:
        changed = lane.command(alarm, _change(command, fields, by[:_TEXT_MAX], reason[:_TEXT_MAX]), now)
    except ValueError as error:
        return f"refused, {error}"
    if not changed:
        return f"nothing to {command.replace('_', ' ')}: {alarm} is {lane.alarms[alarm].memory.told}"
    return f"{alarm} {COMMANDS[command]} by {by[:_TEXT_MAX]}"


def _change(command: str, fields: dict[str, Any], by: str, reason: str) -> Callable[[Alarm, datetime], Alert | None]:
    match command:
        case "acknowledge":
            return lambda alarm, now: alarm.acknowledge(now, by=by)
        case "accept":
            return lambda alarm, now: alarm.accept(now, by=by)
        case "shelve":
            lasting = timedelta(seconds=_seconds(fields.get("for_s")))
            return lambda alarm, now: alarm.shelve(now, until=now + lasting, by=by, reason=reason)
        case "out_of_service":
            return lambda alarm, now: alarm.take_out(now, by=by, reason=reason)
        case _:
            silence = "shelved" if command == "unshelve" else "out_of_service"
            return lambda alarm, now: alarm.speak(now, by=by) if alarm.memory.silence == silence else None


def _seconds(found: object) -> float:
    seconds = float(found) if isinstance(found, int | float) and not isinstance(found, bool) else math.nan
    if not 1 <= seconds <= LONGEST_SHELVING_S:
        raise ValueError(f"shelve: expected for_s between 1 and {LONGEST_SHELVING_S:.0f} seconds, found {found!r:.40}")
    return seconds

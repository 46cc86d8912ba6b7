"""What did the operator ask for? Commands that `givre alarms` leaves in the journal, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from stream.lane import FastLane

__all__ = ["acknowledge", "obey"]


def acknowledge(alarm: str, *, by: str) -> str:
    """The command to acknowledge an alarm."""
    return json.dumps({"command": "acknowledge", "alarm": alarm, "by": by})


def obey(text: str, lane: FastLane, now: datetime) -> str:
    """Carries a command out and says what came of it; a command that makes no sense changes nothing."""
    try:
        fields = json.loads(text)
        command, alarm, by = fields["command"], fields["alarm"], fields["by"]
    except (ValueError, KeyError, TypeError):
        return f"refused, not a command: {text[:200]!r}"
    if command != "acknowledge" or not isinstance(alarm, str) or not isinstance(by, str):
        return f"refused, unknown command: {text[:200]!r}"
    if alarm not in lane.alarms:
        return f"refused, no alarm is named {alarm!r}"
    if not lane.acknowledge(alarm, by=by, now=now):
        return f"nothing to acknowledge: {alarm} is {lane.alarms[alarm].memory.state}"
    return f"{alarm} acknowledged by {by}"

"""How does an alarm's memory stand in the journal? As one small JSON text under ``alarm:NAME``."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from detectors.alarm import Memory
from detectors.records import AlarmState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

__all__ = ["PREFIX", "dump", "load", "moved"]

PREFIX = "alarm:"


def dump(memories: Mapping[str, Memory]) -> dict[str, str]:
    """Journal key -> text."""
    return {
        PREFIX + name: json.dumps(
            {
                "state": memory.state,
                "sequence": memory.sequence,
                "since": memory.since and memory.since.isoformat(),
                "changing_since": memory.changing_since and memory.changing_since.isoformat(),
                "silence": memory.silence,
                "silent_until": memory.silent_until and memory.silent_until.isoformat(),
                "accepted": memory.accepted,
                "suppressed": memory.suppressed,
                "withheld": memory.withheld,
                "told_at": memory.told_at and memory.told_at.isoformat(),
            }
        )
        for name, memory in memories.items()
    }


def load(texts: Mapping[str, str]) -> dict[str, Memory]:
    """Alarm name -> memory."""
    return {key.removeprefix(PREFIX): _memory(json.loads(text)) for key, text in texts.items()}


def moved(memories: Mapping[str, Memory], by: timedelta) -> dict[str, Memory]:
    """The same after the clock was set by so much: what has begun, waits or is silent has done so for as long as before."""

    def there(at: datetime | None) -> datetime | None:
        return None if at is None else at + by

    return {
        name: replace(
            memory,
            since=there(memory.since),
            changing_since=there(memory.changing_since),
            silent_until=there(memory.silent_until),
            told_at=there(memory.told_at),
        )
        for name, memory in memories.items()
    }


def _memory(fields: Mapping[str, str | int | None]) -> Memory:
    def moment(name: str) -> datetime | None:
        text = fields.get(name)
        return datetime.fromisoformat(text) if isinstance(text, str) else None

    return Memory(
        state=AlarmState(str(fields["state"])),
        sequence=int(fields["sequence"] or 0),
        since=moment("since"),
        changing_since=moment("changing_since"),
        # A state saved by an earlier version has none of these.
        silence=AlarmState(str(silence)) if (silence := fields.get("silence")) else None,
        silent_until=moment("silent_until"),
        accepted=bool(fields.get("accepted")),
        suppressed=bool(fields.get("suppressed")),
        withheld=bool(fields.get("withheld")),
        told_at=moment("told_at"),
    )

"""When did a message that the broker sends again come first?

A broker sends again what was not acknowledged: after a kill, or a cut that swallowed the acknowledgement. Where the payload
bears a time, that time tells the journal that it has the sample. Where it bears none the sample has the time of its arrival, and
would be kept twice: the first arrival is therefore noted under the packet identifier, which a broker keeps when it sends again
(MQTT 5.0, 4.4), on disk together with the sample. An identifier is used anew for another message; that one is not marked as
sent again, and overwrites the note.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream.mqtt.message import Message

__all__ = ["Receipts", "prefix"]


def prefix(source: str) -> str:
    """What the keys of a source's notes start with, in the journal."""
    return f"receipt:{source}:"


class Receipts:
    """The notes of one source, at most one for each of the 65,535 packet identifiers; `kept` is what the journal has of them."""

    def __init__(self, source: str, kept: Mapping[str, str]) -> None:
        self._prefix = prefix(source)
        self._texts = {int(key.removeprefix(self._prefix)): text for key, text in kept.items()}

    def arrival(self, message: Message, arrived_at: datetime) -> datetime:
        """When it came first, as far as that is known, else `arrived_at`."""
        if not message.resent:
            return arrived_at
        first, _, digest = self._texts.get(message.mid, "").partition(" ")
        return datetime.fromisoformat(first) if digest == _digest(message) else arrived_at

    def note(self, message: Message, arrived_at: datetime) -> dict[str, str]:
        """Notes an arrival, and returns what has to stand in the journal with its samples; QoS 0 is never sent again."""
        if not message.mid:
            return {}
        text = self._texts[message.mid] = f"{arrived_at.isoformat()} {_digest(message)}"
        return {f"{self._prefix}{message.mid}": text}


def _digest(message: Message) -> str:
    """Tells one message from another that got its identifier."""
    return f"{crc32(message.payload, crc32(message.topic.encode())):08x}"

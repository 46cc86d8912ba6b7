"""What passes over a connection to an MQTT broker: the messages that come, and the will that is left with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Message", "Will"]


class Message(NamedTuple):
    """One message as it came in (a tuple: one is made per message).

    `mid`, its packet identifier, is 0 where no acknowledgement is due; `resent` says that the broker may have sent it before.
    """

    topic: str
    payload: bytes
    retained: bool
    mid: int
    resent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker publishes for us, retained, when we vanish."""

    topic: str
    payload: bytes

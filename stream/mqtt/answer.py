"""What does a broker's reason code mean to an operator, and what can be done about it?"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

    from stream.mqtt.address import Address

__all__ = ["goodbye", "refusal", "silence", "words"]


def refusal(code: ReasonCode, address: Address) -> str:
    """Why the broker does not want us, and what to do about it."""
    who = f"user {address.username!r}" if address.username is not None else "a client without user name"
    match code.value:
        case 0x84 if address.protocol == "5":
            return 'it does not speak MQTT 5: set protocol: "3.1.1"'
        case 0x85:
            return f"it does not allow client_id {address.client_id!r}"
        case 0x86:
            return f"it refuses {who}: bad user name or password"
        case 0x87:
            return f"it refuses {who} with client_id {address.client_id!r}: not authorised"
        case _:
            return f"it refuses the connection: {code.getName()}"


def goodbye(code: ReasonCode, client_id: str) -> str:
    """Why the broker ends a connection (MQTT 5 alone says so)."""
    if code.value == 0x8E:
        return f"another client connected with our client_id {client_id!r}: give each its own"
    return f"it ended the connection: {code.getName()}"


def silence(address: Address, what: str) -> str:
    """Why a broker took the connection and did not answer, as far as can be guessed; `what` is what it did instead."""
    questions = []
    if address.protocol == "5":
        questions.append('Does it speak MQTT 5? If not, set protocol: "3.1.1".')
    if address.tls is None:
        questions.append("Does the port want TLS?")
    elif address.tls.certificate is None:
        questions.append("Does it ask for a client certificate (tls.certificate, tls.private_key)?")
    return f"it took the connection and {what}. {' '.join(questions) or 'Is it a broker?'}"


def words(error: Exception) -> str:
    """The reason of an error of the system or of OpenSSL, without its numbers and source lines."""
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None)  # one that was not made by OpenSSL has none
        return reason.lower().replace("_", " ") if reason else str(error.strerror).partition(" (")[0]
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # asyncio puts its own text into `strerror`
    return str(error)

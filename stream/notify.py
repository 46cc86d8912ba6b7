"""What does the supervisor hear of us? systemd's notification protocol (sd_notify(3)), without its library.

Without $NOTIFY_SOCKET every call does nothing. A supervisor that does not listen is no reason to stop judging samples, so
a notification that cannot be sent is lost in silence: the watchdog is what notices.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Notifier", "watchdog_interval_s"]


class Notifier:
    """Speaks to the socket at `address`; `beat` speaks at most once in `interval_s` machine seconds.

    Call `beat` whenever progress was made, as often as it is: one notification per call would keep the supervisor busy.
    """

    def __init__(
        self, address: str | None, *, interval_s: float | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = address and (
            "\0" + address[1:] if address.startswith("@") else address
        )  # @: an abstract socket
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._beaten = float("-inf")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The notifier that the supervisor asked for; one that does nothing where none did."""
        return cls(environment.get("NOTIFY_SOCKET") or None, interval_s=watchdog_interval_s(environment))

    def ready(self) -> None:
        """Start-up is complete."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``; line breaks would begin another assignment and become spaces."""
        self._send("STATUS=" + " ".join(text.split()))

    def beat(self) -> None:
        """Progress was made: the watchdog is fed, unless that was done a moment ago or nobody watches."""
        now = self._monotonic()
        if self._interval_s is not None and now - self._beaten >= self._interval_s:
            self._beaten = now
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """A clean stop has begun."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.settimeout(0)  # a supervisor that hangs must not hang us
            s.sendto(text.encode(), self._address)


def watchdog_interval_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Half of what the supervisor allows between two beats, in machine seconds; None where it does not watch us.

    $WATCHDOG_PID names the process that is watched: a child inherits the variables, not the duty.
    """
    try:
        allowed_us = int(environment["WATCHDOG_USEC"])
        watched = int(environment.get("WATCHDOG_PID") or os.getpid())
    except (KeyError, ValueError):
        return None
    return allowed_us / 2_000_000 if allowed_us > 0 and watched == os.getpid() else None

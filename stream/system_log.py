"""How does a line of the log reach the journal of systemd with what belongs to it: its weight, and the id of its event?

Over the journal's own socket (systemd's "Native Journal Protocol"), where stderr goes to the journal anyway: `journalctl -p
warning` and `journalctl GIVRE_EVENT=GV300` then find what they should. The bindings of systemd would need its headers to build.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path

__all__ = ["SystemLog", "stderr_is_the_journal"]

SOCKET = Path("/run/systemd/journal/socket")


def stderr_is_the_journal() -> bool:
    """Whether systemd has connected stderr with its journal: it says so by device and inode."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


class SystemLog(logging.Handler):
    """Sends each line as a record with fields; `otherwise` takes what cannot be sent."""

    def __init__(self, otherwise: logging.Handler, *, address: Path = SOCKET) -> None:
        super().__init__()
        self._otherwise = otherwise
        self._address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # A journal that stands still must not stop the event loop.
        self._socket.settimeout(0.0)

    def emit(self, record: logging.LogRecord) -> None:
        """One datagram."""
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(_priority(record.levelno)),
            "SYSLOG_IDENTIFIER": "givre",
            "LOGGER": record.name,
        }
        if (event := getattr(record, "event", None)) is not None:
            fields["GIVRE_EVENT"] = str(event)
        try:
            self._socket.sendto(b"".join(_field(name, text) for name, text in fields.items()), self._address)
        except OSError:
            self._otherwise.handle(record)

    def close(self) -> None:
        """Lets the socket go."""
        self._socket.close()
        super().close()


def _priority(level: int) -> int:
    """Of syslog (RFC 5424): 2 critical, 3 error, 4 warning, 6 informational, 7 debug."""
    for least, priority in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6)):
        if level >= least:
            return priority
    return 7


def _field(name: str, text: str) -> bytes:
    """With its length in front, whatever stands in it: a line end in a text begins no other field."""
    data = text.encode(errors="replace")
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"

"""Who did what, and when? One line of the log for each such event, with an id that stays the same over versions and languages.

systemd's journal adds time, process and user; `journalctl --unit=givre GIVRE_EVENT=GV300` finds what operators did. The same
stands as records in Givre's own journal and in the database; this is for who looks after the machine and not after the plant.
"""

from __future__ import annotations

import logging
import re
import syslog
from enum import StrEnum
from typing import TYPE_CHECKING

from stream.log_line import printed

if TYPE_CHECKING:
    from detectors.records import Status

__all__ = ["Event", "audit", "audit_beside", "audit_status"]

log = logging.getLogger("audit")


class Event(StrEnum):
    """What can have happened; docs/operate.md says what each means."""

    START = "GV100"
    STOP = "GV101"
    CONFIGURATION_USED = "GV110"
    CONFIGURATION_REFUSED = "GV111"
    CONNECTED = "GV200"
    NOT_CONNECTED = "GV201"
    CERTIFICATE_TRUSTED = "GV210"
    CERTIFICATE_WITHDRAWN = "GV211"
    COMMAND_DONE = "GV300"
    COMMAND_REFUSED = "GV301"
    COMMAND_REPEATED = "GV302"
    MODEL_USED = "GV400"
    MODEL_NOT_USED = "GV401"
    PART_WELL = "GV500"
    PART_NOT_WELL = "GV501"


_BAD = {
    Event.CONFIGURATION_REFUSED,
    Event.NOT_CONNECTED,
    Event.COMMAND_REFUSED,
    Event.MODEL_NOT_USED,
    Event.PART_NOT_WELL,
}
_PARTS = {
    "source": (Event.CONNECTED, Event.NOT_CONNECTED),
    "sink": (Event.CONNECTED, Event.NOT_CONNECTED),
    "commands": (Event.CONNECTED, Event.NOT_CONNECTED),
    "config": (Event.CONFIGURATION_USED, Event.CONFIGURATION_REFUSED),
    "model": (Event.MODEL_USED, Event.MODEL_NOT_USED),
}
"""By the first word of a status's subject: what it means that the part is well, and that it is not."""


_NUMBER = re.compile(r"\d+")  # a reason with other numbers in it (seconds, records) is the same reason


def audit(event: Event, text: str) -> None:
    """Writes the line."""
    log.log(
        logging.WARNING if event in _BAD else logging.INFO, "%s %s", event.value, text, extra={"event": event.value}
    )


def audit_status(status: Status, before: Status | None) -> None:
    """Writes a line for a part that is now well, or is no longer; for the model also when it is another one now.

    For what is connected also when the reason is another one: a server that was away and now shows a strange certificate.
    """
    changed = before is None or before.ok != status.ok
    if before is not None and not status.ok and status.subject.startswith(("source.", "sink.")):
        changed |= _NUMBER.sub("", status.detail) != _NUMBER.sub("", before.detail)
    # That it runs and that it stops is told already; not well from its start is news.
    told = status.subject == "service" and (status.ok or before is not None)
    if told or not (changed or status.subject in {"model", "config"}):
        return
    well, not_well = _PARTS.get(status.subject.partition(".")[0], (Event.PART_WELL, Event.PART_NOT_WELL))
    if status.subject.startswith("model."):
        well, not_well = Event.PART_WELL, Event.PART_NOT_WELL
    audit(well if status.ok else not_well, f"{status.subject}: {status.detail}")


def audit_beside(event: Event, text: str) -> None:
    """Writes the line from a command beside the service, to the log of the system; where there is none it is not written."""
    syslog.openlog("givre", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, f"{event.value} {printed(text)}")

"""What was played, and what was sent?

Two CSV files beside the data: `labels.csv` has a row per fault as it begins, `sent.csv` one per report and protocol, so
that what a receiver has can be counted against it. Every row is on disk before the next scan.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from plant.faults import Fault
    from plant.sensor import Reading

__all__ = ["LABELS", "SENT", "Record", "stamp"]

LABELS = ("kind", "tag", "begin_at", "end_at", "size")
SENT = ("protocol", "tag", "source_at", "value", "quality")


class Record:
    """The two files in a folder, which is made where it is missing; files of an earlier run are replaced."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Long-lived on purpose: `__exit__` closes both.
        self._labels_file = (folder / "labels.csv").open("w", newline="", encoding="utf-8")
        self._sent_file = (folder / "sent.csv").open("w", newline="", encoding="utf-8")
        self._labels = csv.writer(self._labels_file)
        self._sent = csv.writer(self._sent_file)
        self._labels.writerow(LABELS)
        self._sent.writerow(SENT)
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._labels_file.close()
        self._sent_file.close()

    def label(self, fault: Fault, start: datetime) -> None:
        """Notes a fault with its planned end; `start` is the plant's second 0."""
        begin_at, end_at = (stamp(start + timedelta(seconds=s)) for s in (fault.begin_s, fault.end_s))
        self._labels.writerow((fault.kind, fault.tag, begin_at, end_at, f"{fault.size:g}"))

    def sent(self, protocol: str, reading: Reading, source_at: datetime) -> None:
        """Notes a report; the value of a bad one is left empty."""
        value = "" if reading.value is None else repr(reading.value)
        quality = "good" if reading.value is not None else "bad"
        self._sent.writerow((protocol, reading.tag, stamp(source_at), value, quality))

    def flush(self) -> None:
        """Hands what was noted to the operating system."""
        self._labels_file.flush()
        self._sent_file.flush()


def stamp(moment: datetime) -> str:
    """ISO 8601 with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

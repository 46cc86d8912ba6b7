"""Which readings are worth a report?

Report by exception, as plants do it: a tag is reported when it has moved by more than its deadband since the last
report, when its quality changes, and at the latest every 30 s (heartbeat). Between two reports the value stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plant.sensor import Reading

__all__ = ["HEARTBEAT_S", "ReportByException"]

HEARTBEAT_S = 30.0


class ReportByException:
    """The rule for one tag."""

    def __init__(self, deadband: float, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._deadband = deadband
        self._heartbeat_s = heartbeat_s
        self._last: Reading | None = None
        self._last_s = 0.0

    def is_due(self, reading: Reading, at_s: float) -> bool:
        """Whether `reading` is to be reported; if so, it is the last one reported from now on."""
        if not self._is_new(reading, at_s):
            return False
        self._last, self._last_s = reading, at_s
        return True

    def _is_new(self, reading: Reading, at_s: float) -> bool:
        last = self._last
        if last is None or at_s - self._last_s >= self._heartbeat_s or reading.reason != last.reason:
            return True
        if reading.value is None or last.value is None:
            return reading.value is not last.value
        # A hair of slack: resolutions are decimal, the difference of two readings is binary.
        return abs(reading.value - last.value) > self._deadband + 1e-9

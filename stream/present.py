"""What is known right now? The latest sample, forecast and alert of everything, for whoever shows it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from detectors.records import Alert, Forecast, Sample, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detectors.records import Record

__all__ = ["Present"]

ALERTS_KEPT = 50


class Present:
    """Bounded: one sample and one forecast per tag, the last 50 alerts."""

    def __init__(self) -> None:
        self.samples: dict[str, Sample] = {}
        self.forecasts: dict[str, Forecast] = {}
        self.standings: dict[str, Standing] = {}
        self.alerts: deque[Alert] = deque(maxlen=ALERTS_KEPT)

    def take(self, records: Iterable[Record]) -> None:
        """Takes what the fast lane has decided."""
        for record in records:
            if isinstance(record, Sample):
                before = self.samples.get(record.tag)
                if before is None or record.source_at > before.source_at:
                    self.samples[record.tag] = record
            elif isinstance(record, Forecast):
                self.forecasts[record.tag] = record
            elif isinstance(record, Standing) and record.lead == 1:
                self.standings[record.tag] = record
            elif isinstance(record, Alert):
                self.alerts.append(record)

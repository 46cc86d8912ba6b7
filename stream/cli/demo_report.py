"""What came of a run of the demo: nothing lost, how fast, and which faults were seen?"""

from __future__ import annotations

import csv
import os
import platform
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from detectors.records import Alert

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from detectors.records import Record, Sample
    from stream.clock import Clock
    from stream.metric import Latency
    from stream.pipeline import Pipeline

__all__ = ["Fault", "report"]

SEEN_AFTER_S = 60.0
"""An alarm that is raised so long after the end of a fault (plant seconds) still is its alarm: delays run on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault that the plant has played, with its planned end."""

    kind: str
    tag: str
    begin_at: datetime
    end_at: datetime


def report(
    *,
    pipeline: Pipeline,
    received: Iterable[Sample],
    alerts: Iterable[Record],
    sent: Path,
    asset: str,
    by_opcua: set[str],
    faults: list[Fault],
    cut: datetime,
    clock: Clock,
    seconds: float,
) -> dict[str, object]:
    """The figures of a run, ready for JSON; `cut` is the plant time up to which everything sent must have arrived."""
    held = {(sample.tag, _millis(sample.source_at)) for sample in received}
    lost = _lost(sent, asset, by_opcua, held, cut)
    raised = [r.at for r in alerts if isinstance(r, Alert) and r.state.active and not r.previous.active]
    played = [fault for fault in faults if fault.begin_at <= cut]
    return {
        "samples": pipeline.metrics.samples,
        "samples_lost": len(lost),
        "samples_rejected": sum(pipeline.metrics.rejected.values()),
        "scores": pipeline.metrics.scores,
        "steps_not_scored": pipeline.schedule.unscored,
        "forecasts": dict(sorted(pipeline.metrics.forecasts.items())),
        "steps_not_forecast": pipeline.schedule.thinned,
        "verdicts": pipeline.lane.verdicts,
        "alarms_raised": pipeline.metrics.raised,
        "alarms_cleared": pipeline.metrics.cleared,
        "speed": clock.speed,
        "seconds": round(seconds, 1),
        "seconds_to_first_score": pipeline.metrics.first_score_s and round(pipeline.metrics.first_score_s, 2),
        "seconds_to_first_forecast": pipeline.metrics.first_forecast_s and round(pipeline.metrics.first_forecast_s, 2),
        "latency_verdict_ms": _quantiles(pipeline.metrics.to_verdict),
        "latency_journal_ms": _quantiles(pipeline.metrics.to_journal),
        "latency_forecast_ms": _quantiles(pipeline.metrics.to_forecast),
        "faults_played": len(played),
        "faults_alarmed": sum(_seen(fault, raised) for fault in played),
        "faults": [{"kind": f.kind, "tag": f.tag, "alarmed": _seen(f, raised)} for f in played],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}",
    }


def _lost(
    sent: Path, asset: str, by_opcua: set[str], held: set[tuple[str, int]], cut: datetime
) -> set[tuple[str, int]]:
    """What the plant sent over the protocol that we follow, after our first sample of the tag, and we do not have."""
    expected: dict[str, list[int]] = {}
    with sent.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            tag = f"{asset}/{row['tag']}"
            if (row["protocol"] == "opcua") != (tag in by_opcua):
                continue
            source_at = datetime.fromisoformat(row["source_at"])
            if source_at <= cut:
                expected.setdefault(tag, []).append(_millis(source_at))
    lost = set()
    for tag, moments in expected.items():
        first = min((at for name, at in held if name == tag), default=None)
        lost |= {(tag, at) for at in moments if (first is None or at >= first) and (tag, at) not in held}
    return lost


def _seen(fault: Fault, raised: list[datetime]) -> bool:
    return any(fault.begin_at <= at <= fault.end_at + timedelta(seconds=SEEN_AFTER_S) for at in raised)


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _quantiles(latency: Latency) -> dict[str, float | None]:
    return {
        name: None if (value := latency.quantile(level)) is None else round(value * 1000, 2)
        for name, level in (("p50", 0.5), ("p99", 0.99))
    }

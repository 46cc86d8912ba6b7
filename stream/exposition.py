"""What does a monitoring system read of the running service? Its counters, latencies and parts, in Prometheus' text format.

Everything is read at the moment of asking, on the event loop; only what the journal must be asked for is looked up before,
in `Backlog`. Names are those of docs/operate.md and deploy/prometheus.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from stream.flood import PLANT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from prometheus_client import Metric

    from stream.metric import Latency
    from stream.pipeline import Pipeline

__all__ = ["Backlog", "families", "look_back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits in the journal for one sink."""

    depth: int
    oldest_at: datetime | None


async def look_back(pipeline: Pipeline) -> dict[str, Backlog]:
    """What waits for each sink; the journal is read in a thread."""

    def look() -> dict[str, Backlog]:
        return {sink.name: Backlog(depth=sink.depth(), oldest_at=sink.waiting_since()) for sink in pipeline.sinks}

    return await asyncio.to_thread(look)


def families(pipeline: Pipeline, backlogs: dict[str, Backlog], now: datetime) -> Iterator[Metric]:
    """Every family of metrics of a running pipeline; ages are seconds of its clock, and `now` is that clock's."""
    yield from _counts(pipeline)
    yield from _latencies(pipeline)
    yield from _parts(pipeline)
    yield from _backlogs(pipeline, backlogs, now)
    alarms = GaugeMetricFamily("givre_alarms_standing", "Alarms whose condition holds now.")
    alarms.add_metric([], sum(alarm.memory.state.active for alarm in pipeline.lane.alarms.values()))
    yield alarms
    age = GaugeMetricFamily(
        "givre_sample_age_seconds", "Since the source time of a tag's newest sample.", labels=["tag"]
    )
    for tag, sample in pipeline.present.samples.items():
        age.add_metric([tag], (now - sample.source_at).total_seconds())
    yield age


def _counts(pipeline: Pipeline) -> Iterator[Metric]:
    metrics = pipeline.metrics
    yield CounterMetricFamily("givre_samples", "Samples taken from the sources.", value=metrics.samples)
    rejected = CounterMetricFamily(
        "givre_rejected", "Inputs that could not become a sample.", labels=["source", "tag", "reason"]
    )
    for (source, tag, reason), count in metrics.rejected.items():
        rejected.add_metric([source, tag or "", reason], count)
    yield rejected
    dropped = CounterMetricFamily(
        "givre_dropped", "Values that were never judged, and records that no sink got.", labels=["part", "why"]
    )
    for (part, why), count in metrics.dropped.items():
        dropped.add_metric([part, why], count)
    yield dropped
    placements = CounterMetricFamily("givre_placements", "Samples by their place in the window.", labels=["placement"])
    for placement, count in metrics.placements.items():
        placements.add_metric([placement], count)
    yield placements
    forecasts = CounterMetricFamily("givre_forecasts", "Forecasts made.", labels=["forecaster"])
    for forecaster, count in metrics.forecasts.items():
        forecasts.add_metric([forecaster], count)
    yield forecasts
    commands = CounterMetricFamily(
        "givre_commands", "Commands of operators, by what came of them.", labels=["command", "result"]
    )
    for (command, result), count in pipeline.orders.counts.items():
        commands.add_metric([command, result], count)
    yield commands
    yield CounterMetricFamily("givre_alarms_raised", "Alarms that became active.", value=metrics.raised)
    flood = pipeline.flood
    yield GaugeMetricFamily("givre_alarms_in_10_min", "Alarms raised in the last 10 minutes.", value=flood.recent)
    yield CounterMetricFamily("givre_alarm_floods", "Floods: more than 10 alarms in 10 minutes.", value=flood.floods)
    yield GaugeMetricFamily(
        "givre_alarms_chattering", "Alarms raised 3 times a minute lately.", value=len(flood.chattering)
    )
    yield CounterMetricFamily("givre_alarms_cleared", "Alarms that returned to normal.", value=metrics.cleared)


def _latencies(pipeline: Pipeline) -> Iterator[Metric]:
    metrics = pipeline.metrics
    yield _histogram("givre_verdict_latency_seconds", "From arrival to verdict.", metrics.to_verdict)
    yield _histogram("givre_journal_latency_seconds", "From arrival to the journal on disk.", metrics.to_journal)
    yield _histogram("givre_forecast_latency_seconds", "Of one turn of the model lane.", metrics.to_forecast)
    yield _histogram("givre_loop_lateness_seconds", "How late the event loop came back.", metrics.loop_late)


def _parts(pipeline: Pipeline) -> Iterator[Metric]:
    part = GaugeMetricFamily("givre_part_ok", "1 where a part is well, else 0; /health says why.", labels=["part"])
    for status in list(pipeline.statuses.values()):
        if not status.subject.startswith(PLANT):
            part.add_metric([status.subject], float(status.ok))
    yield part
    yield GaugeMetricFamily(
        "givre_model_up", "Whether the model lane's process answers.", value=float(pipeline.model.up)
    )
    yield CounterMetricFamily(
        "givre_model_restarts", "How often the model lane's process was started again.", value=pipeline.model.restarts
    )


def _backlogs(pipeline: Pipeline, backlogs: dict[str, Backlog], now: datetime) -> Iterator[Metric]:
    depth = GaugeMetricFamily("givre_journal_depth", "Records that a sink has not got.", labels=["sink"])
    age = GaugeMetricFamily("givre_delivery_age_seconds", "Age of the oldest record that waits.", labels=["sink"])
    refused = CounterMetricFamily("givre_refused", "Records that a sink will never take.", labels=["sink"])
    for sink in pipeline.sinks:
        refused.add_metric([sink.name], sink.refused)
    for name, backlog in backlogs.items():
        depth.add_metric([name], backlog.depth)
        waited_s = 0.0 if backlog.oldest_at is None else (now - backlog.oldest_at).total_seconds()
        age.add_metric([name], max(0.0, waited_s))
    yield from (depth, age, refused)


def _histogram(name: str, text: str, latency: Latency) -> Metric:
    return HistogramMetricFamily(name, text, buckets=latency.histogram, sum_value=latency.sum_s)

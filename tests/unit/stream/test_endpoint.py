"""Metrics and health on loopback: what is counted is what is read, and what is wrong is named."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from detectors.alarm import AlarmRule
from detectors.forecasters.persistence import Persistence
from detectors.limits import Tolerance
from detectors.records import Sample, Status
from stream.clock import SystemClock
from stream.delivery import Delivery
from stream.endpoint import Endpoint, health
from stream.journal.journal import Journal
from stream.lane import FastLane
from stream.model.modelling import ModelLane
from stream.model.schedule import Schedule
from stream.pipeline import Pipeline
from stream.sinks.sink import SinkUnavailableError
from stream.sources.source import Rejection
from stream.watch import Watch
from stream.window import RollingWindow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from detectors.records import Record

RULES = Path(__file__).parents[3] / "deploy" / "prometheus" / "givre.rules.yaml"


class Deaf:
    """A sink whose far side is away."""

    name = "store"
    kinds = frozenset({Sample})

    async def write(self, records: Sequence[Record]) -> list[object]:
        raise SinkUnavailableError("nobody answers")

    async def probe(self) -> list[str]:
        return []

    async def close(self) -> None:
        pass


def build(journal: Journal) -> Pipeline:
    window = RollingWindow(tag="hx/t", period_s=0.1, hold_s=10, length=32, lateness_s=0.05)
    rule = (Tolerance(setpoint=5, tolerance=0.2), AlarmRule())
    clock = SystemClock()
    return Pipeline(
        sources=[],
        lane=FastLane([Watch(window=window, on_sample=[rule])], {}),
        schedule=Schedule(rank={}, horizon=3),
        model=lambda report: ModelLane(None, fallback=Persistence(), horizon=3, report=report, clock=clock),
        journal=journal,
        deliveries=lambda report: [Delivery(journal, Deaf(), report=report, clock=clock)],
        clock=clock,
    )


@asynccontextmanager
async def served(pipeline: Pipeline, port: int) -> AsyncIterator[None]:
    run = asyncio.create_task(pipeline.run())
    endpoint = asyncio.create_task(Endpoint(pipeline, host="127.0.0.1", port=port, clock=SystemClock()).run())
    async with asyncio.timeout(10):
        while "http" not in pipeline.statuses:
            await asyncio.sleep(0.005)
    try:
        yield
    finally:
        endpoint.cancel()
        with suppress(asyncio.CancelledError):
            await endpoint
        pipeline.stop()
        await run


@pytest.fixture
def journal(tmp_path: Path):
    made = Journal(tmp_path / "journal.sqlite3", max_size_mb=8, keep_days=1)
    yield made
    made.close()


async def say(port: int, request: bytes) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


async def get(port: int, path: str) -> tuple[int, str]:
    return await say(port, f"GET {path} HTTP/1.1\r\nHost: givre\r\n\r\n".encode())


async def figures(port: int) -> dict[tuple[str, ...], float]:
    code, text = await get(port, "/metrics")
    assert code == 200
    return {
        (one.name, *(one.labels[key] for key in sorted(one.labels))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def test_what_was_counted_is_what_is_read(
    journal: Journal, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.pipeline.DRAIN_S", 0.01)
    subject, now = build(journal), datetime.now(UTC)
    async with served(subject, free_port):
        at = [now - timedelta(seconds=s) for s in (60, 59, 0)]
        await subject.deliver(
            [Sample(tag="hx/t", value=5.5, source_at=one, arrived_at=datetime.now(UTC)) for one in at]
        )
        subject.reject(Rejection(source="plc", tag="hx/t", reason="bad_quality", detail="x", at=now))
        subject.drop("plc", "thinned", 3)
        subject.drop("plc", "thinned", 4)
        async with asyncio.timeout(10):
            while subject.metrics.to_journal.count == 0:
                await asyncio.sleep(0.005)
        read = await figures(free_port)
    assert read["givre_samples_total",] == 3
    assert read["givre_rejected_total", "bad_quality", "plc", "hx/t"] == 1
    assert read["givre_dropped_total", "source.plc", "thinned"] == 7
    assert sum(value for key, value in read.items() if key[0] == "givre_placements_total") == 3
    assert read["givre_journal_depth", "store"] == 3
    assert 57 < read["givre_delivery_age_seconds", "store"] < 120
    assert 0 <= read["givre_sample_age_seconds", "hx/t"] < 30
    assert read["givre_alarms_standing",] == 1
    assert read["givre_verdict_latency_seconds_count",] == 3
    assert read["givre_verdict_latency_seconds_bucket", "+Inf"] == 3
    assert read["givre_part_ok", "sink.store"] == 0
    assert read["givre_part_ok", "journal"] == 1
    assert read["givre_model_restarts_total",] == 0


async def test_health_names_the_part_that_is_not_well_and_is_200_when_all_are(
    journal: Journal, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.pipeline.DRAIN_S", 0.01)
    subject, now = build(journal), datetime.now(UTC)
    async with served(subject, free_port):
        subject.report(Status(subject="source.plc", ok=False, detail='refused: "no route"', at=now))
        code, body = await get(free_port, "/health")
        assert code == 503
        assert json.loads(body)["wrong"]["source.plc"] == 'refused: "no route"'
        for status in list(subject.statuses.values()):
            subject.report(Status(subject=status.subject, ok=True, detail="well", at=now))
        assert await get(free_port, "/health") == (200, '{"ok": true, "wrong": {}}\n')


def test_a_service_that_has_said_nothing_yet_is_not_healthy() -> None:
    assert health({})[0] == 503


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 405),
        (b"\xff\xfe\r\n\r\n", 400),
    ],
)
async def test_nothing_else_is_served(
    journal: Journal, free_port: int, request_: bytes, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.pipeline.DRAIN_S", 0.01)
    async with served(build(journal), free_port):
        assert (await say(free_port, request_))[0] == code


async def test_a_client_that_sends_without_end_or_never_is_dropped_and_others_are_served(
    journal: Journal, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.pipeline.DRAIN_S", 0.01)
    monkeypatch.setattr("stream.endpoint.PATIENCE_S", 0.3)
    async with served(build(journal), free_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        silent, other = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(b"GET /" + b"a" * 100_000)
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        with suppress(ConnectionError):
            assert await asyncio.wait_for(silent.read(), 5) == b""
        assert (await get(free_port, "/metrics"))[0] == 200
        writer.close()
        other.close()


async def test_a_port_that_is_taken_is_said_and_nothing_else_fails(
    journal: Journal, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.pipeline.DRAIN_S", 0.01)
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", free_port)
    subject = build(journal)
    async with taken, served(subject, free_port):
        assert not subject.statuses["http"].ok
        await subject.deliver(
            [Sample(tag="hx/t", value=5.0, source_at=datetime.now(UTC), arrived_at=datetime.now(UTC))]
        )
        async with asyncio.timeout(10):
            while subject.metrics.samples == 0:
                await asyncio.sleep(0.005)


async def test_every_metric_that_a_shipped_rule_asks_for_exists(
    journal: Journal, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.pipeline.DRAIN_S", 0.01)
    async with served(build(journal), free_port):
        _, text = await get(free_port, "/metrics")
    known = set()
    for family in text_string_to_metric_families(text):
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        known |= {family.name + end for end in ends}
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    asked: set[str] = set()
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"]["action"]
        asked |= set(re.findall(r"\bgivre_\w+", rule["expr"]))
    assert len(asked) >= 8
    assert asked <= known

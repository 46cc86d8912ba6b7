"""Journal, delivery and InfluxDB sink together, while the real server behind them is killed, frozen, locked and slow.

A loss would be a hole in the values, which are counted; a double would be a moment with two points.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from detectors.records import AlarmState, Alert, Priority, Sample, Status
from stream.clock import SystemClock
from stream.delivery import Delivery
from stream.journal.journal import Journal
from stream.sinks.influxdb import InfluxSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T0 = datetime(2026, 11, 23, tzinfo=UTC)
SERVICE = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from detectors.records import Sample
from stream.clock import SystemClock
from stream.delivery import Delivery
from stream.journal.journal import Journal
from stream.sinks.influxdb import InfluxSink

async def main(path, url, i):
    journal = Journal(Path(path), max_size_mb=64, keep_days=30)
    sink = InfluxSink(name="db", site="demo", version=1, url=url, bucket="givre")
    delivery = Delivery(journal, sink, report=lambda s: None, clock=SystemClock(), batch=50, backoff_s=(0.05, 0.3))
    task = asyncio.create_task(delivery.run())
    while not task.done():
        at = [datetime(2026, 11, 23, tzinfo=UTC) + timedelta(milliseconds=k) for k in range(i, i + 10)]
        samples = [Sample(tag="hx/water", value=float(k), source_at=a, arrived_at=a) for k, a in enumerate(at, i)]
        await asyncio.to_thread(journal.append, samples)
        i += 10
        print(i, flush=True)
        delivery.wake()
        await asyncio.sleep(0)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def sample(i: int) -> Sample:
    at = T0 + timedelta(milliseconds=i)
    return Sample(tag="hx/water", value=float(i), source_at=at, arrived_at=at)


def stored(influxd) -> list[float]:
    return [float(row["value"]) for row in influxd.ask('SELECT "value" FROM "sample"')]


async def until(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


class Stream:
    """Samples counted up from 0, through a journal to a server."""

    def __init__(self, journal: Journal, delivery: Delivery, statuses: list[Status]) -> None:
        self.journal = journal
        self.delivery = delivery
        self.statuses = statuses
        self.count = 0

    async def send(self, count: int, *, batch: int = 10, pause_s: float = 0.0) -> None:
        for _ in range(count // batch):
            await asyncio.to_thread(self.journal.append, [sample(self.count + i) for i in range(batch)])
            self.count += batch
            self.delivery.wake()
            await asyncio.sleep(pause_s)

    async def settled(self) -> None:
        await until(lambda: self.delivery.depth() == 0)

    def said(self) -> list[tuple[bool, str]]:
        return [(s.ok, s.detail) for s in self.statuses]


@asynccontextmanager
async def streaming(path, sink: InfluxSink) -> AsyncIterator[Stream]:
    journal = Journal(path, max_size_mb=64, keep_days=30)
    statuses: list[Status] = []
    delivery = Delivery(journal, sink, report=statuses.append, clock=SystemClock(), batch=500, backoff_s=(0.05, 0.3))
    task = asyncio.create_task(delivery.run())
    try:
        yield Stream(journal, delivery, statuses)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close()


@pytest.fixture(params=[1, 2])
def sink(request, influxd) -> InfluxSink:
    if request.param == 1:
        return InfluxSink(name="db", site="demo", version=1, url=influxd.url, bucket="givre", timeout_s=2)
    return v2_sink(request.getfixturevalue("v2_shim"))


def v2_sink(shim) -> InfluxSink:
    fields = {"url": shim.url, "bucket": "givre", "org": shim.org, "token": shim.token}
    return InfluxSink(name="db", site="demo", version=2, timeout_s=2, **fields)


async def test_a_server_killed_and_restarted_in_mid_stream_has_each_sample_once(tmp_path, sink, influxd):
    async with streaming(tmp_path / "j", sink) as stream:
        await stream.send(1000)
        for _ in range(2):
            sending = asyncio.create_task(stream.send(3000, pause_s=0.003))
            await asyncio.sleep(0.2)
            influxd.kill()
            await asyncio.sleep(0.3)
            await asyncio.to_thread(influxd.start)
            await sending
        await stream.settled()
        assert stored(influxd) == [float(i) for i in range(7000)]
        assert [ok for ok, _ in itertools.groupby(ok for ok, _ in stream.said())] == [True, False, True, False, True]
        assert stream.journal.dead_letters("db") == []


async def test_a_service_killed_at_any_moment_has_delivered_or_delivers_all_that_it_kept(tmp_path, influxd):
    dice = random.Random(3)
    kept = 0
    for _ in range(6):
        command = [sys.executable, "-c", SERVICE, str(tmp_path / "j"), influxd.url, str(kept)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as service:
            said = [service.stdout.readline()]
            await asyncio.sleep(dice.uniform(0.0, 0.4))
            service.kill()
            said += service.stdout.readlines()
        kept = int([line for line in said if line.endswith(b"\n")][-1])
    assert 0 < len(stored(influxd)) < kept + 10
    sink = InfluxSink(name="db", site="demo", version=1, url=influxd.url, bucket="givre")
    async with streaming(tmp_path / "j", sink) as stream:
        await stream.settled()
        there = stored(influxd)
    assert there == [float(i) for i in range(len(there))]
    # What was being kept when it was killed may be there as well.
    assert len(there) in {kept, kept + 10}


async def test_a_frozen_server_costs_neither_a_sample_nor_the_loop_its_beat(tmp_path, sink, influxd):
    latest = 0.0

    async def watch() -> None:
        nonlocal latest
        while True:
            begin = time.monotonic()
            await asyncio.sleep(0.01)
            latest = max(latest, time.monotonic() - begin - 0.01)

    async with streaming(tmp_path / "j", sink) as stream:
        await stream.send(100)
        await stream.settled()
        influxd.send(signal.SIGSTOP)
        try:
            watching = asyncio.create_task(watch())
            begin = time.monotonic()
            await stream.send(3000, pause_s=0.002)
            await until(lambda: stream.said()[-1][0] is False, 5)
            assert time.monotonic() - begin < 5
            watching.cancel()
        finally:
            influxd.send(signal.SIGCONT)
        await stream.settled()
        assert stored(influxd) == [float(i) for i in range(3100)]
        assert latest < 0.2


@pytest.mark.parametrize("status", ["401", "403", "404", "503"])
async def test_a_login_or_a_bucket_that_is_missing_for_a_while_loses_nothing(tmp_path, v2_shim, influxd, status):
    async with streaming(tmp_path / "j", v2_sink(v2_shim)) as stream:
        await stream.send(500)
        await stream.settled()
        v2_shim.always = status
        before = len(v2_shim.requests)
        await stream.send(1000, pause_s=0.005)
        await until(lambda: len(v2_shim.requests) > before + 2)
        assert stream.delivery.depth() == 1000
        asked = len(v2_shim.requests) - before
        v2_shim.always = ""
        await stream.settled()
        assert stored(influxd) == [float(i) for i in range(1500)]
        assert [ok for ok, _ in stream.said()] == [True, False, True]
        assert f"({status})" in stream.said()[1][1]
        # Back-off, not news, sets the pace: 100 appends came in that time.
        assert asked < 20


async def test_a_server_that_asks_for_patience_gets_it(tmp_path, v2_shim, influxd):
    async with streaming(tmp_path / "j", v2_sink(v2_shim)) as stream:
        v2_shim.script = ["429:1.2", "503:0.6"]
        await stream.send(1000, pause_s=0.003)
        await stream.settled()
        moments = [at for at, _ in v2_shim.requests]
        assert moments[1] - moments[0] >= 1.2
        assert moments[2] - moments[1] >= 0.6
        assert stored(influxd) == [float(i) for i in range(1000)]


async def test_answers_and_requests_that_get_lost_leave_each_moment_once_and_in_order(tmp_path, v2_shim, influxd):
    async with streaming(tmp_path / "j", v2_sink(v2_shim)) as stream:
        v2_shim.script = ["stored", "", "cut", "stored", "stored", "500", "", "html", "cut"] * 2
        await stream.send(3000, pause_s=0.002)
        await stream.settled()
        assert stored(influxd) == [float(i) for i in range(3000)]
        firsts = [int(lines[0].rsplit(" ", 1)[1]) for _, lines in v2_shim.requests]
        assert firsts == sorted(firsts)
        assert v2_shim.script == []


async def test_one_bad_point_in_the_stream_is_a_dead_letter_and_stops_nobody(tmp_path, sink, influxd):
    async with streaming(tmp_path / "j", sink) as stream:
        bad = Sample(tag="hx/water", value=1.0, source_at=datetime(2300, 1, 1, tzinfo=UTC), arrived_at=T0)
        await stream.send(490)
        await asyncio.to_thread(stream.journal.append, [bad])
        await stream.send(500)
        await stream.settled()
        assert stored(influxd) == [float(i) for i in range(990)]
        ((letter, reason),) = stream.journal.dead_letters("db")
        assert letter == bad
        assert "time outside range" in reason


async def test_a_stop_with_a_backlog_while_the_server_is_silent_is_quick_and_the_next_start_goes_on(
    tmp_path, sink, influxd
):
    async with streaming(tmp_path / "j", sink) as stream:
        await stream.send(500)
        await stream.settled()
        influxd.send(signal.SIGSTOP)
        await stream.send(50_000, batch=1000)
        await asyncio.sleep(0.2)
        begin = time.monotonic()
    try:
        assert time.monotonic() - begin < 1
    finally:
        influxd.send(signal.SIGCONT)
    fields = {"version": 1, "url": influxd.url, "bucket": "givre"}
    async with streaming(tmp_path / "j", InfluxSink(name="db", site="demo", **fields)) as stream:
        assert 0 < stream.delivery.depth() <= 50_000
        stream.count = 50_500
        await stream.send(100)
        await stream.settled()
        assert stored(influxd) == [float(i) for i in range(50_600)]


async def test_alerts_leave_by_another_sink_while_the_database_hangs(tmp_path, v2_shim):
    class Alerts:
        name = "alerts"
        kinds = frozenset({Alert})
        delays: list[float] = []  # noqa: RUF012 - one instance, one test

        async def write(self, records):
            self.delays += [time.time() - alert.at.timestamp() for alert in records]
            return []

        async def close(self) -> None: ...

    async with streaming(tmp_path / "j", v2_sink(v2_shim)) as stream:
        v2_shim.always = "hang:3"
        alerts = Delivery(stream.journal, Alerts(), report=stream.statuses.append, clock=SystemClock())
        task = asyncio.create_task(alerts.run())
        for i in range(20):
            await stream.send(500, batch=100)
            at = datetime.now(UTC)
            fields = {"state": AlarmState.UNACKNOWLEDGED, "previous": AlarmState.NORMAL, "at": at, "since": at}
            alert = Alert(tag="hx/t", rule="r", sequence=i, priority=Priority.HIGH, text="", **fields)
            await asyncio.to_thread(stream.journal.append, [alert])
            alerts.wake()
            await until(lambda i=i: len(Alerts.delays) == i + 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert sorted(Alerts.delays)[10] < 0.05
        assert max(Alerts.delays) < 0.5
        v2_shim.always = ""

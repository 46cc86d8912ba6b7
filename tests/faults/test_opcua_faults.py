"""OPC UA with real faults: the server is killed, frozen and restarted as another one, the network cut and reset.

The tag `count` counts tenths of a second of an epoch: a hole in the integers is a lost sample.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from stream.clock import SystemClock
from stream.sources import opcua_inbox, opcua_subscription
from stream.sources.opcua import OpcuaSource, UaTag

BACK_S = 15.0  # within which data comes again


def make(server, *tags: str, port: int | None = None, **changes) -> OpcuaSource:
    settings = {
        "name": "plc",
        "endpoint": f"opc.tcp://127.0.0.1:{port or server.port}/plant",
        "namespace": server.namespace,
        "tags": [UaTag(tag=tag, node=f"s={tag}") for tag in tags or ("count",)],
        "publishing_interval_s": 0.1,
        "sampling_interval_s": 0.05,
        "queue_size": 200,
        "silent_after_s": 2.0,
        "security": None,
        "username": None,
        "password": None,
        "clock": SystemClock(),
    }
    return OpcuaSource(**settings | changes)


@contextlib.asynccontextmanager
async def running(source, intake):
    task = asyncio.create_task(source.run(intake))
    try:
        await intake.until(lambda: intake.statuses and intake.statuses[-1].ok)
        yield task
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


def counted(intake) -> list[int]:
    return [int(sample.value) for sample in intake.samples if sample.tag == "count" and sample.value is not None]


def lost(counts: list[int]) -> list[tuple[int, int]]:
    """Between which two counts something is missing."""
    ordered = sorted(set(counts))
    return [(a, b) for a, b in itertools.pairwise(ordered) if b != a + 1]


async def more(intake, limit_s: float = BACK_S, n: int = 5) -> None:
    """Waits for counts that are new from now on."""
    had = len(intake.samples)
    await intake.until(lambda: len(intake.samples) >= had + n, limit_s)


def told_gap(intake) -> tuple[datetime, datetime]:
    """From when to when nothing came, as the status says."""
    found = re.search(r"nothing came from (\S+ \S+) to (\S+ \S+) UTC", intake.statuses[-1].detail)
    assert found, intake.statuses[-1].detail
    begin, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in found.groups())
    return begin, end


async def test_a_killed_server_is_a_hole_and_then_data_again(ua_server, intake, record_property):
    epoch = time.time()
    ua_server.start(f"--epoch={epoch}")
    async with running(make(ua_server), intake):
        await more(intake)
        ua_server.kill()
        before = counted(intake)[-1]
        await intake.until(lambda: not intake.statuses[-1].ok)
        await asyncio.to_thread(ua_server.start)
        up = time.monotonic()
        await more(intake)
        record_property("figure", f"plain: data again after {time.monotonic() - up:.1f} s")
        assert intake.statuses[-1].ok
        begin, end = told_gap(intake)
    (hole,) = lost(counted(intake))  # one hole, where the server was away, and none made by us
    assert hole[0] == before
    # The hole that is told holds the one that is there, and is hardly longer.
    first, last = (datetime.fromtimestamp(epoch + count / 10, UTC) for count in hole)
    assert begin <= first + timedelta(seconds=1)
    assert last - timedelta(seconds=1) <= end <= last + timedelta(seconds=2)
    assert begin >= first - timedelta(seconds=4)
    assert intake.rejections == []


@pytest.mark.parametrize("away_s", [0.0, 4.0])
async def test_namespaces_that_move_at_a_restart_bring_no_value_of_another_node(ua_server, intake, away_s):
    ua_server.start("--node=x/a")
    ua_server.tell(write="x/a", value=1.0, type="Double")
    async with running(make(ua_server, "x/a"), intake):
        await intake.until(lambda: 1.0 in intake.values)
        ua_server.kill()
        await asyncio.sleep(away_s)
        # The number that was ours is now another's, with a node of the same name in it.
        await asyncio.to_thread(ua_server.start, "--node=x/a", "--shift=1", "--decoy=x/a")
        ua_server.tell(write="x/a", value=2.0, type="Double")
        await intake.until(lambda: 2.0 in intake.values, BACK_S)
    assert -1.0 not in intake.values


async def test_a_node_that_a_restart_brings_is_picked_up(ua_server, intake):
    ua_server.start("--node=x/a", "--node=x/b", "--omit=x/b")
    task = asyncio.create_task(make(ua_server, "x/a", "x/b").run(intake))
    try:
        await intake.until(lambda: intake.statuses and "x/b (s=x/b): BadNodeIdUnknown" in intake.statuses[-1].detail)
        ua_server.kill()
        await asyncio.to_thread(ua_server.start, "--node=x/a", "--node=x/b")
        ua_server.tell(write="x/b", value=2.0, type="Double")
        await intake.until(lambda: 2.0 in intake.values, BACK_S)
        assert intake.statuses[-1].ok
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.slow
async def test_a_frozen_server_is_reported_and_data_comes_when_it_thaws(ua_server, intake):
    ua_server.start(f"--epoch={time.time()}")
    async with running(make(ua_server), intake):
        await more(intake)
        ua_server.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(8)
            assert not intake.statuses[-1].ok
        finally:
            ua_server.send(signal.SIGCONT)
        await more(intake)
        await intake.until(lambda: intake.statuses[-1].ok)


async def test_a_reset_of_the_network_loses_nothing(ua_server, intake, relay):
    ua_server.start(f"--epoch={time.time()}")
    async with running(make(ua_server, port=relay.port), intake):
        await more(intake)
        relay.reset()
        await more(intake, n=20)
    assert lost(counted(intake)) == []


async def test_what_a_reset_swallows_after_a_quiet_time_is_fetched_again(ua_server, intake, relay, monkeypatch):
    monkeypatch.setattr(opcua_subscription, "KEEP_ALIVE_S", 0.3)
    ua_server.start("--node=x/a")
    ua_server.tell(write="x/a", value=1.0, type="Double")
    async with running(make(ua_server, "x/a", port=relay.port, silent_after_s=60.0), intake):
        await intake.until(lambda: 1.0 in intake.values)
        await asyncio.sleep(1.5)  # a few keep-alives
        relay.hole = True
        for value in (2.0, 3.0):
            await asyncio.to_thread(ua_server.tell, write="x/a", value=value, type="Double")
            await asyncio.sleep(0.3)  # it is sent, and on its way
        relay.reset()
        relay.hole = False
        await intake.until(lambda: 3.0 in intake.values, BACK_S)
    assert intake.values == [1.0, 2.0, 3.0]


@pytest.mark.slow
async def test_a_cut_of_five_seconds_loses_nothing(ua_server, intake, relay):
    ua_server.start(f"--epoch={time.time()}")
    async with running(make(ua_server, port=relay.port), intake):
        await more(intake)
        relay.hole = True
        await asyncio.sleep(5)
        relay.hole = False
        await more(intake, n=60)
        await intake.until(lambda: intake.statuses[-1].ok)
    assert lost(counted(intake)) == []


@pytest.mark.slow_fault
async def test_a_cut_of_forty_seconds_is_told_with_its_times(ua_server, intake, relay, record_property):
    epoch = time.time()
    ua_server.start(f"--epoch={epoch}")
    async with running(make(ua_server, port=relay.port), intake):
        await more(intake)
        relay.hole = True
        await asyncio.sleep(40)
        relay.hole = False
        await more(intake, limit_s=40)
        await intake.until(lambda: intake.statuses[-1].ok, 20)
        begin, end = told_gap(intake)
    (hole,) = lost(counted(intake))
    first, last = (datetime.fromtimestamp(epoch + count / 10, UTC) for count in hole)
    record_property("figure", f"lost {first:%M:%S} to {last:%M:%S}, told {begin:%M:%S} to {end:%M:%S}")
    # What the server's queue held at the end of the cut has come; what is told is the whole of it.
    assert first - timedelta(seconds=4) < begin <= first + timedelta(seconds=1)
    assert last <= end < begin + timedelta(seconds=50)


async def test_a_cancelled_run_does_not_wait_for_a_frozen_server(ua_server, intake):
    ua_server.start("--node=x/a")
    before = asyncio.all_tasks()
    task = asyncio.create_task(make(ua_server, "x/a").run(intake))
    await intake.until(lambda: intake.samples)
    ua_server.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        task.cancel()
        await asyncio.wait([task], timeout=10)
        assert time.monotonic() - began < 2.5
        assert task.cancelled()
        assert asyncio.all_tasks() - before == set()
    finally:
        ua_server.send(signal.SIGCONT)


async def test_a_pipeline_that_is_full_over_a_restart_of_the_server_gets_everything_later(ua_server, intake):
    ua_server.start(f"--epoch={time.time()}")
    room = asyncio.Event()
    deliver = intake.deliver

    async def full(samples, accepted=None):
        await room.wait()
        await deliver(samples, accepted)

    intake.deliver = full
    async with running(make(ua_server), intake):
        await asyncio.sleep(1.5)
        ua_server.kill()
        await intake.until(lambda: not intake.statuses[-1].ok)
        await asyncio.to_thread(ua_server.start)
        await intake.until(lambda: intake.statuses[-1].ok, BACK_S)
        assert intake.samples == []
        room.set()
        await more(intake)
    counts = counted(intake)
    assert counts == sorted(counts)
    assert len(lost(counts)) == 1
    assert lost(counts)[0][0] - counts[0] >= 10  # what came before the kill is there


async def test_values_that_find_no_room_are_counted_and_said(ua_server, intake, monkeypatch):
    monkeypatch.setattr(opcua_inbox, "LIMIT", 5)
    ua_server.start(f"--epoch={time.time()}")
    deliver, room = intake.deliver, asyncio.Event()

    async def full(samples, accepted=None):
        await room.wait()
        await deliver(samples, accepted)

    intake.deliver = full
    async with running(make(ua_server), intake):
        await intake.until(lambda: not intake.statuses[-1].ok)
        assert "values dropped: more came than could be judged" in intake.statuses[-1].detail
        room.set()
        await more(intake)

"""The OPC UA source against a real server: what it makes of values, nodes and filters; faults are in tests/faults."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from datetime import UTC, datetime, timedelta

import pytest

from detectors.records import Quality
from stream.clock import FastClock, SystemClock
from stream.sources import opcua_session
from stream.sources.opcua import OpcuaSource, UaTag

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make(server, *tags: UaTag | str, **changes) -> OpcuaSource:
    settings = {
        "name": "plc",
        "endpoint": server.endpoint,
        "namespace": server.namespace,
        "tags": [tag if isinstance(tag, UaTag) else UaTag(tag=tag, node=f"s={tag}") for tag in tags or ("x/a",)],
        "publishing_interval_s": 0.05,
        "sampling_interval_s": 0.05,
        "queue_size": 10,
        "silent_after_s": 60.0,
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
        await intake.until(lambda: intake.statuses)
        yield task
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


def last(intake, tag: str):
    return next((sample for sample in reversed(intake.samples) if sample.tag == tag), None)


async def test_qualities_times_and_nonsense_of_one_server(ua_server, intake):
    tags = [f"x/{name}" for name in ("good", "uncertain", "bad", "text", "nan", "flag", "int", "timeless", "server")]
    ua_server.start(*(f"--node={tag}" for tag in tags))
    async with running(make(ua_server, *tags), intake):
        # Values before any is written are Bad, and named so.
        await intake.until(lambda: len(intake.samples) == len(tags))
        assert {sample.reason for sample in intake.samples} == {"BadWaitingForInitialData"}
        told = {"source": AT.isoformat(), "type": "Double", "value": 5.25}
        ua_server.tell(write="x/good", **told)
        ua_server.tell(write="x/uncertain", **told, status="UncertainLastUsableValue")
        ua_server.tell(write="x/bad", source=AT.isoformat(), status="BadSensorFailure")
        ua_server.tell(write="x/text", value="5.25", type="String")
        ua_server.tell(write="x/nan", value=float("nan"), type="Double")
        ua_server.tell(write="x/flag", value=True, type="Boolean")
        ua_server.tell(write="x/int", value=-3, type="Int16", source=AT.isoformat())
        ua_server.tell(write="x/timeless", value=1.0, type="Double")
        ua_server.tell(write="x/server", value=2.0, type="Double", server=AT.isoformat())
        await intake.until(lambda: len(intake.samples) == 2 * len(tags) - 3 and len(intake.rejections) == 3)
    good, uncertain, bad, number = (last(intake, f"x/{name}") for name in ("good", "uncertain", "bad", "int"))
    assert (good.value, good.quality, good.reason, good.source_at) == (5.25, Quality.GOOD, "", AT)
    assert (uncertain.value, uncertain.quality) == (5.25, Quality.UNCERTAIN)
    assert uncertain.reason == "UncertainLastUsableValue"
    assert (bad.value, bad.quality, bad.reason, bad.source_at) == (None, Quality.BAD, "BadSensorFailure", AT)
    assert (number.value, number.source_at) == (-3.0, AT)
    timeless = last(intake, "x/timeless")
    assert timeless.source_at == timeless.arrived_at
    assert abs(timeless.arrived_at - datetime.now(UTC)) < timedelta(seconds=10)
    assert last(intake, "x/server").source_at == AT
    rejected = {(rejection.tag, rejection.reason) for rejection in intake.rejections}
    assert rejected == {("x/text", "not_a_number"), ("x/nan", "not_finite"), ("x/flag", "not_a_number")}


async def test_nothing_is_ever_written_or_called(ua_server, intake):
    ua_server.start("--node=x/a")
    source = make(ua_server, silent_after_s=0.5)
    async with running(source, intake):
        ua_server.tell(write="x/a", value=1.0, type="Double")
        await intake.until(lambda: 1.0 in intake.values)
        await asyncio.sleep(1.5)  # a few rounds of the watch, with the values asked for
    assert await source.probe() == []
    assert ua_server.tell()["writes"] == 0


async def test_a_missing_node_is_named_stops_no_other_and_is_picked_up_when_it_appears(ua_server, intake, monkeypatch):
    monkeypatch.setattr(opcua_session, "RETRY_S", 0.5)
    monkeypatch.setattr(opcua_session, "CHECK_S", 0.2)
    ua_server.start("--node=x/a")
    wrong = UaTag(tag="x/wrong", node="ns=2;s=x/a")
    async with running(make(ua_server, "x/a", "x/late", wrong), intake):
        status = intake.statuses[-1]
        assert not status.ok
        assert "x/late (s=x/late): BadNodeIdUnknown" in status.detail
        assert "x/wrong (ns=2;s=x/a): expected nsu=URI" in status.detail
        assert "x/a (" not in status.detail
        ua_server.tell(write="x/a", value=1.0, type="Double")
        await intake.until(lambda: 1.0 in intake.values)
        ua_server.tell(add="x/late")
        ua_server.tell(write="x/late", value=2.0, type="Double")
        await intake.until(lambda: 2.0 in intake.values)
        await intake.until(lambda: "x/late" not in intake.statuses[-1].detail)
        ua_server.tell(write="x/a", value=3.0, type="Double")
        await intake.until(lambda: 3.0 in intake.values)
    # It came without a new connection: the others kept their subscription.
    assert [sample.value for sample in intake.samples if sample.tag == "x/a" and sample.value] == [1.0, 3.0]


async def test_a_node_that_changes_its_type_is_followed_as_long_as_it_holds_numbers(ua_server, intake):
    ua_server.start("--node=x/a", "--node=x/b")
    async with running(make(ua_server, "x/a", "x/b"), intake):
        for value, kind in ((1.0, "Double"), (3, "Int32"), (4.5, "Float"), (6, "UInt16")):
            ua_server.tell(write="x/a", value=value, type=kind)
            await intake.until(lambda value=value: value in intake.values)
        ua_server.tell(write="x/a", value="warm", type="String")
        await intake.until(lambda: intake.rejections)
        ua_server.tell(write="x/b", value=7.0, type="Double")
        await intake.until(lambda: 7.0 in intake.values)
        ua_server.tell(write="x/a", value=8.0, type="Double")
        await intake.until(lambda: 8.0 in intake.values)
    followed = [sample.value for sample in intake.samples if sample.tag == "x/a" and sample.value]
    assert followed == [1.0, 3.0, 4.5, 6.0, 8.0]
    assert {(one.tag, one.reason) for one in intake.rejections} == {("x/a", "not_a_number")}
    assert [status.ok for status in intake.statuses] == [True]


async def test_two_tags_of_one_node_keep_their_own_deadbands(ua_server, intake):
    ua_server.start("--node=x/a")
    ua_server.tell(write="x/a", value=1.0, type="Double")
    fine, coarse = UaTag(tag="x/fine", node="s=x/a"), UaTag(tag="x/coarse", node="s=x/a", deadband=0.5)
    async with running(make(ua_server, fine, coarse), intake):
        for value in (1.1, 1.2, 2.0):
            ua_server.tell(write="x/a", value=value, type="Double")
        await intake.until(lambda: sum(sample.value == 2.0 for sample in intake.samples) == 2)
    values = {tag: [s.value for s in intake.samples if s.tag == tag and s.value] for tag in ("x/fine", "x/coarse")}
    assert values == {"x/fine": [1.0, 1.1, 1.2, 2.0], "x/coarse": [1.0, 2.0]}
    assert intake.rejections == []


async def test_a_server_that_takes_no_deadband_is_followed_without_and_that_is_said(ua_server, intake):
    ua_server.start("--node=x/a", "--node=x/b", "--no-filter")
    async with running(make(ua_server, UaTag(tag="x/a", node="s=x/a", deadband=0.5), "x/b"), intake):
        ua_server.tell(write="x/a", value=1.0, type="Double")
        ua_server.tell(write="x/a", value=1.1, type="Double")
        await intake.until(lambda: 1.1 in intake.values)
    (status,) = intake.statuses
    assert status.ok
    assert status.detail.endswith("it takes no deadband for x/a")


async def test_a_queue_that_ran_over_at_the_server_is_reported_with_the_tag(ua_server, intake):
    ua_server.start("--node=x/a", "--node=x/b")
    async with running(make(ua_server, "x/a", "x/b", silent_after_s=0.4), intake):
        ua_server.tell(write="x/a", value=1.0, type="Double", status=0x480)
        await intake.until(lambda: not intake.statuses[-1].ok)
    detail = intake.statuses[-1].detail
    assert "values are lost" in detail
    assert "x/a (1 times)" in detail
    assert "x/b" not in detail
    assert "queue_size" in detail
    assert last(intake, "x/a").quality is Quality.GOOD


async def test_a_namespace_of_its_own_may_stand_before_a_node(ua_server, intake):
    ua_server.start("--node=x/a", "--shift=1", "--decoy=x/a")
    other = UaTag(tag="x/other", node="nsu=urn:newcomer:0;s=x/a")
    async with running(make(ua_server, other), intake):
        await intake.until(lambda: intake.samples)
    assert intake.values == [-1.0]


async def test_intervals_pass_faster_on_a_fast_clock(ua_server, intake):
    ua_server.start("--node=x/a")
    clock = FastClock(origin=AT, origin_unix_s=datetime.now(UTC).timestamp(), speed=100.0)
    slow = make(ua_server, publishing_interval_s=10.0, sampling_interval_s=10.0, clock=clock)
    async with running(slow, intake):
        ua_server.tell(write="x/a", value=1.0, type="Double")
        await intake.until(lambda: 1.0 in intake.values, 2.0)
    assert AT < intake.samples[-1].arrived_at < AT + timedelta(hours=1)


async def test_a_standing_plant_is_asked_and_not_left(ua_server, intake, monkeypatch):
    monkeypatch.setattr(opcua_session, "CHECK_S", 0.1)
    ua_server.start("--node=x/a")
    ua_server.tell(write="x/a", value=1.0, type="Double")
    async with running(make(ua_server, silent_after_s=0.3), intake):
        await intake.until(lambda: intake.samples)
        await asyncio.sleep(2.0)
        ua_server.tell(write="x/a", value=2.0, type="Double")
        await intake.until(lambda: len(intake.samples) == 2)
    assert intake.values == [1.0, 2.0]  # a new connection would have brought 1.0 again
    assert [status.ok for status in intake.statuses] == [True]


async def test_a_subscription_that_went_dead_without_a_word_is_made_anew(ua_server, intake, monkeypatch):
    monkeypatch.setattr(opcua_session, "CHECK_S", 0.2)
    ua_server.start("--node=x/a")
    async with running(make(ua_server, silent_after_s=0.5), intake):
        ua_server.tell(write="x/a", value=1.0, type="Double")
        await intake.until(lambda: 1.0 in intake.values)
        ua_server.tell(forget=True)
        ua_server.tell(write="x/a", value=2.0, type="Double")
        await intake.until(lambda: 2.0 in intake.values, 8)
    assert any("has reported none" in status.detail for status in intake.statuses if not status.ok)
    assert intake.statuses[-1].ok


async def test_a_server_that_publishes_slower_than_asked_is_not_taken_for_dead(ua_server, intake, monkeypatch):
    monkeypatch.setattr(opcua_session, "CHECK_S", 0.2)
    ua_server.start("--node=x/a", "--slowest=2")
    ua_server.tell(write="x/a", value=1.0, type="Double")
    async with running(make(ua_server, silent_after_s=0.5), intake):
        await intake.until(lambda: 1.0 in intake.values)
        await asyncio.sleep(0.6)  # past the silence, right after a publication
        ua_server.tell(write="x/a", value=2.0, type="Double")
        await intake.until(lambda: 2.0 in intake.values, 5)
    assert intake.values == [1.0, 2.0]  # a new connection would have brought 1.0 or 2.0 again
    assert [status.ok for status in intake.statuses] == [True]


async def test_a_server_that_takes_few_nodes_in_a_request_is_asked_for_few(ua_server, intake):
    tags = [f"x/{n}" for n in range(8)]
    ua_server.start(*(f"--node={tag}" for tag in tags), "--most=3")
    for tag in tags:
        ua_server.tell(write=tag, value=1.0, type="Double")
    source = make(ua_server, *tags, silent_after_s=0.3)
    async with running(source, intake):
        await intake.until(lambda: {sample.tag for sample in intake.samples} == set(tags))
        await asyncio.sleep(1.0)  # a few rounds of the watch, with the values asked for
    assert [status.ok for status in intake.statuses] == [True]
    assert await source.probe() == []


async def test_a_server_is_not_left_with_our_sessions_for_long_should_we_die(ua_server, intake):
    ua_server.start("--node=x/a")
    async with running(make(ua_server), intake):
        await intake.until(lambda: intake.samples)
        (session_s,), (subscription_s,) = (ua_server.tell()["keeps"][kind] for kind in ("sessions", "subscriptions"))
    # Longer than we wait for it over a cut of the network, and no longer than some minutes.
    for kept_s in (session_s, subscription_s):
        assert opcua_session.AWAY_S < kept_s <= 5 * 60
    assert ua_server.tell()["keeps"] == {"sessions": [], "subscriptions": []}


async def test_a_peer_that_talks_nonsense_is_survived_and_named(intake):
    async def nonsense(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    class Peer:
        endpoint, namespace = f"opc.tcp://127.0.0.1:{port}/", "urn:plant"

    async with server, running(make(Peer), intake):
        pass
    assert not intake.statuses[0].ok
    assert f"127.0.0.1:{port}" in intake.statuses[0].detail


def test_a_password_without_security_is_refused(ua_server):
    with pytest.raises(ValueError, match="never sent unencrypted"):
        make(ua_server, username="givre", password="secret")


async def test_the_probe_names_each_tag_that_cannot_be_had(ua_server):
    ua_server.start("--node=x/a", "--node=x/text")
    ua_server.tell(write="x/text", value="off", type="String")
    tags = ("x/a", "x/none", "x/text", UaTag(tag="x/wrong", node="flow"))
    sentences = await make(ua_server, *tags).probe()
    assert [sentence.split(":")[0] for sentence in sentences] == ["tag x/none", "tag x/text", "tag x/wrong"]
    assert "BadNodeIdUnknown" in sentences[0]
    assert "expected a number, found String: 'off'" in sentences[1]
    assert "expected s=NAME" in sentences[2]
    assert all("correct `node`" in sentence for sentence in sentences)


async def test_the_probe_names_the_namespaces_that_are_there(ua_server):
    ua_server.start("--node=x/a", "--namespace=urn:renamed")
    (sentence,) = await make(ua_server).probe()
    assert "namespace 'urn:plant' is not at" in sentence
    assert "'urn:renamed'" in sentence
    assert "correct `namespace`" in sentence


async def test_the_probe_says_that_nobody_listens(ua_server):
    (sentence,) = await make(ua_server).probe()
    assert sentence == f"nobody listens at {ua_server.endpoint}: is the server running, and the port right?"


async def test_the_probe_waits_for_a_silent_peer_five_seconds_at_most():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        class Peer:
            endpoint, namespace = f"opc.tcp://127.0.0.1:{silent.getsockname()[1]}/", "urn:plant"

        began = asyncio.get_running_loop().time()
        (sentence,) = await make(Peer).probe()
    assert asyncio.get_running_loop().time() - began < 6
    assert "does not answer" in sentence


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("opc.tcp://plc.local/path", "opc.tcp://plc.local:4840/path"),
        ("opc.tcp://plc.local:4841", "opc.tcp://plc.local:4841"),
        ("opc.tcp://[::1]/path", "opc.tcp://[::1]:4840/path"),
    ],
)
async def test_an_endpoint_without_a_port_means_the_standards_own(endpoint, expected):
    class Peer:
        namespace = "urn:plant"

    Peer.endpoint = endpoint
    assert make(Peer)._plan.endpoint == expected

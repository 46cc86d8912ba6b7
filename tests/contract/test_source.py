"""What every source promises (`stream.sources.source.Source`), asked of each one with its real server behind it.

A new source brings a rig: a fixture ``NAME_rig`` that yields what `Rig` describes, and its name in `SOURCES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import aiomqtt
import pytest

from detectors.records import Quality
from stream.clock import SystemClock
from stream.sources.mqtt import MqttSource, MqttTag
from stream.sources.opcua import OpcuaSource, UaTag

if TYPE_CHECKING:
    from stream.sources.source import Source

SOURCES = ["mqtt", "opcua"]
BACK_S = 20.0  # within which a source follows again after its server is back


class Rig(Protocol):
    """A source of two tags, ``x/a`` and ``x/b``, and the server behind it."""

    source: Source

    async def say(self, tag: str, value: float, at: datetime) -> None:
        """Lets the server report a good value."""

    async def say_bad(self, tag: str, at: datetime) -> None:
        """Lets the server report that it has no value to trust."""

    async def say_nonsense(self, tag: str, at: datetime) -> None:
        """Lets the server report what is no finite number."""

    async def stop(self) -> None: ...
    async def start(self) -> None: ...
    async def freeze(self) -> None: ...
    async def thaw(self) -> None: ...


class MqttRig:
    def __init__(self, mosquitto) -> None:
        self._mosquitto = mosquitto
        paths = {"value": "$.value", "time": "$.time", "quality": "$.quality"}
        self.source = MqttSource(
            name="plant",
            host=mosquitto.host,
            port=mosquitto.port,
            protocol="5",
            client_id="givre-in",
            keepalive_s=2,
            tls=None,
            username=None,
            password=None,
            tags=[MqttTag(tag=tag, topic=f"plant/{tag}", **paths) for tag in ("x/a", "x/b")],
            status_topic="givre/demo/source/plant",
            clock=SystemClock(),
        )

    async def say(self, tag: str, value: float, at: datetime) -> None:
        await self._publish(tag, {"value": value, "time": at.isoformat(), "quality": "good"})

    async def say_bad(self, tag: str, at: datetime) -> None:
        await self._publish(tag, {"value": None, "time": at.isoformat(), "quality": "bad"})

    async def say_nonsense(self, tag: str, at: datetime) -> None:
        await self._publish(tag, {"value": float("nan"), "time": at.isoformat(), "quality": "good"})

    async def _publish(self, tag: str, message: dict) -> None:
        async with aiomqtt.Client(self._mosquitto.host, self._mosquitto.port, identifier="plant") as client:
            await client.publish(f"plant/{tag}", json.dumps(message), qos=1)

    async def stop(self) -> None:
        await asyncio.to_thread(self._mosquitto.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self._mosquitto.start)

    async def freeze(self) -> None:
        self._mosquitto.send(signal.SIGSTOP)

    async def thaw(self) -> None:
        self._mosquitto.send(signal.SIGCONT)


@pytest.fixture
def mqtt_rig(mosquitto) -> Rig:
    return MqttRig(mosquitto)


class OpcuaRig:
    def __init__(self, server) -> None:
        self._server = server
        self.source = OpcuaSource(
            name="plant",
            endpoint=server.endpoint,
            namespace=server.namespace,
            tags=[UaTag(tag=tag, node=f"s={tag}") for tag in ("x/a", "x/b")],
            publishing_interval_s=0.05,
            sampling_interval_s=0.05,
            queue_size=10,
            silent_after_s=2.0,
            security=None,
            username=None,
            password=None,
            clock=SystemClock(),
            trigger="timestamp",
        )

    async def say(self, tag: str, value: float, at: datetime) -> None:
        await self._write(tag, at, value=value, type="Double")

    async def say_bad(self, tag: str, at: datetime) -> None:
        await self._write(tag, at, status="BadSensorFailure")

    async def say_nonsense(self, tag: str, at: datetime) -> None:
        await self._write(tag, at, value=float("nan"), type="Double")

    async def _write(self, tag: str, at: datetime, **order) -> None:
        await asyncio.to_thread(self._server.tell, write=tag, source=at.isoformat(), **order)

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def freeze(self) -> None:
        self._server.send(signal.SIGSTOP)

    async def thaw(self) -> None:
        self._server.send(signal.SIGCONT)


@pytest.fixture
def opcua_rig(ua_server) -> Rig:
    ua_server.start()
    return OpcuaRig(ua_server)


@pytest.fixture(params=SOURCES)
def rig(request) -> Rig:
    return request.getfixturevalue(f"{request.param}_rig")


@contextlib.asynccontextmanager
async def running(rig, intake):
    task = asyncio.create_task(rig.source.run(intake))
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def heard(rig, intake, tag: str, value: float, at: datetime) -> None:
    """Says a value until it is heard: what is said while nobody follows need not be."""
    for _ in range(int(BACK_S / 0.5)):
        await rig.say(tag, value, at)
        with contextlib.suppress(pytest.fail.Exception):
            await intake.until(lambda: any((s.tag, s.value) == (tag, value) for s in intake.samples), 0.5)
            return
    pytest.fail(f"{tag} = {value} is never heard: {intake.statuses}")


def moment(seconds: float = 0) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


async def test_it_has_a_name_and_reports_under_it(rig, intake):
    async with running(rig, intake):
        await intake.until(lambda: any(s.ok for s in intake.statuses))
    assert {s.subject for s in intake.statuses} == {f"source.{rig.source.name}"}


async def test_a_value_comes_with_the_time_of_its_source_in_utc(rig, intake):
    at = moment(-30)
    async with running(rig, intake):
        await heard(rig, intake, "x/a", 5.25, at)
    sample = next(s for s in intake.samples if s.value == 5.25)
    assert sample.tag == "x/a"
    assert sample.quality is Quality.GOOD
    assert abs(sample.source_at - at) < timedelta(milliseconds=1)
    assert sample.source_at.tzinfo is UTC
    assert sample.arrived_at.tzinfo is UTC
    assert abs(sample.arrived_at - datetime.now(UTC)) < timedelta(seconds=30)


async def test_a_bad_value_is_a_sample_without_a_value(rig, intake):
    async with running(rig, intake):
        await heard(rig, intake, "x/a", 1.0, moment())
        await rig.say_bad("x/a", moment(1))
        await intake.until(lambda: intake.samples[-1].quality is Quality.BAD)
    assert intake.samples[-1].value is None
    assert intake.samples[-1].reason


async def test_nonsense_is_rejected_and_the_next_value_comes(rig, intake):
    async with running(rig, intake):
        await heard(rig, intake, "x/a", 1.0, moment())
        await rig.say_nonsense("x/a", moment(1))
        await intake.until(lambda: intake.rejections)
        await heard(rig, intake, "x/a", 2.0, moment(2))
    (rejection,) = intake.rejections
    assert (rejection.source, rejection.tag, rejection.reason) == (rig.source.name, "x/a", "not_finite")


async def test_nonsense_on_one_tag_does_not_stop_another(rig, intake):
    async with running(rig, intake):
        await heard(rig, intake, "x/a", 1.0, moment())
        await rig.say_nonsense("x/a", moment(1))
        await heard(rig, intake, "x/b", 2.0, moment(2))


async def test_a_server_that_is_away_at_the_start_is_reported_and_followed_when_it_comes(rig, intake):
    await rig.stop()
    async with running(rig, intake):
        await intake.until(lambda: intake.statuses)
        assert not intake.statuses[0].ok
        assert intake.statuses[0].detail
        await rig.start()
        await heard(rig, intake, "x/a", 1.0, moment())
    assert intake.statuses[-1].ok


async def test_a_server_that_goes_is_reported_and_followed_when_it_is_back(rig, intake):
    async with running(rig, intake):
        await heard(rig, intake, "x/a", 1.0, moment())
        await rig.stop()
        await intake.until(lambda: not intake.statuses[-1].ok)
        await rig.start()
        await heard(rig, intake, "x/a", 2.0, moment(1))
        await heard(rig, intake, "x/b", 3.0, moment(2))
    assert intake.statuses[-1].ok


async def test_a_server_that_freezes_is_reported_and_followed_when_it_thaws(rig, intake):
    async with running(rig, intake):
        await heard(rig, intake, "x/a", 1.0, moment())
        await rig.freeze()
        try:
            await intake.until(lambda: not intake.statuses[-1].ok, 30)
        finally:
            await rig.thaw()
        await heard(rig, intake, "x/a", 2.0, moment(1))


@pytest.mark.parametrize("away", [False, True], ids=["connected", "away"])
async def test_a_cancelled_run_releases_everything_and_is_cancelled(rig, intake, away):
    if away:
        await rig.stop()
    before = asyncio.all_tasks()
    task = asyncio.create_task(rig.source.run(intake))
    await intake.until(lambda: intake.statuses)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()
    assert asyncio.all_tasks() - before == set()


async def test_the_probe_is_content_with_a_server_and_says_when_there_is_none(rig):
    assert await rig.source.probe() == []
    await rig.stop()
    sentences = await rig.source.probe()
    assert sentences
    assert all(sentences)

"""The topic that commands come in by: nothing is acknowledged before it is on disk, and the topic is listened to for ever."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest

from stream.clock import SystemClock
from stream.command import CommandError, parse
from stream.command_topic import LONGEST_BYTES, PER_S, CommandTopic
from stream.mqtt.address import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detectors.records import Status

TOPIC = "givre/demo/command"


class Desk:
    """Keeps what is handed in; while it is `shut`, it takes its time."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.refused: list[tuple[str, bool]] = []
        self.statuses: list[Status] = []
        self.open = asyncio.Event()
        self.open.set()

    async def post(self, text: str) -> None:
        await self.open.wait()
        self.posted.append(text)

    def refuse(self, error: CommandError, *, via: str, said_before: bool = False) -> None:
        assert via == "alerts"
        self.refused.append((str(error), said_before))

    def report(self, status: Status) -> None:
        self.statuses.append(status)

    @property
    def ids(self) -> list[str]:
        return [parse(text).id for text in self.posted]


def topic_of(mosquitto: Any) -> CommandTopic:
    address = Address(
        host=mosquitto.host,
        port=mosquitto.port,
        protocol="5",
        client_id="givre-out-commands",
        keepalive_s=30,
        tls=None,
        username=None,
        password=None,
    )
    return CommandTopic(name="alerts", address=address, topic=TOPIC, max_age_s=60, clock=SystemClock())


@contextlib.asynccontextmanager
async def listening(mosquitto: Any, desk: Desk) -> AsyncIterator[None]:
    heard = len(desk.statuses)
    task = asyncio.create_task(topic_of(mosquitto).run(desk))
    try:
        await until(lambda: any(status.ok for status in desk.statuses[heard:]))
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Any, limit_s: float = 10) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.01)


def send(mosquitto: Any, *payloads: bytes, qos: int = 1, retain: bool = False) -> None:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect(mosquitto.host, mosquitto.port)
    client.loop_start()
    for payload in payloads:
        client.publish(TOPIC, payload, qos=qos, retain=retain).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


def command(name: str, **changes: Any) -> bytes:
    fields = {"id": name, "at": datetime.now(UTC).isoformat(), "command": "acknowledge", "alarm": "a/b/c", "by": "ana"}
    return json.dumps(fields | changes).encode()


async def test_a_command_is_handed_in_with_the_way_it_came_and_its_age_limit(mosquitto: Any) -> None:
    desk = Desk()
    async with listening(mosquitto, desk):
        await asyncio.to_thread(send, mosquitto, command("k-1"))
        await until(lambda: desk.posted)
    taken = parse(desk.posted[0])
    assert (taken.id, taken.via, taken.max_age_s) == ("k-1", "alerts", 60)
    assert [status.subject for status in desk.statuses] == ["commands.alerts"]


async def test_what_was_not_on_disk_when_the_service_died_comes_again(mosquitto: Any) -> None:
    desk = Desk()
    async with listening(mosquitto, desk):
        desk.open.clear()
        await asyncio.to_thread(send, mosquitto, command("k-1"), command("k-2"))
    assert desk.posted == []
    desk.open.set()
    async with listening(mosquitto, desk):
        await until(lambda: len(desk.posted) == 2)
    assert desk.ids == ["k-1", "k-2"]


async def test_it_listens_again_when_the_broker_is_back(mosquitto: Any) -> None:
    desk = Desk()
    async with listening(mosquitto, desk):
        mosquitto.kill()
        await until(lambda: not desk.statuses[-1].ok)
        mosquitto.start()
        await until(lambda: desk.statuses[-1].ok)
        await asyncio.to_thread(send, mosquitto, command("k-1"))
        await until(lambda: desk.posted)


async def test_what_is_no_command_is_refused_at_the_door(mosquitto: Any) -> None:
    desk = Desk()
    await asyncio.to_thread(send, mosquitto, command("kept"), retain=True)
    async with listening(mosquitto, desk):
        await until(lambda: desk.refused)
        wrong = [b"ack", b"x" * (LONGEST_BYTES + 1), command("", id=""), command("k", at=None), command("k", via="me")]
        await asyncio.to_thread(send, mosquitto, *wrong)
        await until(lambda: len(desk.refused) == 6)
    assert desk.posted == []
    assert desk.refused[0] == (
        "expected a command that is not retained; send it without, and clear the topic",
        True,
    )
    for (said, before), words in zip(
        desk.refused[1:],
        ("as a JSON object", "at most 4096 bytes, found 4097", "id: expected", "at: expected", "Givre's own"),
        strict=True,
    ):
        assert words in said
        assert not before


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_sender_gone_mad_is_read_no_faster_than_the_limit(mosquitto: Any, qos: int) -> None:
    desk = Desk()
    async with listening(mosquitto, desk):
        began = time.monotonic()
        await asyncio.to_thread(send, mosquitto, *(command(f"k-{i}") for i in range(300)), qos=qos)
        await until(lambda: len(desk.posted) >= PER_S // 2)
        passed_s = time.monotonic() - began
        assert len(desk.posted) <= PER_S * passed_s + 2


async def test_the_probe_says_what_is_in_the_way(mosquitto: Any) -> None:
    assert await topic_of(mosquitto).probe() == []
    mosquitto.stop()
    (said,) = await topic_of(mosquitto).probe()
    assert str(mosquitto.port) in said

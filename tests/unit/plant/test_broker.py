"""The embedded broker, met by real clients."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from plant.broker import EmbeddedBroker, payload
from plant.sensor import Reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LIMIT_S = 5.0


@pytest.fixture
async def broker(free_port: int) -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(host="127.0.0.1", port=free_port)
    await broker.start()
    yield broker
    await broker.stop()


class Client:
    """A paho client that keeps what it gets."""

    def __init__(
        self, name: str, *, clean: bool = True, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311
    ) -> None:
        clean_session = None if protocol is MQTTProtocolVersion.MQTTv5 else clean
        self._mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=protocol, clean_session=clean_session)
        self._mqtt.on_message = lambda _c, _u, message: self.got.append(message)
        self._mqtt.on_connect = lambda _c, _u, _f, reason, _p: self.connected.append(str(reason))
        self._mqtt.on_subscribe = lambda _c, _u, _m, reasons, _p: self.granted.extend(r.value for r in reasons)
        self._mqtt.on_publish = lambda _c, _u, mid, _r, _p: self.published.append(mid)
        self.got: list[mqtt.MQTTMessage] = []
        self.connected: list[str] = []
        self.granted: list[int] = []
        self.published: list[int] = []

    async def connect(self, address: str) -> None:
        before = len(self.connected)
        await asyncio.to_thread(self._mqtt.connect, "127.0.0.1", int(address.rpartition(":")[2]))
        self._mqtt.loop_start()
        await until(lambda: len(self.connected) > before)

    async def subscribe(self, topic: str) -> None:
        self._mqtt.subscribe(topic, qos=1)
        await until(lambda: bool(self.granted))

    async def publish(self, topic: str, data: str, *, retain: bool = False) -> None:
        before = len(self.published)
        self._mqtt.publish(topic, data, qos=1, retain=retain)
        await until(lambda: len(self.published) > before)

    async def leave(self) -> None:
        self._mqtt.disconnect()
        await asyncio.to_thread(self._mqtt.loop_stop)

    def heard(self) -> list[tuple[str, bytes, bool]]:
        return [(message.topic, bytes(message.payload), message.retain) for message in self.got]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_payload_says_value_time_and_quality_and_a_bad_one_why() -> None:
    assert json.loads(payload(Reading(tag="flow", value=131.2), AT)) == {
        "value": 131.2,
        "time": "2026-01-05T12:00:00.000Z",
        "quality": "good",
    }
    assert json.loads(payload(Reading(tag="flow", value=None, reason="BadSensorFailure"), AT)) == {
        "value": None,
        "time": "2026-01-05T12:00:00.000Z",
        "quality": "bad",
        "reason": "BadSensorFailure",
    }


async def test_a_subscriber_gets_reports_with_quality_of_service_1(broker: EmbeddedBroker) -> None:
    client = Client("reader")
    await client.connect(broker.address)
    await client.subscribe("plant/exchanger/+")
    await broker.report(Reading(tag="flow", value=131.2), AT)
    await until(lambda: bool(client.got))
    assert client.granted == [1]
    assert client.got[0].topic == "plant/exchanger/flow"
    assert client.got[0].qos == 1
    assert client.got[0].retain is False
    await client.leave()


async def test_a_persistent_session_gets_what_it_missed_in_order_and_not_as_retained(broker: EmbeddedBroker) -> None:
    client = Client("givre", clean=False)
    await client.connect(broker.address)
    await client.subscribe("plant/#")
    await client.leave()
    await asyncio.sleep(1.5)  # amqtt looks once a second for sessions to forget
    for value in range(20):
        await broker.report(Reading(tag="flow", value=float(value)), AT)
    session, _ = broker._broker.sessions["givre"]
    await until(lambda: session.retained_messages_count == 20)
    again = Client("givre", clean=False)
    await again.connect(broker.address)
    await until(lambda: len(again.got) == 20)
    assert [json.loads(message.payload)["value"] for message in again.got] == list(range(20))
    assert not any(message.retain for message in again.got)
    await again.leave()


async def test_retained_alerts_reach_late_subscribers_and_nobody_else(broker: EmbeddedBroker) -> None:
    givre, early, reader, late = Client("givre"), Client("early"), Client("reader"), Client("late")
    await early.connect(broker.address)
    await early.subscribe("givre/#")
    await givre.connect(broker.address)
    topic = "givre/demo/exchanger/flow/alarm/deviation"
    await givre.publish(topic, "up", retain=True)
    await until(lambda: bool(early.got))
    await reader.connect(broker.address)
    await reader.subscribe("plant/#")
    await late.connect(broker.address)
    await late.subscribe("givre/#")
    await until(lambda: bool(late.got))
    await broker.report(Reading(tag="flow", value=1.0), AT)
    await until(lambda: bool(reader.got))
    assert early.heard() == [(topic, b"up", False)]
    assert late.heard() == [(topic, b"up", True)]
    assert [message.topic for message in reader.got] == ["plant/exchanger/flow"]
    for client in (givre, early, reader, late):
        await client.leave()


async def test_an_empty_retained_message_takes_the_last_one_away(broker: EmbeddedBroker) -> None:
    givre, late = Client("givre"), Client("late")
    await givre.connect(broker.address)
    await givre.publish("givre/a", "up", retain=True)
    await givre.publish("givre/a", "", retain=True)
    await givre.publish("givre/b", "up", retain=True)
    await late.connect(broker.address)
    await late.subscribe("givre/#")
    await until(lambda: bool(late.got))
    assert late.heard() == [("givre/b", b"up", True)]
    for client in (givre, late):
        await client.leave()


async def test_a_client_of_mqtt_5_is_told_that_it_is_not_spoken(broker: EmbeddedBroker) -> None:
    client = Client("five", protocol=MQTTProtocolVersion.MQTTv5)
    await client.connect(broker.address)
    assert client.connected[0] == "Unsupported protocol version"
    await client.leave()


async def test_a_port_in_use_is_an_oserror(broker: EmbeddedBroker) -> None:
    with pytest.raises(OSError, match="already in use"):
        await EmbeddedBroker(host="127.0.0.1", port=int(broker.address.rpartition(":")[2])).start()

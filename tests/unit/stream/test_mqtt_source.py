"""MQTT source on a real broker: what becomes a sample, what is refused, and what the broker is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime

import aiomqtt
import pytest

from detectors.records import Quality
from stream.clock import SystemClock
from stream.sources import mqtt
from stream.sources.mqtt import MqttSource, MqttTag

PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])
FULL = {"value": "$.value", "time": "$.time", "quality": "$.quality"}


def make(mosquitto, *tags: MqttTag, **changes) -> MqttSource:
    settings = {
        "name": "plc",
        "host": mosquitto.host,
        "port": mosquitto.port,
        "protocol": "5",
        "client_id": "givre-in",
        "keepalive_s": 30,
        "tls": None,
        "username": None,
        "password": None,
        "tags": tags,
        "status_topic": "givre/demo/source/plc",
        "clock": SystemClock(),
    }
    return MqttSource(**settings | changes)


@contextlib.asynccontextmanager
async def running(source, intake):
    task = asyncio.create_task(source.run(intake))
    try:
        await intake.until(lambda: task.done() or any(s.ok for s in intake.statuses))
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def plant(mosquitto):
    """A publisher that is no code of ours."""
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, identifier="plant") as client:
        yield client


@PROTOCOLS
async def test_a_message_becomes_a_sample_with_its_own_time_and_quality(mosquitto, plant, intake, protocol):
    source = make(mosquitto, MqttTag(tag="x/power", topic="plant/power", **FULL), protocol=protocol)
    before = datetime.now(UTC)
    async with running(source, intake):
        await plant.publish("plant/power", '{"value": 41.5, "time": "2026-01-02T03:04:05Z", "quality": "good"}', qos=1)
        await plant.publish("plant/power", '{"value": 0, "time": "2026-01-02T03:04:06Z", "quality": 24}', qos=1)
        await intake.until(lambda: len(intake.samples) == 2)
    good, bad = intake.samples
    assert (good.tag, good.value, good.quality) == ("x/power", 41.5, Quality.GOOD)
    assert good.source_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert before <= good.arrived_at <= datetime.now(UTC)
    assert (bad.value, bad.quality, bad.reason) == (None, Quality.BAD, "communication_failure")


async def test_a_plain_number_has_the_time_of_its_arrival(mosquitto, plant, intake):
    async with running(make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow")), intake):
        await plant.publish("plant/flow", "12.5", qos=0)
        await intake.until(lambda: intake.samples)
    assert intake.values == [12.5]
    assert intake.samples[0].source_at == intake.samples[0].arrived_at


async def test_one_topic_serves_many_tags(mosquitto, plant, intake):
    tags = [MqttTag(tag=f"x/{name}", topic="plant/all", value=f"$.{name}", time="$.t") for name in ("a", "b", "c")]
    async with running(make(mosquitto, *tags), intake):
        await plant.publish("plant/all", '{"t": 1795400000, "a": 1, "b": "2", "c": 3}', qos=1)
        await intake.until(lambda: len(intake.samples) == 2)
    assert {s.tag: s.value for s in intake.samples} == {"x/a": 1.0, "x/c": 3.0}
    assert [(r.tag, r.reason) for r in intake.rejections] == [("x/b", "not_a_number")]


async def test_a_wildcard_serves_its_tag_with_every_topic_it_matches(mosquitto, plant, intake):
    tags = (MqttTag(tag="x/any", topic="hall/+/flow"), MqttTag(tag="x/all", topic="meter/#"))
    async with running(make(mosquitto, *tags), intake):
        for topic, value in (
            ("hall/1/flow", 1),
            ("hall/2/flow", 2),
            ("hall/2/3/flow", 3),
            ("meter/a/b", 4),
            ("meter", 5),
        ):
            await plant.publish(topic, str(value), qos=1)
        await intake.until(lambda: len(intake.samples) == 4)
    assert [(s.tag, s.value) for s in intake.samples] == [("x/any", 1), ("x/any", 2), ("x/all", 4), ("x/all", 5)]


async def test_a_retained_message_without_a_time_is_uncertain_and_one_with_a_time_is_what_it_says(
    mosquitto, plant, intake
):
    await plant.publish("plant/flow", "12.5", qos=1, retain=True)
    await plant.publish(
        "plant/power", '{"value": 7, "time": "2026-01-02T03:04:05Z", "quality": "good"}', 1, retain=True
    )
    tags = (MqttTag(tag="x/flow", topic="plant/flow"), MqttTag(tag="x/power", topic="plant/power", **FULL))
    async with running(make(mosquitto, *tags), intake):
        await intake.until(lambda: len(intake.samples) == 2)
        await plant.publish("plant/flow", "13.5", qos=1, retain=True)  # not from the store: it is new
        await intake.until(lambda: len(intake.samples) == 3)
    by_value = {s.value: s for s in intake.samples}
    assert (by_value[12.5].quality, by_value[12.5].reason) == (Quality.UNCERTAIN, "retained")
    assert by_value[7].quality is Quality.GOOD
    assert by_value[7].source_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert by_value[13.5].quality is Quality.GOOD


async def test_what_is_refused_is_counted_by_tag_and_never_comes_again(mosquitto, plant, intake):
    source = make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow"))
    hostile = [b"", b"NaN", b"1e999", b"five", b"\xff\xfe", b"[" * 5000, b"9" * 100_000, b'{"value": 5}', b"true"]
    intake.withhold = True
    async with running(source, intake):
        for payload in hostile:
            await plant.publish("plant/flow", payload, qos=1)
        await intake.until(lambda: len(intake.rejections) == len(hostile))
    assert {r.tag for r in intake.rejections} == {"x/flow"}
    assert [r.reason for r in intake.rejections] == [
        *("unparsable", "not_finite", "not_finite", "unparsable", "not_utf8"),
        *("unparsable", "too_large", "unparsable", "unparsable"),
    ]
    intake.rejections.clear()
    intake.statuses.clear()
    async with running(source, intake):
        await plant.publish("plant/flow", "5", qos=1)
        await intake.until(lambda: intake.samples)
    assert intake.rejections == []


@PROTOCOLS
async def test_a_message_of_ten_megabytes_harms_nothing(mosquitto, plant, intake, protocol):
    async with running(make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow"), protocol=protocol), intake):
        await plant.publish("plant/flow", b" " * 10_000_000, qos=1)
        await plant.publish("plant/flow", "5", qos=1)
        await intake.until(lambda: intake.samples)
    assert intake.values == [5.0]
    # At MQTT 5 the broker keeps it from us, at 3.1.1 it comes and is refused.
    assert [r.reason for r in intake.rejections] == ([] if protocol == "5" else ["too_large"])
    assert [s.detail for s in intake.statuses] == ["connected"]


@PROTOCOLS
async def test_only_what_was_accepted_is_acknowledged(mosquitto, plant, intake, protocol):
    source = make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow"), protocol=protocol)
    intake.withhold = True
    async with running(source, intake):
        for value in range(5):
            await plant.publish("plant/flow", str(value), qos=1)
            await intake.until(lambda done=value + 1: len(intake.samples) == done)
        for accepted in intake.unaccepted[:2]:
            accepted()
        await plant.publish("plant/flow", "5", qos=1)
        await intake.until(lambda: len(intake.samples) == 6)
    intake.samples.clear()
    intake.statuses.clear()
    for accepted in intake.unaccepted:
        accepted()  # too late: their connection is gone
    intake.withhold = False
    async with running(source, intake):
        await intake.until(lambda: len(intake.samples) == 4)
    assert intake.values == [2, 3, 4, 5]


async def test_what_is_published_while_we_are_away_is_delivered_later(mosquitto, plant, intake):
    source = make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow"))
    async with running(source, intake):
        pass
    for value in range(200):
        await plant.publish("plant/flow", str(value), qos=1)
    intake.statuses.clear()
    async with running(source, intake):
        await intake.until(lambda: len(intake.samples) == 200)
    assert intake.values == list(range(200))


async def test_a_full_intake_holds_the_broker_back_and_loses_nothing(mosquitto, plant, intake, monkeypatch):
    """QoS 0 has no acknowledgement that the broker could wait for: it is TCP that must push back."""
    monkeypatch.setattr("stream.sources.mqtt.WAITING", 50)
    monkeypatch.setattr("stream.sources.mqtt.BATCH", 10)
    door, held = asyncio.Event(), []
    record = intake.deliver

    async def deliver(samples, accepted=None, *, memory):
        held.append(len(samples))
        await door.wait()
        await record(samples, accepted)

    intake.deliver = deliver
    read = 0
    put = mqtt._Inbox.put

    def counting(inbox, message):
        nonlocal read
        read += 1
        put(inbox, message)

    monkeypatch.setattr(mqtt._Inbox, "put", counting)
    async with running(make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow")), intake):
        for value in range(3000):
            await plant.publish("plant/flow", str(value), qos=0)
        await intake.until(lambda: held)
        await asyncio.sleep(0.3)
        assert len(held) == 1
        assert read <= 10 + 50  # in hand, and waiting
        door.set()
        await intake.until(lambda: len(intake.samples) == 3000)
    assert intake.values == list(range(3000))
    assert max(held) <= 10


async def test_a_topic_of_an_earlier_configuration_is_named_once_and_given_up(mosquitto, plant, intake):
    async with running(make(mosquitto, MqttTag(tag="x/old", topic="plant/old")), intake):
        pass
    intake.statuses.clear()
    async with running(make(mosquitto, MqttTag(tag="x/new", topic="plant/new")), intake):
        await plant.publish("plant/old", "1", qos=1)
        await intake.until(lambda: intake.rejections)
        for value in range(20):
            await plant.publish("plant/old", str(value), qos=1)
        await plant.publish("plant/new", "2", qos=1)
        await intake.until(lambda: intake.samples)
    assert [(r.tag, r.reason, r.detail) for r in intake.rejections] == [
        ("", "unknown_topic", "topic 'plant/old' belongs to no tag")
    ]


async def test_its_own_state_is_retained_and_nothing_else_is_published(mosquitto, intake):
    seen: list[tuple[str, dict]] = []
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, identifier="watcher") as watcher:
        await watcher.subscribe("#", qos=1)

        async def watch():
            async for message in watcher.messages:
                seen.append((str(message.topic), json.loads(message.payload)))

        watching = asyncio.create_task(watch())
        async with running(make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow")), intake):
            await intake.until(lambda: seen)
        await intake.until(lambda: len(seen) == 2)
        watching.cancel()
        await asyncio.wait([watching])
    assert {topic for topic, _ in seen} == {"givre/demo/source/plc"}
    assert [(m["schema"], m["subject"], m["ok"], m["detail"]) for _, m in seen] == [
        ("givre.status/1", "plc", True, "connected"),
        ("givre.status/1", "plc", False, "stopped"),
    ]


async def test_an_absent_broker_is_a_status_and_it_is_followed_once_it_is_there(mosquitto, intake):
    mosquitto.stop()
    source = make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow"))
    task = asyncio.create_task(source.run(intake))
    await intake.until(lambda: intake.statuses)
    assert not intake.statuses[0].ok
    assert intake.statuses[0].subject == "source.plc"
    assert "Connection refused" in intake.statuses[0].detail
    mosquitto.start()
    await intake.until(lambda: intake.statuses[-1].ok)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_the_probe_says_what_is_wrong_and_leaves_a_running_source_alone(mosquitto, intake):
    source = make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow"))
    async with running(source, intake):
        assert await source.probe() == []
        assert [s.ok for s in intake.statuses] == [True]
    mosquitto.stop()
    (sentence,) = await source.probe()
    assert "Connection refused" in sentence


@pytest.mark.parametrize("topic", ["", "a+", "a/+b/c", "#/a", "a/#/b", "a#", "a\0b", "x" * 65_536])
def test_a_topic_that_can_never_work_is_refused_when_it_is_configured(mosquitto, topic):
    with pytest.raises(ValueError, match="tag x/flow: topic"):
        make(mosquitto, MqttTag(tag="x/flow", topic=topic))


async def test_what_was_handed_over_when_it_stops_is_acknowledged_and_does_not_come_again(mosquitto, plant, intake):
    """Without a time in its payload a message that came again would be another value."""

    class Slow:
        """Says a moment later that it has saved, as a journal does."""

        def __init__(self) -> None:
            self.statuses, self.samples, self.reject, self.report = [], [], intake.reject, intake.report

        async def deliver(self, samples, accepted=None, *, memory):
            self.samples += samples
            asyncio.get_running_loop().call_later(0.2, accepted)

    source, slow = make(mosquitto, MqttTag(tag="x/flow", topic="plant/flow")), Slow()
    task = asyncio.create_task(source.run(slow))
    await intake.until(lambda: any(s.ok for s in intake.statuses))
    for i in range(50):
        await plant.publish("plant/flow", str(i), qos=1)
    await intake.until(lambda: slow.samples)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    async with running(source, intake):
        await plant.publish("plant/flow", "99", qos=1)
        await intake.until(lambda: intake.values and intake.values[-1] == 99)
    assert [s.value for s in slow.samples] + intake.values == [*range(50), 99]


@PROTOCOLS
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_value_without_a_time_that_is_sent_again_has_the_time_that_it_had(
    mosquitto, plant, intake, protocol, restarted
):
    """By its time the journal knows that it has it: after a cut that swallowed the acknowledgement, and after a kill."""
    tag = MqttTag(tag="x/flow", topic="plant/flow")
    source = make(mosquitto, tag, protocol=protocol)
    intake.withhold = True
    async with running(source, intake):
        for _ in range(5):
            await plant.publish("plant/flow", "12.5", qos=1)  # equal ones: by their content they are not told apart
        await intake.until(lambda: len(intake.samples) == 5)
        first = [sample.source_at for sample in intake.samples]
        again = make(mosquitto, tag, protocol=protocol, receipts=intake.memory) if restarted else source
        intake.samples.clear()
        intake.withhold = False
    async with running(again, intake):
        await plant.publish("plant/flow", "13.5", qos=1)
        await intake.until(lambda: len(intake.samples) == 6)
    assert [sample.source_at for sample in intake.samples[:5]] == first
    assert len(set(first)) == 5
    assert intake.values == [12.5] * 5 + [13.5]

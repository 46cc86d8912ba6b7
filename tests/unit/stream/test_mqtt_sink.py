"""MQTT sink on a real broker: what stands on which topic, in what order, and what happens without a broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomqtt
import pytest

from detectors.facts import Facts, Part
from detectors.records import AlarmState, Alert, Explanation, Priority, Reply, Sample, Status, Verdict
from stream.command import COMMANDS, CommandError, parse
from stream.sinks.mqtt import MqttSink, alert_message, explanation_message, reply_message, status_message
from stream.sinks.sink import SinkUnavailableError

PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])
AT = datetime(2026, 11, 23, 5, 13, 20, tzinfo=UTC)
SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "alert.schema.json").read_text())


def alert(sequence: int = 1, **changes) -> Alert:
    verdict = Verdict(tag="exchanger/out", rule="tolerance", at=AT, score=1.55, value=5.31, low=4.8, high=5.2)
    settings = {
        "tag": "exchanger/out",
        "rule": "tolerance",
        "sequence": sequence,
        "state": AlarmState.UNACKNOWLEDGED,
        "previous": AlarmState.NORMAL,
        "at": AT,
        "since": AT - timedelta(seconds=20),
        "priority": Priority.HIGH,
        "text": "Out is at 5.31 degC.",
        "verdict": verdict,
        "unit": "degC",
    }
    return Alert(**settings | changes)


def status(subject: str = "plc", **changes) -> Status:
    return Status(**{"subject": subject, "ok": True, "detail": "connected", "at": AT} | changes)


def make(mosquitto, **changes) -> MqttSink:
    settings = {
        "name": "alerts",
        "site": "demo",
        "host": mosquitto.host,
        "port": mosquitto.port,
        "protocol": "5",
        "client_id": "givre-out",
        "prefix": "givre",
        "keepalive_s": 30,
        "tls": None,
        "username": None,
        "password": None,
    }
    return MqttSink(**settings | changes)


@pytest.fixture
async def sink(mosquitto):
    made = make(mosquitto)
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def watching(mosquitto):
    """Everything under givre/, as a follower sees it from now on: (topic, message, retained)."""
    seen: list[tuple[str, dict, bool]] = []
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, identifier="watcher", clean_session=True) as client:
        await client.subscribe("givre/#", qos=1)

        async def watch():
            async for message in client.messages:
                seen.append((str(message.topic), json.loads(message.payload), bool(message.retain)))

        task = asyncio.create_task(watch())
        yield seen
        task.cancel()
        await asyncio.wait([task])


async def retained(mosquitto) -> dict[str, dict]:
    """What a newcomer is told."""
    async with watching(mosquitto) as seen:
        await asyncio.sleep(0.2)
    return {topic: message for topic, message, kept in seen if kept}


async def until(condition, limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.01)


def conforms(instance: object, schema: dict) -> bool:
    """As much of JSON Schema as docs/alert.schema.json uses; an unknown keyword is an error, so that none goes unchecked."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    for keyword, rule in schema.items():
        match keyword:
            case "$schema" | "$id" | "$defs" | "title" | "description":
                good = True
            case "$ref":
                good = conforms(instance, SCHEMA["$defs"][rule.removeprefix("#/$defs/")])
            case "oneOf":
                good = sum(conforms(instance, option) for option in rule) == 1
            case "anyOf":
                good = any(conforms(instance, option) for option in rule)
            case "enum":
                good = instance in rule
            case "const":
                good = instance == rule
            case "items":
                good = all(conforms(each, rule) for each in instance)
            case "minimum":
                good = instance >= rule
            case "pattern":
                good = re.search(rule, instance) is not None
            case "required":
                good = set(rule) <= set(instance)
            case "properties":
                # Stricter than the schema on purpose: what we send must be described.
                good = set(instance) <= set(rule) and all(conforms(instance[k], rule[k]) for k in instance)
            case "type":
                rules = rule if isinstance(rule, list) else [rule]
                number = not isinstance(instance, bool) and isinstance(instance, (int, float))
                good = any(
                    number and (r == "number" or isinstance(instance, int))
                    if r in ("number", "integer")
                    else isinstance(instance, kinds[r])
                    for r in rules
                )
            case _:
                raise AssertionError(f"keyword {keyword!r} is not known to this test")
        if not good:
            return False
    return True


@PROTOCOLS
async def test_an_alert_stands_retained_on_its_alarm_and_passes_once_on_the_event_topic(mosquitto, protocol):
    sink = make(mosquitto, protocol=protocol)
    async with watching(mosquitto) as seen:
        assert await sink.write([alert(), status()]) == []
        await until(lambda: len(seen) == 4)
    assert [(topic, kept) for topic, _, kept in seen] == [
        ("givre/demo/status", False),
        ("givre/demo/exchanger/out/alarm/tolerance", False),
        ("givre/demo/event", False),
        ("givre/demo/status/plc", False),
    ]
    assert seen[1][1] == seen[2][1] == json.loads(alert_message(alert(), "demo"))
    assert set(await retained(mosquitto)) == {
        "givre/demo/status",
        "givre/demo/exchanger/out/alarm/tolerance",
        "givre/demo/status/plc",
    }
    await sink.close()


def test_the_message_says_all_there_is():
    assert json.loads(alert_message(alert(by="anna"), "demo")) == {
        "schema": "givre.alert/1",
        "alarm": "exchanger/out/tolerance",
        "site": "demo",
        "asset": "exchanger",
        "tag": "out",
        "rule": "tolerance",
        "state": "unacknowledged",
        "previous": "normal",
        "active": True,
        "priority": "high",
        "at": "2026-11-23T05:13:20Z",
        "since": "2026-11-23T05:13:00Z",
        "text": "Out is at 5.31 degC.",
        "value": 5.31,
        "low": 4.8,
        "high": 5.2,
        "score": 1.55,
        "probability": None,
        "lead_s": None,
        "sequence": 1,
        "by": "anna",
        "unit": "degC",
        "age_s": 0,
        "code": "",
        "facts": {},
        "contributions": [],
    }


def test_the_message_has_the_facts_apart_from_the_words():
    part = Part(tag="exchanger/flow", value=93.6, expected=120.0, share=0.8, unit="m3/h")
    facts = Facts(code="x", figures=(("stood_s", 599.0), ("strange", float("nan"))), parts=(part,))
    verdict = Verdict(tag="exchanger/out", rule="frozen", at=AT - timedelta(seconds=5), score=2.0, facts=facts)
    message = json.loads(alert_message(alert(verdict=verdict), "demo"))
    assert conforms(message, SCHEMA)
    assert (message["age_s"], message["code"], message["facts"]) == (5, "x", {"stood_s": 599, "strange": None})
    assert message["contributions"] == [
        {"tag": "exchanger/flow", "unit": "m3/h", "value": 93.6, "expected": 120, "usual": None, "share": 0.8}
    ]


@pytest.mark.parametrize(
    "message",
    [
        alert_message(alert(), "demo"),
        alert_message(alert(verdict=None, state=AlarmState.NORMAL, at=AT + timedelta(microseconds=1)), "demo"),
        alert_message(
            alert(text='a "line"\nand \ud800', verdict=Verdict(tag="a/b", rule="r", at=AT, score=float("inf"))), "demo"
        ),
        status_message("plc", ok=False, detail="gone", at=AT),
        status_message("service", ok=False, detail="connection lost", at=None),
        explanation_message(
            Explanation(tag="a/b", rule="r", sequence=3, at=AT, text="It is 5.31.", by_model=True), "demo"
        ),
    ],
)
def test_every_message_is_as_its_schema_says(message):
    assert conforms(json.loads(message), SCHEMA)


def test_the_schema_refuses_what_is_none_of_ours():
    message = json.loads(alert_message(alert(), "demo"))
    assert not conforms(message | {"state": "loud"}, SCHEMA)
    assert not conforms(message | {"at": "yesterday"}, SCHEMA)
    assert not conforms(message | {"sequence": 0}, SCHEMA)
    assert not conforms({k: v for k, v in message.items() if k != "since"}, SCHEMA)
    assert not conforms(message | {"schema": "givre.alert/2"}, SCHEMA)


def test_the_example_of_the_page_is_as_the_schema_says():
    page = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert len(examples) == 4
    assert all(conforms(example, SCHEMA) for example in examples)


def test_the_command_of_the_page_is_one_and_its_keys_are_those_that_are_taken():
    page = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
    (example,) = [block for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if "for_s" in block]
    command = parse(example)
    assert (command.id, command.for_s) == ("desk-3-0042", 7200)
    described = SCHEMA["$defs"]["command"]["properties"]
    assert described["command"]["enum"] == list(COMMANDS)
    with pytest.raises(CommandError, match=f"keys: expected among {', '.join(described)}, found 'other'"):
        parse('{"other": 1}')


def test_the_states_of_the_schema_are_those_there_are():
    assert set(SCHEMA["$defs"]["state"]["enum"]) == set(AlarmState)


@pytest.mark.parametrize("topic", ["givre/demo/command/reply", None])
async def test_a_reply_goes_out_where_commands_are_taken_and_nowhere_else(mosquitto, topic):
    reply = Reply(
        id="k-1",
        at=AT,
        command="shelve",
        alarm="exchanger/out/tolerance",
        by="ana",
        reason="",
        via="alerts",
        done=False,
        text="refused, it is Sunday",
    )
    assert conforms(json.loads(reply_message(reply, "demo")), SCHEMA)
    sink = make(mosquitto, reply_topic=topic)
    async with watching(mosquitto) as seen:
        assert await sink.write([reply, status("last")]) == []
        await until(lambda: any(topic.endswith("status/last") for topic, _, _ in seen))
    await sink.close()
    replies = [(message["id"], message["result"]) for found, message, _ in seen if found.endswith("/reply")]
    assert replies == ([("k-1", "refused")] if topic else [])


async def test_an_explanation_goes_out_on_a_topic_of_its_own_and_is_not_kept_there(mosquitto, sink):
    explanation = Explanation(
        tag="exchanger/out", rule="tolerance", sequence=3, at=AT, text="It is 5.31.", by_model=False
    )
    async with watching(mosquitto) as seen:
        assert await sink.write([explanation]) == []
        await until(lambda: any("explanation" in topic for topic, _, _ in seen))
    topic, message, _ = next(each for each in seen if "explanation" in each[0])
    assert topic == "givre/demo/exchanger/out/explanation/tolerance"
    assert message == json.loads(explanation_message(explanation, "demo"))
    assert not any("explanation" in each for each in await retained(mosquitto))


async def test_many_alerts_pass_in_their_order_and_the_last_one_stands(mosquitto, sink):
    states = [AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED, AlarmState.NORMAL]
    alerts = [alert(i, state=states[i % 3], rule=f"rule{i % 7}") for i in range(1, 501)]
    async with watching(mosquitto) as seen:
        assert await sink.write(alerts) == []
        await until(lambda: len(seen) == 1001)
    assert [m["sequence"] for topic, m, _ in seen if topic == "givre/demo/event"] == list(range(1, 501))
    stands = await retained(mosquitto)
    for rule in range(7):
        assert stands[f"givre/demo/exchanger/out/alarm/rule{rule}"]["sequence"] == max(range(rule or 7, 501, 7))


async def test_a_second_write_leaves_the_retained_topics_as_the_first(mosquitto, sink):
    records = [alert(1), alert(2, state=AlarmState.NORMAL), status()]
    await sink.write(records)
    first = await retained(mosquitto)
    await sink.write(records)
    assert await retained(mosquitto) == first


async def test_an_alarm_that_is_over_stands_as_normal(mosquitto, sink):
    await sink.write([alert(1), alert(2, state=AlarmState.NORMAL, previous=AlarmState.UNACKNOWLEDGED)])
    stands = (await retained(mosquitto))["givre/demo/exchanger/out/alarm/tolerance"]
    assert (stands["state"], stands["active"], stands["sequence"]) == ("normal", False, 2)


@pytest.mark.parametrize(
    "record",
    [
        alert(tag="exchanger/+"),
        alert(tag="exchanger"),
        alert(tag="exchanger/out/more"),
        alert(tag="../out"),
        alert(rule="a/b"),
        alert(rule="#"),
        alert(rule="a\nb"),
        alert(rule="\0"),
        alert(rule="x" * 70_000),
        status(subject=""),
        status(subject="$SYS/x"),
        Sample(tag="a/b", value=1.0, source_at=AT, arrived_at=AT),
    ],
)
async def test_a_record_that_fits_no_topic_is_refused_and_the_rest_passes(mosquitto, sink, record):
    refused = await sink.write([status("one"), record, status("two")])
    assert [r.index for r in refused] == [1]
    assert len(refused[0].reason) < 300
    assert set(await retained(mosquitto)) == {"givre/demo/status", "givre/demo/status/one", "givre/demo/status/two"}


async def test_a_message_beyond_what_the_broker_takes_is_refused_and_the_rest_passes(mosquitto, sink):
    mosquitto.stop()
    mosquitto.start("allow_anonymous true", "max_packet_size 2000")
    (refused,) = await sink.write([status("one"), alert(text="x" * 3000), status("two")])
    assert refused.index == 1
    assert "the broker takes 2000 at most" in refused.reason
    assert {"givre/demo/status/one", "givre/demo/status/two"} < set(await retained(mosquitto))


async def test_the_broker_says_it_when_the_service_vanishes(mosquitto, sink):
    await sink.write([status()])
    async with watching(mosquitto) as seen:
        await until(lambda: len(seen) == 2)
        assert seen[0][0] == "givre/demo/status"
        assert seen[0][1]["ok"] is True
        sink._connection.abandon("as if the process were killed")
        await until(lambda: len(seen) == 3)
    topic, message, _ = seen[2]
    assert topic == "givre/demo/status"
    assert (message["ok"], message["detail"], message["at"]) == (False, "connection lost", None)


async def test_a_closed_sink_stands_as_stopped(mosquitto, sink):
    await sink.write([status()])
    await sink.close()
    stands = (await retained(mosquitto))["givre/demo/status"]
    assert (stands["ok"], stands["detail"]) == (False, "stopped")


async def test_without_a_broker_it_is_unavailable_with_the_reason_and_when_to_come_again(mosquitto, sink):
    mosquitto.stop()
    with pytest.raises(SinkUnavailableError, match="Connection refused") as caught:
        await sink.write([alert()])
    assert 0 < caught.value.retry_after_s < 3
    begin = time.monotonic()
    with pytest.raises(SinkUnavailableError):
        await sink.write([alert()])
    assert time.monotonic() - begin < 0.5  # known already: no need to wait
    mosquitto.start()
    await asyncio.sleep(caught.value.retry_after_s)
    assert await sink.write([alert()]) == []


async def test_a_refused_login_is_unavailable_and_not_refused(mosquitto, sink):
    mosquitto.stop()
    mosquitto.start("allow_anonymous false")
    with pytest.raises(SinkUnavailableError, match="without user name"):
        await sink.write([alert()])


async def test_a_forbidden_topic_is_unavailable_for_it_may_be_allowed_later(mosquitto, sink):
    rules = mosquitto.folder / "acl"
    rules.write_text("topic read givre/#\n")
    mosquitto.stop()
    mosquitto.start("allow_anonymous true", f"acl_file {rules}")
    with pytest.raises(SinkUnavailableError, match="Not authorized"):
        await sink.write([alert()])


async def test_a_broker_that_keeps_nothing_is_said(mosquitto, sink):
    mosquitto.stop()
    mosquitto.start("allow_anonymous true", "retain_available false")
    with pytest.raises(SinkUnavailableError):
        await sink.write([alert()])
    (sentence,) = await sink.probe()
    assert str(mosquitto.port) in sentence


async def test_a_silent_broker_is_given_up_without_holding_up_the_loop(mosquitto, sink, monkeypatch):
    monkeypatch.setattr("stream.sinks.mqtt.WRITE_LIMIT_S", 0.5)
    await sink.write([status()])
    mosquitto.send(signal.SIGSTOP)
    late = 0.0

    async def watch():
        nonlocal late
        while True:
            begin = time.monotonic()
            await asyncio.sleep(0.01)
            late = max(late, time.monotonic() - begin - 0.01)

    watching_loop = asyncio.create_task(watch())
    try:
        with pytest.raises(SinkUnavailableError, match=r"did not confirm within 0.5 s"):
            await sink.write([alert()])
    finally:
        mosquitto.send(signal.SIGCONT)
        watching_loop.cancel()
    assert late < 0.2


async def test_after_a_restart_of_the_broker_nothing_is_missing(mosquitto, sink):
    await sink.write([alert(1)])
    mosquitto.kill()
    with pytest.raises(SinkUnavailableError):
        await sink.write([alert(2)])
    mosquitto.start()
    async with asyncio.timeout(8):
        while True:
            try:
                assert await sink.write([alert(2), alert(3)]) == []
                break
            except SinkUnavailableError as error:
                await asyncio.sleep(error.retry_after_s or 0.1)
    assert (await retained(mosquitto))["givre/demo/exchanger/out/alarm/tolerance"]["sequence"] == 3


async def test_the_probe_publishes_nothing(mosquitto, sink):
    assert await sink.probe() == []
    assert await retained(mosquitto) == {}
    mosquitto.stop()
    (sentence,) = await sink.probe()
    assert "Connection refused" in sentence


async def test_an_alert_is_with_a_follower_within_milliseconds(mosquitto, sink):
    await sink.write([status()])
    took = []
    async with watching(mosquitto) as seen:
        await until(lambda: len(seen) == 2)
        for sequence in range(50):
            begin = time.monotonic()
            before = len(seen)
            await sink.write([alert(sequence + 1)])
            while len(seen) < before + 2:
                await asyncio.sleep(0)
            took.append(time.monotonic() - begin)
    assert sorted(took)[25] < 0.02  # 40 ms are what one delayed TCP acknowledgement costs


def test_it_wants_alerts_what_explains_them_and_statuses(mosquitto):
    sink = make(mosquitto)
    assert sink.kinds == {Alert, Explanation, Reply, Status}
    assert sink.name == "alerts"
    assert replace(alert(), tag="a/b").alarm == "a/b/tolerance"

"""The program as a process, followed over the wire at ten times real time."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
import pytest
from asyncua import ua
from asyncua.client.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from plant.__main__ import main
from plant.sensor import TAGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEED = 10.0
LIMIT_S = 15.0


async def _start(*options: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "plant", *options, stdout=pipe, stderr=pipe)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.02)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


async def test_every_report_sent_is_received_over_both_protocols_and_the_end_is_clean(
    tmp_path: Path, free_port: int, free_mqtt_port: int
) -> None:
    origin, origin_unix = datetime(2026, 1, 5, 12, 0, tzinfo=UTC), time.time()
    plant = await _start(
        *("--opcua-port", str(free_port), "--mqtt-port", str(free_mqtt_port), "--folder", str(tmp_path)),
        *("--speed", str(SPEED), "--seed", "3", "--scenario", "bad_quality:flow@40+8,bad_quality:power@40+8"),
        *("--origin", "2026-01-05T13:00:00+01:00", "--origin-unix", str(origin_unix)),
    )
    assert plant.stdout is not None
    assert plant.stderr is not None
    ready = await asyncio.wait_for(plant.stdout.readline(), LIMIT_S)
    endpoint = f"opc.tcp://127.0.0.1:{free_port}/givre/plant"
    assert ready.decode() == f"ready opcua={endpoint} mqtt=127.0.0.1:{free_mqtt_port}\n"

    heard: list[tuple[str, str, str, str]] = []  # tag, time, value, quality, as in sent.csv
    granted: list[int] = []

    def on_message(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        body = json.loads(message.payload)
        assert message.qos == 1
        assert ("reason" in body) is (body["value"] is None)
        value = "" if body["value"] is None else repr(body["value"])
        heard.append((message.topic.removeprefix("plant/exchanger/"), body["time"], value, body["quality"]))

    reader = mqtt.Client(CallbackAPIVersion.VERSION2, "reader", clean_session=False)
    reader.on_message = on_message
    reader.on_subscribe = lambda _c, _u, _m, reasons, _p: granted.extend(reason.value for reason in reasons)
    reader.connect("127.0.0.1", free_mqtt_port)
    reader.loop_start()
    reader.subscribe("plant/exchanger/+", qos=1)
    await _until(lambda: granted == [1])

    seen: list[tuple[str, datetime, float | None, str]] = []

    class Handler:
        def datachange_notification(self, node: object, value: float | None, data: object) -> None:
            got = data.monitored_item.Value  # type: ignore[attr-defined]  # asyncua types it as Any
            tag = node.nodeid.Identifier.removeprefix("exchanger.")  # type: ignore[attr-defined]  # likewise
            seen.append((tag, got.SourceTimestamp, value, got.StatusCode.name))

    async with Client(endpoint) as client:
        index = await client.get_namespace_index("urn:givre:plant")
        nodes = [client.get_node(ua.NodeId(ua.String(f"exchanger.{tag}"), ua.Int16(index))) for tag in TAGS]
        subscription = await client.create_subscription(50, Handler())
        await subscription.subscribe_data_change(nodes, queuesize=100, sampling_interval=ua.Double(0))
        await _until(lambda: sum(quality == "bad" for *_, quality in heard) == 2)
        since = len(heard)
        await _until(lambda: {"flow", "power"} <= {tag for tag, *_, quality in heard[since:] if quality == "good"})
        assert {tag for tag, *_ in heard} == {tag for tag, *_ in seen} == set(TAGS)
        now = origin + timedelta(seconds=(time.time() - origin_unix) * SPEED)
        latest = max(datetime.fromisoformat(at) for _, at, *_ in heard)
        assert timedelta(0) <= now - latest < timedelta(seconds=20)
        await subscription.delete()

    begun = time.monotonic()
    plant.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(plant.wait(), LIMIT_S) == 0
    assert time.monotonic() - begun < 2.0
    await _until(lambda: not reader.is_connected())
    reader.loop_stop()
    assert (await plant.stdout.read(), await plant.stderr.read()) == (b"", b"")

    sent = _rows(tmp_path / "sent.csv")
    over_mqtt = [(r["tag"], r["source_at"], r["value"], r["quality"]) for r in sent if r["protocol"] == "mqtt"]
    assert heard == over_mqtt[over_mqtt.index(heard[0]) :][: len(heard)]
    assert len(over_mqtt) - over_mqtt.index(heard[0]) - len(heard) <= 5  # at most the scan that the end cut off

    over_opcua = {(r["tag"], r["source_at"]): r for r in sent if r["protocol"] == "opcua"}
    for tag, at, value, status in seen:
        row = over_opcua[tag, at.isoformat(timespec="milliseconds").replace("+00:00", "Z")]
        assert row["value"] == ("" if value is None else repr(value))
        assert row["quality"] == ("good" if status == "Good" else "bad")
    bad = {(tag, status) for tag, _, value, status in seen if value is None}
    assert bad == {("flow", "BadSensorFailure"), ("power", "BadSensorFailure")}
    assert _missed(over_opcua, seen) == []

    assert [(row["kind"], row["tag"]) for row in _rows(tmp_path / "labels.csv")] == [
        ("bad_quality", "flow"),
        ("bad_quality", "power"),
    ]


def _missed(
    sent: dict[tuple[str, str], dict[str, str]], seen: list[tuple[str, datetime, float | None, str]]
) -> list[tuple[str, str]]:
    """Reports between the first and the last one seen of each tag that changed something and were not seen."""
    missed = []
    for tag in TAGS:
        times = [at.isoformat(timespec="milliseconds").replace("+00:00", "Z") for t, at, *_ in seen if t == tag]
        last = None
        for (sent_tag, at), row in sent.items():
            if sent_tag != tag:
                continue
            what = (row["value"], row["quality"])
            if times[0] <= at <= times[-1] and what != last and at not in times:
                missed.append((tag, at))
            last = what
    return missed


@pytest.mark.parametrize("taken", ["opcua", "mqtt"])
async def test_a_port_in_use_is_one_clear_line_and_exit_code_1(
    taken: str, tmp_path: Path, free_port: int, free_mqtt_port: int
) -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", free_port)
    ports = (free_port, free_mqtt_port) if taken == "opcua" else (free_mqtt_port, free_port)
    plant = await _start("--opcua-port", str(ports[0]), "--mqtt-port", str(ports[1]), "--folder", str(tmp_path))
    out, errors = await asyncio.wait_for(plant.communicate(), LIMIT_S)
    server.close()
    await server.wait_closed()
    subject = "OPC UA server" if taken == "opcua" else "MQTT broker"
    where = f"127.0.0.1:{free_port}"
    reason = "cannot listen: Address already in use; choose another port or host"
    assert (out, errors.decode()) == (b"", f"plant: {subject} on {where}: {reason}\n")
    assert plant.returncode == 1


async def test_it_ends_by_itself_after_the_time_asked_for(tmp_path: Path, free_port: int, free_mqtt_port: int) -> None:
    plant = await _start(
        *("--opcua-port", str(free_port), "--mqtt-port", str(free_mqtt_port), "--folder", str(tmp_path)),
        *("--speed", "20", "--for", "1", "--scenario", "quiet"),
    )
    assert await asyncio.wait_for(plant.wait(), LIMIT_S) == 0
    times = sorted({row["source_at"] for row in _rows(tmp_path / "sent.csv")})
    played_s = (datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0])).total_seconds()
    # A step of the plant is a second, and a twentieth of one here: on a busy machine a few come late.
    assert 15.0 < played_s <= 25.0
    assert _rows(tmp_path / "labels.csv") == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--scenario", "tuor"], "scenario 'tuor': expected quiet, tour, or a schedule"),
        (["--speed", "0"], "expected a number above 0, found '0'"),
        (["--speed", "nan"], "expected a number, found 'nan'"),
        (["--mqtt-port", "70000"], "expected a port of 1 to 65535, found '70000'"),
        (["--seed", "-1"], "expected a whole number of 0 or more, found '-1'"),
        (["--origin", "2026-01-05T12:00", "--origin-unix", "1"], "expected ISO 8601 with a zone"),
        (["--origin", "2026-01-05T12:00Z"], "expected --origin and --origin-unix together, or neither"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--folder", str(tmp_path / "file" / "record")]) == 1
    assert "cannot write in it" in capsys.readouterr().err

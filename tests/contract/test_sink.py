"""What every sink promises (`stream.sinks.sink.Sink`), asked of each one with its real server behind it.

A new sink brings a rig: a fixture ``NAME_rig`` that yields what `Rig` describes, and its name in `SINKS`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import aiomqtt
import pytest

from detectors.records import LEVELS, AlarmState, Alert, Forecast, Priority, Sample, Standing, Status, Verdict
from stream.sinks.influxdb import InfluxSink
from stream.sinks.mqtt import MqttSink
from stream.sinks.sink import SinkUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.records import Record
    from stream.sinks.sink import Sink

SINKS = ["mqtt", "influxdb_1", "influxdb_2"]
AT = datetime(2026, 11, 23, 5, 13, 20, tzinfo=UTC)


class Rig(Protocol):
    """A sink, the server behind it, and a way to see what that server holds."""

    sink: Sink

    def good(self, count: int) -> Sequence[Record]:
        """Records that the server takes, all different."""

    def bad(self) -> Record:
        """A record that no server would ever take."""

    async def stored(self) -> object:
        """What the server holds now of all that was written; equal to itself as long as nothing changes."""

    def stop(self) -> None: ...
    def start(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


class MqttRig:
    def __init__(self, mosquitto) -> None:
        self._mosquitto = mosquitto
        self.sink = MqttSink(
            name="alerts",
            site="demo",
            host=mosquitto.host,
            port=mosquitto.port,
            protocol="5",
            client_id="givre-out",
            prefix="givre",
            keepalive_s=30,
            tls=None,
            username=None,
            password=None,
        )
        self.stop = mosquitto.stop
        self.start = mosquitto.start
        self.freeze = lambda: mosquitto.send(signal.SIGSTOP)
        self.thaw = lambda: mosquitto.send(signal.SIGCONT)

    def good(self, count: int) -> Sequence[Record]:
        alerts = [_alert("x/t", sequence) for sequence in range(1, count)]
        return [*alerts, Status(subject="plc", ok=True, detail="connected", at=AT)]

    def bad(self) -> Record:
        return _alert("x/+", 1)

    async def stored(self) -> object:
        held = {}
        client = aiomqtt.Client(self._mosquitto.host, self._mosquitto.port, identifier="reader")
        async with client:
            await client.subscribe([("givre/demo/+/+/alarm/+", 1), ("givre/demo/status/#", 1)])
            try:
                async with asyncio.timeout(0.3):
                    async for message in client.messages:
                        held[str(message.topic)] = json.loads(message.payload)
            except TimeoutError:
                held.pop("givre/demo/status", None)  # the service's own word, not a record
        return held


class InfluxRig:
    """One server, over /write, or over the API of InfluxDB 2 before it."""

    def __init__(self, sink: InfluxSink, influxd, shim=None) -> None:
        self.sink = sink
        self._influxd = influxd
        self._shim = shim
        self.freeze = lambda: influxd.send(signal.SIGSTOP)
        self.thaw = lambda: influxd.send(signal.SIGCONT)

    def stop(self) -> None:
        if self._shim is not None:
            self._shim.stop()
        self._influxd.stop()

    def start(self) -> None:
        self._influxd.start()
        if self._shim is not None:
            self._shim.start()

    def good(self, count: int) -> Sequence[Record]:
        row = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
        assert len(row) == len(LEVELS)
        others = [
            Forecast(tag="x/t", forecaster="f", made_at=AT, period_s=10, quantiles=(row,) * 12),
            Verdict(tag="x/t", rule="breach", at=AT, score=0.5, probability=0.25, lead_s=30),
            _alert("x/t", 1),
            Status(subject="plc", ok=True, detail="connected", at=AT),
            Standing(
                tag="x/t", at=AT, lead=1, lead_s=10.0, steps=5, weights=(("f", 0.4), ("g", 0.6)),
                coverage80=0.8, coverage90=None, skill=None,
            ),
        ]  # fmt: skip
        moments = [AT + timedelta(seconds=i) for i in range(count - len(others))]
        return [*(Sample(tag="x/t", value=5.25, source_at=at, arrived_at=at) for at in moments), *others]

    def bad(self) -> Record:
        at = datetime(2300, 1, 1, tzinfo=UTC)  # InfluxDB's time ends in 2262
        return Sample(tag="x/t", value=1.0, source_at=at, arrived_at=at)

    async def stored(self) -> object:
        rows = await asyncio.to_thread(self._influxd.ask, "SELECT * FROM /.*/ GROUP BY *")
        return sorted(rows, key=repr)


def _alert(tag: str, sequence: int) -> Alert:
    return Alert(
        tag=tag,
        rule=f"rule{sequence % 5}",
        sequence=sequence,
        state=AlarmState.UNACKNOWLEDGED,
        previous=AlarmState.NORMAL,
        at=AT,
        since=AT,
        priority=Priority.HIGH,
        text="too warm",
    )


@pytest.fixture
def mqtt_rig(mosquitto) -> Rig:
    return MqttRig(mosquitto)


@pytest.fixture
def influxdb_1_rig(influxd) -> Rig:
    return InfluxRig(InfluxSink(name="store", site="demo", version=1, url=influxd.url, bucket="givre"), influxd)


@pytest.fixture
def influxdb_2_rig(influxd, v2_shim) -> Rig:
    sink = InfluxSink(
        name="store",
        site="demo",
        version=2,
        url=v2_shim.url,
        bucket="givre",
        org=v2_shim.org,
        token=v2_shim.token,
        timeout_s=2,
    )
    return InfluxRig(sink, influxd, v2_shim)


@pytest.fixture(params=SINKS)
async def rig(request):
    made = request.getfixturevalue(f"{request.param}_rig")
    yield made
    await made.sink.close()


async def delivered(rig: Rig, records: Sequence[Record], limit_s: float = 10.0) -> None:
    """As the delivery does it: again and again, until it is confirmed."""
    async with asyncio.timeout(limit_s):
        while True:
            try:
                assert await rig.sink.write(records) == []
            except SinkUnavailableError as error:
                await asyncio.sleep(error.retry_after_s or 0.2)
            else:
                return


async def test_it_has_a_name_and_wants_something(rig):
    assert rig.sink.name
    assert rig.sink.kinds


async def test_what_is_confirmed_is_there(rig):
    before = await rig.stored()
    assert await rig.sink.write(rig.good(20)) == []
    assert await rig.stored() != before


async def test_nothing_to_write_is_nothing_to_fail_at(rig):
    assert await rig.sink.write([]) == []


async def test_writing_twice_is_as_writing_once(rig):
    await rig.sink.write(rig.good(20))
    once = await rig.stored()
    await rig.sink.write(rig.good(20))
    assert await rig.stored() == once


async def test_a_bad_record_neither_drops_nor_blocks_its_batch(rig):
    good = rig.good(20)
    refused = await rig.sink.write([*good[:10], rig.bad(), *good[10:]])
    assert [r.index for r in refused] == [10]
    assert refused[0].reason
    mixed = await rig.stored()
    assert await rig.sink.write(good) == []
    assert await rig.stored() == mixed


async def test_an_absent_server_is_unavailable_and_all_is_there_when_it_is_back(rig):
    rig.stop()
    with pytest.raises(SinkUnavailableError) as caught:
        await rig.sink.write(rig.good(20))
    assert str(caught.value)
    rig.start()
    await delivered(rig, rig.good(20))
    there = await rig.stored()
    await rig.sink.write(rig.good(20))
    assert await rig.stored() == there


async def test_a_server_that_goes_while_we_are_connected_is_unavailable(rig):
    await rig.sink.write(rig.good(5))
    rig.stop()
    with pytest.raises(SinkUnavailableError):
        await rig.sink.write(rig.good(20))
    rig.start()
    await delivered(rig, rig.good(20))


async def test_a_silent_server_is_given_up_within_ten_seconds_and_the_loop_runs_on(rig):
    await rig.sink.write(rig.good(5))
    latest = 0.0

    async def watch() -> None:
        nonlocal latest
        while True:
            begin = time.monotonic()
            await asyncio.sleep(0.02)
            latest = max(latest, time.monotonic() - begin - 0.02)

    watching = asyncio.create_task(watch())
    rig.freeze()
    begin = time.monotonic()
    try:
        with pytest.raises(SinkUnavailableError):
            await rig.sink.write(rig.good(20))
    finally:
        rig.thaw()
        watching.cancel()
    assert time.monotonic() - begin < 11
    assert latest < 0.5
    await delivered(rig, rig.good(20))


async def test_the_probe_is_content_with_a_server_and_says_when_there_is_none(rig):
    assert await rig.sink.probe() == []
    rig.stop()
    assert all(await rig.sink.probe())
    assert await rig.sink.probe() != []


async def test_closing_releases_everything(rig):
    await rig.sink.write(rig.good(5))
    await rig.sink.close()
    ours = [t for t in asyncio.all_tasks() if t is not asyncio.current_task() and "asyncgen" not in repr(t)]
    assert [t for t in ours if "stream" in repr(t.get_coro())] == []

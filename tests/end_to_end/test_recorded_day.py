"""A day as it is recorded, judged again from the command line: a plant at speed, real servers, the messages compared."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest
import yaml

from config.load import load
from detectors.records import Alert, Mark
from stream.assemble import build_pipeline, open_journal
from stream.clock import FastClock
from stream.command import ask
from stream.journal.journal import Journal
from stream.sinks.mqtt import alert_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAMPLE = Path(__file__).parents[2] / "config" / "heat_exchanger.yaml"
SPEED = 80.0
SCENARIO = "load_step@120+60,stuck_sensor:flow@240+300,bad_quality:inlet@300+90,lost_source@600+270"
PLANT_S = 900.0


class Events:
    """Every alert message that the broker is sent, as it is sent."""

    def __init__(self, port: int) -> None:
        self.payloads: list[bytes] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _u, message: self.payloads.append(message.payload)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("givre/demo/event", 1)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def events(mosquitto: Any) -> Iterator[Events]:
    made = Events(mosquitto.port)
    yield made
    made.close()


def configuration(folder: Path, ports: dict[str, int]) -> Path:
    content = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    content |= {
        "state_folder": "state",
        "language": "fr",
        "panel": {"members": ["persistence", "smoothing"], "horizon": 6},
    }
    content["sources"]["plc"]["endpoint"] = f"opc.tcp://127.0.0.1:{ports['opcua']}/givre/plant"
    content["sources"]["broker"] |= {"port": ports["plant"], "protocol": "3.1.1"}
    content["sinks"]["alerts"]["port"] = ports["alerts"]
    del content["model"]
    tags = content["assets"]["exchanger"]["tags"]
    tags["chilled_water"] |= {"breach": {"probability": 0.3}, "surprise": {"alpha": 0.01}}
    tags["flow"]["deviation"] = {"minimum": 0.5}
    path = folder / "givre.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


async def live(config: Path, clock: FastClock) -> None:
    """The service for some minutes of plant time, with an operator who acknowledges and shelves."""
    loaded = load(config)
    journal = open_journal(loaded)
    try:
        pipeline = build_pipeline(loaded, journal=journal, clock=clock)
        run = asyncio.create_task(pipeline.run())
        spoken = False
        while (clock.now() - clock.origin).total_seconds() < PLANT_S and not run.done():
            standing = [name for name, alarm in pipeline.lane.alarms.items() if alarm.memory.state.active]
            if standing and not spoken:
                spoken = True
                journal.post(ask("acknowledge", standing[0], by="anna"))
                journal.post(ask("shelve", "exchanger/flow/frozen", by="anna", for_s=400, reason="valve is changed"))
            await asyncio.sleep(0.05)
        pipeline.stop()
        await run
    finally:
        journal.close()


def test_a_day_judged_again_gives_the_alerts_that_were_published_byte_for_byte(
    mosquitto: Any, events: Events, tmp_path: Path, free_ports: Callable[[int], list[int]]
) -> None:
    opcua, plant = free_ports(2)
    config = configuration(tmp_path, {"opcua": opcua, "plant": plant, "alerts": mosquitto.port})
    clock = FastClock(origin=datetime(2026, 3, 1, 8, tzinfo=UTC), origin_unix_s=time.time(), speed=SPEED)
    process = subprocess.Popen(
        [sys.executable, "-m", "plant", "--opcua-port", str(opcua), "--mqtt-port", str(plant), "--speed", str(SPEED),
         "--scenario", SCENARIO, "--folder", str(tmp_path / "plant"), "--origin", clock.origin.isoformat(),
         "--origin-unix", repr(clock.origin_unix_s)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready")
        asyncio.run(live(config, clock))
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
    recorded = tmp_path / "state" / "journal.sqlite3"
    done = subprocess.run(
        [sys.executable, "-m", "stream", "replay", str(config), "--from", str(recorded), "--state", str(tmp_path / "again")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the same alerts as live, byte for byte" in done.stdout
    again = Journal(tmp_path / "again" / "journal.sqlite3", max_size_mb=64, keep_days=36_500)
    try:
        alerts = [record for record in again.history(kinds={Alert}) if isinstance(record, Alert)]
        assert again.history(kinds={Mark}, limit=1)
    finally:
        again.close()
    # The broker has confirmed them all; our follower may be a moment behind.
    deadline = time.monotonic() + 5
    while len(events.payloads) < len(alerts) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [alert_message(alert, "demo") for alert in alerts] == events.payloads
    assert {"tolerance", "quality", "lost", "frozen"} <= {alert.rule for alert in alerts}
    assert {alert.by for alert in alerts} == {"", "anna"}
    assert any(alert.rule in {"deviation", "breach", "surprise"} for alert in alerts), "none came of a forecast"

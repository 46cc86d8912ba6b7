"""The service as a process of its own, and a client at the broker that sees what it publishes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Service:
    """`givre run` on a configuration; started, stopped and killed by its process id."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.log = config.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and returns when it says that it runs."""
        environment = {**os.environ, "PYTHONWARNINGS": "default"}
        with self.log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream", "run", str(self.config)], stderr=log, env=environment
            )
        self.until(lambda: "source.broker" in self.log.read_text()[begin:], "the service did not come up")

    def until(self, true: Callable[[], bool], otherwise: str, limit_s: float = 15.0) -> None:
        """Waits for something to become true while the service lives."""
        deadline = time.monotonic() + limit_s
        while not true():
            if self._process is not None and self._process.poll() is not None:
                pytest.fail(f"the service ended with {self._process.returncode}:\n{self.log.read_text()[-3000:]}")
            if time.monotonic() > deadline:
                pytest.fail(f"{otherwise}:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def end(self, number: int) -> int:
        """Sends a signal and gives the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(15)
        self._process = None
        return code

    def tell(self, number: int) -> None:
        """Sends a signal that it lives on after."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(15)

    def say(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `givre` command on the same configuration."""
        command, *rest = arguments
        words = [command, *rest] if command != "alarms" else [command, rest[0], str(self.config), *rest[1:]]
        if command != "alarms":
            words.insert(1, str(self.config))
        return subprocess.run(
            [sys.executable, "-m", "stream", *words], capture_output=True, text=True, timeout=30, check=False
        )


class Follower:
    """Publishes as the plant would, and keeps every message of Givre's in the order of arrival."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, dict[str, Any], bool]] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="follower")
        self._client.on_message = lambda _c, _u, m: self.messages.append(
            (m.topic, json.loads(m.payload) if m.payload else {}, m.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("givre/#", 1)
        self._client.loop_start()

    def publish(self, topic: str, payload: str | bytes) -> None:
        """Publishes at QoS 1 and returns when the broker has it."""
        self._client.publish(topic, payload, qos=1).wait_for_publish(5)

    def states(self, rule: str) -> list[str]:
        """The states of an alarm as its event topic told them."""
        return [m["state"] for topic, m, _ in list(self.messages) if topic.endswith("/event") and m["rule"] == rule]

    def close(self) -> None:
        """Leaves the broker."""
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_message = None  # it would keep its sockets until somebody collects the circle


CONFIG = """\
site: test
state_folder: state
lateness_s: 0.2
sources:
  broker: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: in}}
sinks:
  alerts: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: out}}
assets:
  hx:
    tags:
      water:
        unit: degC
        period_s: 0.5
        hold_s: 30
        physical: {{low: -20, high: 60}}
        tolerance: {{setpoint: 5, tolerance: 0.2, deadband: 0.05, off_delay_s: 0.2}}
        source: {{name: broker, topic: plant/water}}
"""


@pytest.fixture
def service(mosquitto: Any, tmp_path: Path) -> Iterator[Service]:
    """The service on one MQTT tag, not started yet; its broker runs."""
    config = tmp_path / "givre.yaml"
    config.write_text(CONFIG.format(port=mosquitto.port))
    made = Service(config)
    yield made
    made.kill()


@pytest.fixture
def follower(mosquitto: Any) -> Iterator[Follower]:
    """A client at the broker."""
    made = Follower(mosquitto.port)
    yield made
    made.close()

"""The service as a process of its own, and what it shows to somebody who looks at it from outside."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Running:
    """`givre run` on a configuration text; `log` is all that it wrote."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self._log = folder / "log"
        config = folder / "givre.yaml"
        config.write_text(text)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream", "run", str(config)], stdout=log, stderr=log
            )
        self.pid = self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    def until(self, true: Callable[[], object], limit_s: float = 20.0) -> None:
        """Waits while the service lives."""
        deadline = time.monotonic() + limit_s
        while not true():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"waited in vain, exit code {self._process.poll()}:\n{self.log[-3000:]}")
            time.sleep(0.02)

    def family(self) -> list[Path]:
        """/proc folders of the service and of its children."""
        found = [Path(f"/proc/{self.pid}")]
        for parent in found:
            for task in parent.glob("task/*/children"):
                found += [Path(f"/proc/{child}") for child in task.read_text().split()]
        return found

    def close(self) -> int:
        """Asks it to stop; its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(20)
        finally:
            self._process.kill()


@pytest.fixture
def run_service(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    """Call it with a configuration to start the service on it; it is stopped at the end."""
    made: list[Running] = []

    def start(text: str) -> Running:
        made.append(Running(tmp_path, text))
        return made[-1]

    yield start
    for service in made:
        service.close()


class Witness:
    """A client that sees every message of a broker."""

    def __init__(self, port: int, username: str | None = None, password: str | None = None) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="witness")
        self._client.username_pw_set(username, password)
        self._client.on_message = lambda _c, _u, m: self.messages.append((m.topic, m.payload))
        self._client.on_connect = lambda c, *_: c.subscribe("#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def publish(self, topic: str, payload: str) -> None:
        """Publishes at QoS 1 and returns when the broker has it."""
        self._client.publish(topic, payload, qos=1).wait_for_publish(5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_message = self._client.on_connect = None


@pytest.fixture
def witness() -> Iterator[Callable[..., Witness]]:
    """Call it with a port (and a login) to get a `Witness`."""
    made: list[Witness] = []

    def connect(port: int, username: str | None = None, password: str | None = None) -> Witness:
        made.append(Witness(port, username, password))
        return made[-1]

    yield connect
    for one in made:
        one.close()


CONFIG = """\
site: test
state_folder: state
lateness_s: 0.2
panel: {{members: [persistence]}}
{http}
sources:
  broker: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: in{login}}}
sinks:
  alerts: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: out{login}}}
assets:
  hx:
    tags:
      water:
        unit: degC
        period_s: 0.5
        hold_s: 30
        tolerance: {{setpoint: 5, tolerance: 0.2}}
        source: {{name: broker, topic: plant/water}}
"""


@pytest.fixture(scope="session")
def configuration() -> Callable[..., str]:
    """Call it with a broker's port, and more lines for the login and for `http`, to get a configuration of one tag."""
    return lambda port, login="", http="": CONFIG.format(port=port, login=login, http=http)


@pytest.fixture
def free_port_2() -> int:
    """A port beside the broker's."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return int(s.getsockname()[1])

"""Fixtures that more than one folder of tests needs: free ports, and real servers on loopback."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from detectors.records import Sample, Status
    from stream.sources.source import Rejection

INSTALL = {
    "mosquitto": "apt-get install mosquitto",
    "influxd": "apt-get install influxdb",
    "victoria-metrics": "apt-get install victoria-metrics",
    "systemd-analyze": "apt-get install systemd",
}


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """Call it with a server program's name to get its path; see `_require`."""
    return _require


def _require(program: str) -> str:
    """Path of a server program; without it the test is skipped by name, or fails where GIVRE_REQUIRE_SERVERS=1."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is not None:
        return found
    reason = f"{program} is not installed: {INSTALL.get(program, program)}"
    if os.environ.get("GIVRE_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def mosquitto(require: Callable[[str], str], tmp_path: Path, free_port: int) -> Iterator[Mosquitto]:
    """A real broker on loopback, already up; see `Mosquitto`."""
    broker = Mosquitto(require("mosquitto"), tmp_path / "mosquitto", free_port)
    broker.start()
    yield broker
    broker.kill()


class Mosquitto:
    """A mosquitto of the test's own that it may stop, kill, freeze and start again, with other settings if it likes."""

    host = "127.0.0.1"

    def __init__(self, program: str, folder: Path, port: int) -> None:
        self.port = port
        self.folder = folder
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: Sequence[str] = ("allow_anonymous true",)
        self.log = folder / "log"
        folder.mkdir()

    def start(self, *settings: str) -> None:
        """Starts it, with the settings of last time if none are given, and returns when it listens."""
        self._settings = settings or self._settings
        lines = (
            f"user {getpass.getuser()}",  # it would become `mosquitto`, who may not look into our folder
            "persistence true",
            f"persistence_location {self.folder}/",
            "max_queued_messages 100000",
            f"log_dest file {self.log}",
            f"listener {self.port} {self.host}",
            *self._settings,
        )
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen([self._program, "-c", str(config)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while True:
            with socket.socket() as s:
                if s.connect_ex((self.host, self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"mosquitto does not start: {self.log.read_text() if self.log.exists() else 'no log'}")
            time.sleep(0.02)

    def send(self, number: int) -> None:
        """Sends it a signal: SIGSTOP and SIGCONT freeze and thaw it."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Ends it in good order: what it holds is written to its folder."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """Ends it as a power cut would: what it has not written yet is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture
def intake() -> RecordingIntake:
    """An intake that keeps all it is given; see `RecordingIntake`."""
    return RecordingIntake()


class RecordingIntake:
    """Keeps samples, rejections and statuses, and tells sources at once that all is on disk, or only when `withhold` ends."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.rejections: list[Rejection] = []
        self.statuses: list[Status] = []
        self.withhold = False
        self.unaccepted: list[Callable[[], None]] = []

    async def deliver(self, samples: Sequence[Sample], accepted: Callable[[], None] | None = None) -> None:
        self.samples += samples
        if accepted is not None and self.withhold:
            self.unaccepted.append(accepted)
        elif accepted is not None:
            accepted()

    def reject(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)

    def report(self, status: Status) -> None:
        self.statuses.append(status)

    @property
    def values(self) -> list[float | None]:
        """What came, in the order it came."""
        return [sample.value for sample in self.samples]

    async def until(self, condition: Callable[[], object], limit_s: float = 10.0) -> None:
        """Waits for a condition, and fails with what came so far where it does not come true."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(
                    f"waited {limit_s:g} s in vain: {len(self.samples)} samples, {self.rejections} {self.statuses}"
                )
            await asyncio.sleep(0.01)

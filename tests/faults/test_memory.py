"""Too little memory for the model, for real: the kernel ends a process, and it must not be the one that watches the limits."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = """\
site: test
state_folder: state
lateness_s: 0.2
model: {{path: default, min_context: 4, samples: 4}}
sources:
  broker: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: in}}
sinks:
  alerts: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: out}}
assets:
  hx:
    tags:
      water:
        {{unit: degC, period_s: 1, hold_s: 30, tolerance: {{setpoint: 5, tolerance: 0.2}},
          source: {{name: broker, topic: plant/water}}}}
"""
LITTLE_MB = 320
"""Enough for the service, and not for the model."""


class Group:
    """A memory group of the kernel below this process's own, of version 1 or 2."""

    def __init__(self) -> None:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        v1 = next((path for _, names, path in lines if names == "memory"), None)
        self.is_v1 = v1 is not None
        own = v1 if v1 is not None else next(path for number, _, path in lines if number == "0")
        root = Path("/sys/fs/cgroup/memory" if self.is_v1 else "/sys/fs/cgroup")
        self.place = root / own.strip("/") / f"givre-{os.getpid()}"
        self.place.mkdir()

    def limit(self, mb: int) -> None:
        file = "memory.limit_in_bytes" if self.is_v1 else "memory.max"
        (self.place / file).write_text(str(mb * 2**20))

    @property
    def killed(self) -> int:
        """Processes that the kernel ended in it for want of memory."""
        text = (self.place / ("memory.oom_control" if self.is_v1 else "memory.events")).read_text()
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        made = Group()
        made.limit(LITTLE_MB)
    except OSError as error:
        reason = f"a memory group needs root, and a hierarchy that may be written: {error}"
        pytest.skip(reason)
    yield made
    deadline = time.monotonic() + 10
    while made.place.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # its last process is still going
            made.place.rmdir()
        time.sleep(0.1)


@pytest.mark.model
@pytest.mark.slow_fault
@pytest.mark.timeout(300)
def test_want_of_memory_costs_the_model_alone_until_there_is_enough(
    mosquitto: Any,
    group: Group,
    default_model: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    config, log = tmp_path / "givre.yaml", tmp_path / "log"
    config.write_text(CONFIG.format(port=mosquitto.port))
    heard: list[tuple[float, str, dict[str, Any]]] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="operator")
    client.on_message = lambda _c, _u, m: heard.append((time.monotonic(), m.topic, json.loads(m.payload)))
    client.connect("127.0.0.1", mosquitto.port)
    client.subscribe("givre/#", 1)
    client.loop_start()
    enter = f"echo $$ > {group.place}/cgroup.procs; exec {sys.executable} -m stream run {config}"
    with log.open("wb") as file:
        service = subprocess.Popen(["sh", "-c", enter], stderr=file)

    def until(true: Callable[[], object], what: str, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not true():
            assert service.poll() is None, f"the service was ended\n{log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"not within {limit_s} s: {what}\n{log.read_text()[-3000:]}"
            time.sleep(0.02)

    def model_is(*, ok: bool, after: float = 0.0) -> bool:
        said = [m for at, topic, m in list(heard) if topic.endswith("/status/model") and at > after]
        return bool(said) and said[-1]["ok"] is ok

    def alerts() -> list[tuple[float, str]]:
        return [(at, m["state"]) for at, topic, m in list(heard) if topic == "givre/test/event"]

    try:
        until(lambda: group.killed and model_is(ok=False), "the kernel has ended the model, and that is said", 90)
        late_s = []
        for value, state in (("5.5", "unacknowledged"), ("5.0", "returned_unacknowledged"), ("5.6", "unacknowledged")):
            told, said_at = len(alerts()), time.monotonic()
            client.publish("plant/water", value, qos=1)
            until(lambda told=told: len(alerts()) > told, f"{state} is told", 10)
            at, found = alerts()[told]
            assert found == state
            late_s.append(at - said_at)
        killed, raised_at = group.killed, time.monotonic()
        group.limit(6000)
        until(lambda: model_is(ok=True, after=raised_at), "the model is there, now that there is memory", 150)
        back_s = time.monotonic() - raised_at
    finally:
        service.kill()
        service.wait()
        client.disconnect()
        client.loop_stop()
        client.on_message = None
    figure = (
        f"with {LITTLE_MB} MB the kernel ended the model ({killed} x) and never the service; "
        f"alerts after {max(late_s):.2f} s at most; with enough the model was back after {back_s:.0f} s"
    )
    print(figure)
    record_property("figure", figure)
    assert max(late_s) < 2


DEVICE = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from detectors.language.forecaster import LanguageForecaster
from detectors.language.model import load_model
from detectors.records import Window

model = load_model(Path(sys.argv[1]), device="cpu", numbers="float32")
tags = [f"x/{i}" for i in range(int(sys.argv[2]))]
made = LanguageForecaster(model, context=256, min_context=8, samples=4, horizon=3, order=tags)
now = datetime(2026, 11, 27, tzinfo=UTC)
windows = [
    Window(tag=tag, period_s=60, end_at=now, values=tuple(i + (k * 7 % 5) / 9 for k in range(256)))
    for i, tag in enumerate(tags)
]
made.forecast(windows[:2], horizon=3)  # all threads and libraries are there now
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[3]) * 2**20, resource.RLIM_INFINITY))
print(len(made.forecast(windows, horizon=3)), made.shortfall)
"""


def test_a_device_that_has_less_than_it_said_costs_context_and_never_the_answer(
    tiny_model: Callable[..., Path], record_property: Callable[[str, object], None]
) -> None:
    """The plan fits and an allocation fails all the same, as where somebody else has taken a GPU's memory meanwhile."""
    said = subprocess.run(
        [sys.executable, "-c", DEVICE, str(tiny_model("splits", num_key_value_heads=4, hidden_size=256)), "40", "120"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr[-3000:]
    count, shortfall = said.stdout.split(" ", 1)
    record_property("figure", shortfall.strip())
    assert int(count) >= 1
    assert "it ran out although it was free" in shortfall

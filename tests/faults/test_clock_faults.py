"""The service as a process whose clock is wrong: at 1970 after a boot without a time server, then set right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest

from detectors.records import Sample
from stream.journal.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
CONFIG = """\
site: test
state_folder: state
lateness_s: 0.2
panel: {{members: [persistence]}}
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
        tolerance: {{setpoint: 5, tolerance: 0.2, deadband: 0.05}}
        source: {{name: broker, topic: plant/water}}
"""


class Operator:
    """Publishes as the plant would, and keeps each event of Givre's."""

    def __init__(self, port: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="operator")
        self._client.on_message = lambda _c, _u, m: self.events.append(json.loads(m.payload))
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("givre/test/event", 1)
        self._client.loop_start()

    def publish(self, value: float) -> None:
        self._client.publish("plant/water", str(value), qos=1).wait_for_publish(5)

    def states(self) -> list[tuple[str, str]]:
        return [(e["rule"], e["state"]) for e in list(self.events)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_message = None


@pytest.fixture
def operator(mosquitto: Any) -> Iterator[Operator]:
    made = Operator(mosquitto.port)
    yield made
    made.close()


@contextmanager
def service(config: Path, **more: str) -> Iterator[Callable[..., None]]:
    """The service, with `more` in its environment; gives a wait for a condition while it lives. Ends in good order."""
    log = config.with_suffix(".log")
    with log.open("ab") as out:
        began = out.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "stream", "run", str(config)], stdout=out, stderr=out, env={**os.environ, **more}
        )

    def until(true: Callable[[], object], limit_s: float = 20.0) -> None:
        deadline = time.monotonic() + limit_s
        while not true():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.02)

    try:
        until(lambda: "source.broker" in log.read_text()[began:])
        yield until
        process.terminate()
        assert process.wait(20) == 0, log.read_text()[-3000:]
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow_fault
@pytest.mark.parametrize("offset", ["@1970-01-01 00:01:00", "+3600s", "-3600s"], ids=["1970", "ahead", "behind"])
def test_a_clock_that_is_wrong_at_the_start_and_set_right_makes_no_storm_and_loses_no_alarm(
    mosquitto: Any,
    operator: Operator,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    offset: str,
) -> None:
    if LIBRARY is None:
        pytest.skip("faketime is not installed: apt-get install faketime")
    # Not behind `faketime` itself: a signal would end that and not the service.
    wrong = {"LD_PRELOAD": str(LIBRARY), "FAKETIME": offset}
    config = tmp_path / "givre.yaml"
    config.write_text(CONFIG.format(port=mosquitto.port))
    with service(config, **wrong) as until:
        operator.publish(5.0)
        operator.publish(5.5)
        until(lambda: operator.states() == [("tolerance", "unacknowledged")])
    with service(config) as until:
        operator.publish(5.6)
        operator.publish(5.0)
        until(lambda: ("tolerance", "returned_unacknowledged") in operator.states())
        operator.publish(5.5)
        until(lambda: operator.states().count(("tolerance", "unacknowledged")) == 2)
    record_property("figure", f"{offset}: {len(operator.events)} events of 2 crossings and a return")
    assert operator.states() == [
        ("tolerance", "unacknowledged"),
        ("tolerance", "returned_unacknowledged"),
        ("tolerance", "unacknowledged"),
    ]
    with closing(Journal(tmp_path / "state/journal.sqlite3", max_size_mb=64, keep_days=30)) as journal:
        kept = [r for r in journal.history(kinds={Sample}) if isinstance(r, Sample)]
    assert [sample.value for sample in kept] == [5.0, 5.5, 5.6, 5.0, 5.5]
    assert abs((kept[2].arrived_at - kept[1].arrived_at).total_seconds()) > 3000  # the clock was wrong indeed

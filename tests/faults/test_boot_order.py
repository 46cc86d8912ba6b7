"""After a power cut machines come back in any order: does Givre wait for each, and is it well once the last is there?"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = """\
site: test
state_folder: state
panel: {{members: [persistence]}}
http: {{port: {http}}}
sources:
  broker: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: in}}
  plc: {{type: opcua, endpoint: '{endpoint}', namespace: '{namespace}'}}
sinks:
  alerts: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: out}}
  database: {{type: influxdb, version: 1, url: '{url}', bucket: givre}}
assets:
  hx:
    tags:
      water: {{unit: degC, period_s: 0.5, hold_s: 3600, source: {{name: broker, topic: plant/water}}}}
      air: {{unit: degC, period_s: 0.5, hold_s: 3600, source: {{name: plc, node: s=x/a}}}}
"""
ALL = ("broker", "database", "plc", "givre")
ORDERS = [whole[i:] + whole[:i] for whole in (ALL, ALL[::-1]) for i in range(len(ALL))]
"""Each has its turn to be first and last, and each pair comes in both orders."""


def health(port: int) -> tuple[int, str]:
    """Status and text of /health; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


@pytest.mark.slow_fault
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_in_whatever_order_its_servers_come_it_is_well_soon_after_the_last(  # noqa: PLR0917 - servers are fixtures
    order: tuple[str, ...],
    mosquitto: Any,
    influxd: Any,
    ua_server: Any,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    mosquitto.stop()
    influxd.stop()
    with socket.create_server(("127.0.0.1", 0)) as s, socket.create_server(("127.0.0.1", 0)) as other:
        http = s.getsockname()[1]
        plc = type(ua_server)(other.getsockname()[1])
    config = tmp_path / "givre.yaml"
    config.write_text(
        CONFIG.format(port=mosquitto.port, http=http, url=influxd.url, endpoint=plc.endpoint, namespace=plc.namespace)
    )
    log = tmp_path / "log"
    process: subprocess.Popen[bytes] | None = None
    ended = -1

    def start_givre() -> None:
        nonlocal process
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-m", "stream", "run", str(config)], stdout=out, stderr=out)
        until(lambda: health(http)[0])

    def until(true: Callable[[], object], limit_s: float = 20.0) -> None:
        deadline = time.monotonic() + limit_s
        while not true():
            assert process is None or process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, f"{health(http)} {log.read_text()[-2000:]}"
            time.sleep(0.05)

    start = {"broker": mosquitto.start, "database": influxd.start, "plc": plc.start, "givre": start_givre}
    try:
        for name in order[:-1]:
            start[name]()
            if process is not None:
                until(lambda: health(http)[0] == 503)
                time.sleep(3)  # its waits have grown
        start[order[-1]]()
        began = time.monotonic()
        until(lambda: health(http)[0] == 200)
        took_s = time.monotonic() - began
        record_property("figure", f"{' - '.join(order)}: well after {took_s:.1f} s")
        assert took_s < 10
    finally:
        if process is not None:
            process.terminate()
            ended = process.wait(20)
        plc.kill()
    assert ended == 0

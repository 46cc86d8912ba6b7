"""Messages that nobody asked for, and texts that would pass for something else: a running service against a real broker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

GROWTH = 20 * 2**20
FORGED = "CRITICAL stream.pipeline: the plant is on fire"


def flood(port: int, topics: int, nonsense: int) -> None:
    """Messages under topics that nobody follows, and under the one that is followed such as are no value."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="flood")
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for i in range(topics):
        client.publish(f"plant/water/{i}", "5.5")
    for i in range(nonsense):
        sent = client.publish("plant/water", f'{{"new tag {i}": {i}}}', qos=1)
        if i % 10_000 == 9_999:  # the client itself holds few more
            sent.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("topics", "nonsense"), [(20_000, 10_000), pytest.param(900_000, 100_000, marks=pytest.mark.slow_fault)]
)
def test_what_nobody_asked_for_costs_no_memory_and_what_counts_comes_through(
    mosquitto: Any,
    run_service: Any,
    witness: Any,
    configuration: Any,
    *,
    topics: int,
    nonsense: int,
    record_property: Callable[[str, object], None],
) -> None:
    service = run_service(configuration(mosquitto.port))
    seen = witness(mosquitto.port)
    service.until(lambda: seen.messages)
    seen.publish("plant/water", "5.0")
    service.until(lambda: len(service.family()) > 1)
    before = memory(service.pid)
    flood(mosquitto.port, topics, nonsense)
    seen.publish("plant/water", "5.5")
    service.until(lambda: any(topic.endswith("/event") for topic, _ in seen.messages), 120)
    grown = memory(service.pid) - before
    record_property("figure", f"{topics + nonsense:,} messages: +{grown / 2**20:.1f} MB")
    assert grown < GROWTH
    assert service.close() == 0


def test_a_message_makes_no_line_of_the_log(mosquitto: Any, run_service: Any, witness: Any, configuration: Any) -> None:
    service = run_service(configuration(mosquitto.port))
    seen = witness(mosquitto.port)
    service.until(lambda: seen.messages)
    for payload in (f"x\n{FORGED}", f'{{"value": "a\\n{FORGED}"}}', f"\r<0>{FORGED}"):
        seen.publish("plant/water", payload)
    seen.publish("plant/water", "5.5")
    service.until(lambda: any(topic.endswith("/event") for topic, _ in seen.messages))
    assert service.close() == 0
    assert not [line for line in service.log.splitlines() if line.lstrip("\r<0>").startswith("CRITICAL")]

"""A changed configuration in the running service: used if it is right, refused if it is wrong, and nothing is lost either way."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Follower, Service

EVERY_S = 0.005


def test_no_sample_is_lost_or_doubled_over_two_reloads_and_a_refused_one(service: Service, follower: Follower) -> None:
    free_port = _free_port()  # the fixture's is the broker's
    first = (
        service.config.read_text()
        .replace("low: -20, high: 60", "low: -20, high: 1000000")
        # What was taken and not confirmed before the stop comes again: by its source time it is known.
        .replace("topic: plant/water}", "topic: plant/water, value: $.v, time: $.t}")
    )
    service.config.write_text(first)
    service.start()
    stop, sent = threading.Event(), 0

    def publish() -> None:
        nonlocal sent
        while not stop.wait(EVERY_S):
            follower.publish("plant/water", json.dumps({"v": sent, "t": time.time()}))
            sent += 1

    plant = threading.Thread(target=publish)
    plant.start()
    try:
        service.until(lambda: sent > 50, "the plant does not publish")
        service.config.write_text(first + f"http: {{port: {free_port}}}\n")
        service.tell(signal.SIGHUP)
        service.until(lambda: _health(free_port).get("ok") is True, "the changed file was not used")

        service.config.write_text(first + "sites: two\n")
        service.tell(signal.SIGHUP)
        service.until(lambda: "config" in _health(free_port)["wrong"], "the wrong file was not named")
        assert "sites" in _health(free_port)["wrong"]["config"]

        service.config.write_text(first)
        service.tell(signal.SIGHUP)
        service.until(lambda: not _health(free_port), "the file was not used again")
        at = sent
        service.until(lambda: sent > at + 50, "the plant does not publish")
    finally:
        stop.set()
        plant.join()
    deadline = time.monotonic() + 10
    while len(_values(service)) < sent and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sorted(_values(service)) == list(range(sent))
    assert "Traceback" not in service.log.read_text()
    assert service.end(signal.SIGTERM) == 0
    told = re.findall(r" audit: (GV1\d\d) ", service.log.read_text())
    assert [told[0], told[-1]] == ["GV100", "GV101"]
    assert told.count("GV111") == 1
    digest = hashlib.sha256(first.encode()).hexdigest()
    assert f"GV110 SIGHUP: configuration {service.config} with sha256 {digest}" in service.log.read_text()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _health(port: int) -> dict[str, Any]:
    """What the service says of itself; empty while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))
    except OSError:
        return {}


def _values(service: Service) -> list[int]:
    lines = service.say("history", "--json", "--kind", "sample", "--limit", "100000").stdout.splitlines()
    return [round(json.loads(line)["value"]) for line in lines]

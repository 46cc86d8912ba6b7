"""`givre doctor` beside the running service: one page that is right, and says what to do."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Follower, Service


def test_the_page_tells_what_runs_and_then_what_was_broken(
    service: Service, follower: Follower, mosquitto: Any
) -> None:
    assert "start the service: systemctl start givre" in service.say("doctor").stdout
    service.start()
    follower.publish("plant/water", "5.5")
    service.until(lambda: follower.states("tolerance") == ["unacknowledged"], "no alarm was raised")
    service.until(lambda: "0 records wait" in _page(service)[1]["journal", "ok"], "the sink did not catch up")
    code, found = _page(service)
    assert code == 0, found
    assert "last sample" in found["tags", "ok"]
    assert "hx/water/tolerance: unacknowledged" in found["alarms", "look"]
    assert "sink alerts: 0 records wait" in found["journal", "ok"]
    assert "source.broker: connected" in found["parts", "ok"]
    assert "every source, sink and tag can be had" in found["endpoints", "ok"]

    assert service.end(signal.SIGTERM) == 0
    mosquitto.stop()
    code, found = _page(service)
    assert code == 1
    assert "service: stopped" in found["parts", "bad"]
    assert "source broker: " in found["config", "bad"]
    printed = service.say("doctor", "--no-connect").stdout
    assert "what to do next\n  1. start the service: systemctl start givre" in printed


def test_a_configuration_that_cannot_be_read_is_said(service: Service) -> None:
    service.config.write_text("site: test\n")
    answer = service.say("doctor")
    assert answer.returncode == 1
    assert "put right: " in answer.stdout
    assert "Traceback" not in answer.stderr


def _page(service: Service) -> tuple[int, dict[tuple[str, str], str]]:
    answer = service.say("doctor", "--json")
    found: dict[tuple[str, str], str] = {}
    for one in json.loads(answer.stdout)["findings"]:
        key = one["part"], one["level"]
        found[key] = found.get(key, "") + one["text"] + "\n"
    return answer.returncode, found

"""Does anything go from Givre to the plant? Seen at the broker, which tells what each of its clients sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def test_the_running_service_publishes_below_its_own_topic_alone(
    mosquitto: Any, run_service: Any, witness: Any, configuration: Any, tmp_path: Path
) -> None:
    mosquitto.stop()
    mosquitto.start("allow_anonymous true", "log_type all")
    seen = witness(mosquitto.port)
    service = run_service(configuration(mosquitto.port))
    service.until(lambda: "SUBSCRIBE from in" in mosquitto.log.read_text())
    for payload in ("5.0", "5.5", "off", '{"value": 1}', "5.0"):
        seen.publish("plant/water", payload)
    service.until(lambda: sum(topic.endswith("/event") for topic, _ in seen.messages) >= 2)
    # The broker away and back in mid-stream: nothing else is said then either.
    mosquitto.stop()
    mosquitto.start()
    service.until(lambda: mosquitto.log.read_text().count("SUBSCRIBE from in") >= 2)
    assert service.close() == 0
    sent = [line.split("'")[1] for line in mosquitto.log.read_text().splitlines() if "PUBLISH from in" in line]
    sent += [line.split("'")[1] for line in mosquitto.log.read_text().splitlines() if "PUBLISH from out" in line]
    assert len(sent) > 3
    assert [topic for topic in sent if not topic.startswith("givre/test/")] == []

"""A backup taken while the service writes is whole, and an installation started from it goes on with alarms and samples."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Follower, Service


def test_a_backup_of_a_writing_service_is_restored_with_its_alarm_and_its_samples(
    service: Service, follower: Follower, tmp_path: Path
) -> None:
    service.start()
    follower.publish("plant/water", "5.5")
    service.until(lambda: follower.states("tolerance") == ["unacknowledged"], "no alarm was raised")
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.005):
            follower.publish("plant/water", "5.6")

    plant = threading.Thread(target=publish)
    plant.start()
    try:
        made = service.say("backup", "--to", str(tmp_path / "copy"))
    finally:
        stop.set()
        plant.join()
    assert made.returncode == 0, made.stderr
    again = service.say("backup", "--to", str(tmp_path / "copy"))
    assert again.returncode == 1
    assert "nothing is overwritten" in again.stderr

    service.end(signal.SIGKILL)
    shutil.rmtree(tmp_path / "state")
    shutil.copytree(tmp_path / "copy", tmp_path / "state")
    samples = service.say("history", "--json", "--kind", "sample", "--limit", "100000").stdout.splitlines()
    assert json.loads(samples[0])["value"] == 5.5
    assert "hx/water/tolerance" in service.say("alarms", "list").stdout
    service.start()
    follower.publish("plant/water", "5.0")
    service.until(lambda: follower.states("tolerance")[-1] == "returned_unacknowledged", "the alarm was not cleared")
    assert follower.states("tolerance").count("unacknowledged") == 1

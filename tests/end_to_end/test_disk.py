"""The disk under the state folder has become read-only: limits are watched all the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Follower, Service


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own under the state folder."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    folder = tmp_path / "state"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if mounted := subprocess.run(command, capture_output=True, text=True, check=False).stderr:
        pytest.skip(f"no disk can be mounted here: {mounted.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own under the state folder, of a kind that the system makes read-only when it fails."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("only root can make a disk, with mkfs.ext4")
    folder, image = tmp_path / "state", tmp_path / "disk.image"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(32 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", str(image), str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def told(follower: Follower) -> list[str]:
    return [m["detail"] for topic, m, _ in list(follower.messages) if topic.endswith("/status/service")]


def test_on_a_disk_that_has_become_read_only_alarms_go_on_as_they_were_left(
    service: Service, follower: Follower, disk: Path
) -> None:
    service.start()
    follower.publish("plant/water", "5.5")
    service.until(lambda: follower.states("tolerance") == ["unacknowledged"], "no alarm was raised")
    assert service.say("alarms", "ack", "hx/water/tolerance", "--by", "ana").returncode == 0
    service.until(lambda: follower.states("tolerance")[-1] == "acknowledged", "the acknowledgement had no effect")
    assert service.end(signal.SIGTERM) == 0

    remount(disk, "ro")
    checked = service.say("check")
    assert checked.returncode == 0, checked.stdout
    assert "the disk takes nothing" in checked.stdout + checked.stderr
    service.start()
    said = service.log.read_text()
    assert "the state folder cannot be written" in said
    assert "alarms begin as they were left" in said
    follower.publish("plant/water", "5.0")
    service.until(lambda: follower.states("tolerance")[-1] == "normal", "it did not know the alarm any more")
    follower.publish("plant/water", "5.6")
    service.until(lambda: follower.states("tolerance")[-1] == "unacknowledged", "it raised none")
    sequences = [m["sequence"] for topic, m, _ in follower.messages if topic.endswith("/event")]
    assert sequences == [1, 2, 3, 4]
    assert service.end(signal.SIGTERM) == 0
    assert "Traceback" not in service.log.read_text()

    remount(disk, "rw")
    service.start()
    service.until(lambda: told(follower)[-2:] == ["stopped", "running"], "it is not well again")


def test_a_disk_that_becomes_read_only_under_the_running_service_costs_no_alarm(
    service: Service, follower: Follower, failing_disk: Path
) -> None:
    service.start()
    follower.publish("plant/water", "5.5")
    service.until(lambda: follower.states("tolerance") == ["unacknowledged"], "no alarm was raised")
    began = len(service.log.read_text())
    remount(failing_disk, "abort")
    follower.publish("plant/water", "5.0")
    service.until(lambda: "the state folder cannot be written" in service.log.read_text()[began:], "it did not notice")
    service.until(lambda: len(follower.states("tolerance")) == 2, "what happened meanwhile was not told")
    follower.publish("plant/water", "5.6")
    service.until(lambda: len(follower.states("tolerance")) == 3, "it judges no more")
    assert follower.states("tolerance") == ["unacknowledged", "returned_unacknowledged", "unacknowledged"]
    sequences = [m["sequence"] for topic, m, _ in follower.messages if topic.endswith("/event")]
    assert sequences == [1, 2, 3]
    assert service.end(signal.SIGTERM) == 0
    assert "Traceback" not in service.log.read_text()

"""Fixtures that more than one folder of tests needs: free ports, and real servers on loopback."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

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

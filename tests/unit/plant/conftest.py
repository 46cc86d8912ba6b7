"""Fixtures of the plant's tests."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def free_mqtt_port(free_port: int) -> int:
    """A second free port, never the same as `free_port`."""
    with socket.socket() as taken, socket.socket() as other:
        taken.bind(("127.0.0.1", free_port))
        other.bind(("127.0.0.1", 0))
        return int(other.getsockname()[1])

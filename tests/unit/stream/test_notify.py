"""The notifier, heard by a socket of our own in the supervisor's place."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from stream.notify import Notifier, watchdog_interval_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket, and its address as $NOTIFY_SOCKET spells it."""
    name = f"givre-test-{os.getpid()}"
    address, spelt = ("\0" + name, "@" + name) if request.param == "abstract" else (str(tmp_path / "n"),) * 2
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(address)
        s.settimeout(1.0)
        yield s, spelt


def test_each_word_reaches_the_supervisor(supervisor: tuple[socket.socket, str]) -> None:
    s, address = supervisor
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
    notifier.ready()
    notifier.status("3 tags,\none of them stale")
    notifier.beat()
    notifier.stopping()
    assert [s.recv(500) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=3 tags, one of them stale",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_a_reload_carries_the_clock_that_systemd_compares(supervisor: tuple[socket.socket, str]) -> None:
    s, address = supervisor
    Notifier(address).reloading()
    word, _, clock = s.recv(500).decode().partition("\n")
    assert word == "RELOADING=1"
    assert int(clock.removeprefix("MONOTONIC_USEC=")) > 0


def test_a_thousand_beats_in_one_interval_are_one_notification(supervisor: tuple[socket.socket, str]) -> None:
    s, address = supervisor
    now = 100.0
    notifier = Notifier(address, interval_s=15.0, monotonic=lambda: now)
    for _ in range(1000):
        notifier.beat()
    now = 115.0
    notifier.beat()
    notifier.stopping()
    assert [s.recv(500) for _ in range(3)] == [b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_without_a_watchdog_a_beat_says_nothing(supervisor: tuple[socket.socket, str]) -> None:
    s, address = supervisor
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.beat()
    notifier.ready()
    assert s.recv(500) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    notifier = Notifier.from_environment({**environment, "WATCHDOG_USEC": "1000000"})
    notifier.ready()
    notifier.beat()
    notifier.stopping()


def test_a_supervisor_that_does_not_read_never_blocks_us(supervisor: tuple[socket.socket, str]) -> None:
    _, address = supervisor
    notifier = Notifier(address, interval_s=0.0)
    for _ in range(10_000):
        notifier.beat()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid())}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_interval_is_half_of_what_is_allowed_to_the_watched_process(
    environment: dict[str, str], expected: float | None
) -> None:
    assert watchdog_interval_s(environment) == expected

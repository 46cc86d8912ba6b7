"""What the journal of systemd is sent, over a real socket."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.audit import Event, audit
from stream.log_line import OneLine
from stream.system_log import SystemLog, stderr_is_the_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Heard(logging.Handler):
    """Keeps the lines that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def fields(datagram: bytes) -> dict[str, str]:
    """A datagram read as the protocol says: name, line end, length, that many bytes, line end."""
    found = {}
    while datagram:
        name, _, datagram = datagram.partition(b"\n")
        length = int.from_bytes(datagram[:8], "little")
        found[name.decode()] = datagram[8 : 8 + length].decode()
        assert datagram[8 + length : 9 + length] == b"\n"
        datagram = datagram[9 + length :]
    return found


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "socket"))
        bound.settimeout(5)
        yield bound


@pytest.fixture
def log(journal: socket.socket) -> Iterator[SystemLog]:
    made = SystemLog(Heard(), address=journal.getsockname())
    made.setFormatter(OneLine())
    yield made
    made.close()


def test_an_event_is_sent_with_its_id_and_its_weight(
    journal: socket.socket, log: SystemLog, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        audit(Event.COMMAND_REFUSED, "no such alarm")
    log.handle(caplog.records[-1])
    assert fields(journal.recv(65536)) == {
        "MESSAGE": "WARNING audit: GV301 no such alarm",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "givre",
        "LOGGER": "audit",
        "GIVRE_EVENT": "GV301",
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_whatever_a_text_holds_it_begins_no_other_field(journal: socket.socket, log: SystemLog, text: str) -> None:
    log.handle(logging.LogRecord("x", logging.ERROR, "f", 1, "%s", (text + "\nPRIORITY=0\n",), None))
    found = fields(journal.recv(2**20))
    assert set(found) == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER"}
    assert found["PRIORITY"] == "3"


def test_what_cannot_be_sent_goes_the_usual_way(tmp_path: Path) -> None:
    heard = Heard()
    log = SystemLog(heard, address=tmp_path / "nobody")
    log.handle(logging.LogRecord("x", logging.INFO, "f", 1, "still said", (), None))
    log.close()
    assert heard.lines == ["still said"]


def test_stderr_is_the_journal_where_systemd_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as file:
        monkeypatch.setattr("sys.stderr", file)
        there = os.fstat(file.fileno())
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert not stderr_is_the_journal()
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino + 1}")
        assert not stderr_is_the_journal()
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")
        assert stderr_is_the_journal()

"""Each event that somebody may ask for later is a line with an id, and the page says what each id means."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from detectors.records import Status
from stream.audit import Event, audit_status

PAGE = Path(__file__).parents[3] / "docs/operate.md"


def status(subject: str, *, ok: bool = True, detail: str = "d") -> Status:
    return Status(subject=subject, ok=ok, detail=detail, at=datetime(2026, 1, 1, tzinfo=UTC))


def test_the_page_has_every_id_once_and_no_other() -> None:
    assert re.findall(r"^\| `(GV\d+)` \|", PAGE.read_text(), re.MULTILINE) == [event.value for event in Event]


@pytest.mark.parametrize(
    ("subject", "ok", "said"),
    [
        ("source.plc", True, "INFO GV200 source.plc: d"),
        ("source.plc", False, "WARNING GV201 source.plc: d"),
        ("sink.store", False, "WARNING GV201 sink.store: d"),
        ("config", False, "WARNING GV111 config: d"),
        ("model", True, "INFO GV400 model: d"),
        ("model", False, "WARNING GV401 model: d"),
        ("model.memory", False, "WARNING GV501 model.memory: d"),
        ("journal", True, "INFO GV500 journal: d"),
    ],
)
def test_a_part_is_told_with_the_id_of_its_kind(
    caplog: pytest.LogCaptureFixture, subject: str, ok: bool, said: str
) -> None:
    with caplog.at_level(logging.INFO, logger="audit"):
        audit_status(status(subject, ok=ok), None)
    assert [f"{one.levelname} {one.message}" for one in caplog.records] == [said]


def test_what_is_as_it_was_is_not_told_again_but_another_model_or_reason_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="audit"):
        audit_status(status("source.plc", detail="following 3 tags"), status("source.plc", detail="following 2 tags"))
        audit_status(status("service"), None)
        audit_status(
            status("sink.db", ok=False, detail="away, 12 wait"), status("sink.db", ok=False, detail="away, 9 wait")
        )
        assert caplog.records == []
        audit_status(status("model", detail="m with winter"), status("model", detail="m"))
        audit_status(status("source.plc", ok=False, detail="refused"), status("source.plc", ok=False, detail="away"))
    assert [one.message for one in caplog.records] == ["GV400 model: m with winter", "GV201 source.plc: refused"]

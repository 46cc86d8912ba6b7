"""The files beside the data."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from plant.faults import parse_schedule
from plant.record import Record, stamp
from plant.sensor import Reading

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 5, 23, 59, 0, tzinfo=UTC)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_fault_is_labelled_with_its_planned_end(tmp_path: Path) -> None:
    (fault,) = parse_schedule("sensor_drift:inlet=-1.5@30+60")
    with Record(tmp_path / "new" / "folder") as record:
        record.label(fault, START)
    assert _rows(tmp_path / "new" / "folder" / "labels.csv") == [
        {
            "kind": "sensor_drift",
            "tag": "inlet",
            "begin_at": "2026-01-05T23:59:30.000Z",
            "end_at": "2026-01-06T00:00:30.000Z",
            "size": "-1.5",
        }
    ]


def test_reports_are_on_disk_after_a_flush_and_a_bad_one_has_no_value(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        record.sent("mqtt", Reading(tag="flow", value=131.2), START)
        record.sent("opcua", Reading(tag="flow", value=None, reason="BadSensorFailure"), START + timedelta(seconds=1))
        record.flush()
        rows = _rows(tmp_path / "sent.csv")
    assert [list(row.values()) for row in rows] == [
        ["mqtt", "flow", "2026-01-05T23:59:00.000Z", "131.2", "good"],
        ["opcua", "flow", "2026-01-05T23:59:01.000Z", "", "bad"],
    ]


def test_a_new_run_replaces_the_files_of_the_last(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        record.sent("mqtt", Reading(tag="flow", value=1.0), START)
    with Record(tmp_path):
        pass
    assert _rows(tmp_path / "sent.csv") == []


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=2))])
def test_times_are_written_in_utc_with_z(zone: timezone) -> None:
    assert stamp(START.astimezone(zone)) == "2026-01-05T23:59:00.000Z"

"""History kept as Parquet: the same two layouts, and what is wrong in a row costs that row."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from stream.sources.history import EveryTag, HistoryError
from stream.sources.parquet import read_parquet

if TYPE_CHECKING:
    from pathlib import Path

    from stream.sources.source import Rejection

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def read(tmp_path: Path):
    """Call it with columns to get the samples of such a file as (tag, moment, value), and the reasons of rejections."""

    def call(
        columns: dict[str, Any], timezone: str = "UTC"
    ) -> tuple[list[tuple[str, datetime, float | None]], list[str]]:
        path = tmp_path / "h.parquet"
        parquet.write_table(pa.table(columns), path)
        refused: list[Rejection] = []
        samples = list(read_parquet(path, tags=EveryTag(), timezone=timezone, reject=refused.append))
        return [(s.tag, s.source_at, s.value) for s in samples], [r.reason for r in refused]

    return call


def test_a_column_per_tag_with_blanks(read) -> None:
    rows, refused = read({"timestamp": [NOON, NOON.replace(hour=13)], "flow": [1.5, None], "water": [5, 6]})
    assert rows == [("flow", NOON, 1.5), ("water", NOON, 5.0), ("water", NOON.replace(hour=13), 6.0)]
    assert refused == []


def test_a_row_per_change(read) -> None:
    rows, _ = read({"date": [NOON, NOON], "tag": ["flow", "water"], "value": [1.0, 2.0]})
    assert rows == [("flow", NOON, 1.0), ("water", NOON, 2.0)]


def test_moments_without_a_zone_are_in_the_given_one(read) -> None:
    rows, _ = read({"when": [datetime(2026, 7, 1, 14)], "flow": [1.0]}, timezone="Europe/Paris")
    assert rows == [("flow", NOON, 1.0)]


def test_days_and_written_dates_are_read_as_well(read) -> None:
    assert read({"date": [date(2026, 7, 1)], "flow": [1.0]})[0] == [("flow", NOON.replace(hour=0), 1.0)]
    assert read({"date": ["01/07/2026 12:00"], "flow": [1.0]})[0] == [("flow", NOON, 1.0)]


def test_what_is_no_date_and_no_number_is_left_out_with_its_reason(read) -> None:
    rows, refused = read({"date": ["31/02/2026", "01/07/2026"], "flow": [1.0, math.inf], "state": ["on", "off"]})
    assert rows == []
    assert refused == ["impossible_date", "not_finite", "unparsable"]


def test_a_file_that_is_no_history_is_an_error(tmp_path: Path, read) -> None:
    path = tmp_path / "torn.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(HistoryError, match="expected a Parquet file that can be read"):
        list(read_parquet(path, tags=EveryTag()))
    with pytest.raises(HistoryError, match="expected one column of dates"):
        read({"flow": [1.0]})
    with pytest.raises(HistoryError, match="expected a column of a tag"):
        read({"date": ["01/07/2026"]})
    with pytest.raises(HistoryError, match="time zone: expected a name"):
        read({"date": ["01/07/2026"], "flow": [1.0]}, timezone="Paris, probably")

"""Records to rows and back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.facts import Facts, Part
from detectors.records import (
    AlarmState,
    Alert,
    Explanation,
    Forecast,
    Mark,
    Priority,
    Quality,
    Record,
    Sample,
    Score,
    Standing,
    Status,
    Verdict,
)
from stream.journal.entry import decode, encode, micros, moment

moments = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1))
numbers = st.floats(allow_nan=False, allow_infinity=False)
tags = st.text(min_size=1)
samples = st.builds(
    Sample,
    tag=tags,
    value=numbers,
    source_at=moments,
    arrived_at=moments,
    quality=st.just(Quality.GOOD),
    reason=st.just(""),
) | st.builds(
    Sample,
    tag=tags,
    value=st.none(),
    source_at=moments,
    arrived_at=moments,
    quality=st.just(Quality.BAD),
    reason=st.text(),
)
samples |= st.builds(
    Sample,
    tag=tags,
    value=numbers,
    source_at=moments,
    arrived_at=moments,
    quality=st.just(Quality.UNCERTAIN),
    reason=st.text(),
)
maybe = st.none() | numbers
parts = st.builds(Part, tag=tags, value=maybe, expected=maybe, usual=maybe, share=maybe, unit=st.text())
facts = st.builds(
    Facts,
    code=st.text(),
    figures=st.lists(st.tuples(tags, numbers), max_size=3).map(tuple),
    parts=st.lists(parts, max_size=2).map(tuple),
)
verdicts = st.builds(
    Verdict, tag=tags, rule=tags, at=moments, score=numbers, value=maybe, low=maybe, high=maybe, probability=maybe,
    lead_s=maybe, facts=st.none() | facts,
)  # fmt: skip
alerts = st.builds(
    Alert, tag=tags, rule=tags, sequence=st.integers(1, 2**40), state=st.sampled_from(AlarmState),
    previous=st.sampled_from(AlarmState), at=moments, since=moments, priority=st.sampled_from(Priority), text=st.text(),
    verdict=st.none() | verdicts, by=st.text(), unit=st.text(),
)  # fmt: skip
rows = st.lists(st.lists(numbers, min_size=7, max_size=7).map(tuple), min_size=1, max_size=3).map(tuple)
forecasts = st.builds(
    Forecast, tag=tags, forecaster=tags, made_at=moments, period_s=st.floats(0.01, 1e6), quantiles=rows, paths=rows
)
scores = st.builds(
    Score, tag=tags, forecaster=tags, at=moments, value=numbers, pit=st.floats(0, 1), log_score=numbers,
    log_probability=numbers, outside=st.booleans(),
)  # fmt: skip
standings = st.builds(
    Standing, tag=tags, at=moments, lead=st.integers(1, 512), lead_s=numbers, steps=st.integers(0, 2**40),
    weights=st.lists(st.tuples(tags, numbers), max_size=3).map(tuple), coverage80=maybe, coverage90=maybe, skill=maybe,
)  # fmt: skip
marks = st.builds(Mark, at=moments, command=st.text(), forecasts=st.integers(0, 10_000), back_s=numbers)
explanations = st.builds(
    Explanation, tag=tags, rule=tags, sequence=st.integers(1, 2**40), at=moments, text=st.text(), by_model=st.booleans()
)
statuses = st.builds(Status, subject=tags, ok=st.booleans(), detail=st.text(), at=moments)


def kept(record: Record) -> Record:
    """What the journal promises to give back."""
    if isinstance(record, Alert) and record.verdict is not None:
        # A verdict belongs to the tag of its alert.
        record = replace(record, verdict=replace(record.verdict, tag=record.tag))
    return replace(record, paths=()) if isinstance(record, Forecast) else record


@given(samples | verdicts | alerts | forecasts | statuses | scores | standings | marks | explanations)
def test_what_goes_in_comes_out_but_for_the_paths_of_a_forecast(record: Record) -> None:
    assert decode(encode(record)) == kept(record)


@given(st.lists(samples | verdicts | alerts | forecasts | statuses, max_size=5))
def test_sqlite_changes_nothing_of_a_row(records: list[Record]) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE entry (kind INTEGER, tag TEXT, at INTEGER, value REAL, body TEXT)")
        db.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", [encode(kept(record)) for record in records])
        rows = db.execute("SELECT kind, tag, at, value, body FROM entry ORDER BY rowid").fetchall()
    assert [decode(row) for row in rows] == [kept(record) for record in records]


@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)])
def test_the_ends_of_the_calendar_fit(at: datetime) -> None:
    assert moment(micros(at)) == at
    assert -(2**63) < micros(at) < 2**63


def test_a_moment_of_another_zone_is_the_same_moment() -> None:
    at = datetime(2026, 7, 1, 14, tzinfo=ZoneInfo("Europe/Paris"))
    assert moment(micros(at)) == at
    assert moment(micros(at)).tzinfo is UTC

"""Records to rows and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from detectors.records import AlarmState, Alert, Forecast, Priority, Quality, Record, Sample, Status, Verdict
from stream.entry import decode, encode

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
maybe = st.none() | numbers
verdicts = st.builds(
    Verdict, tag=tags, rule=tags, at=moments, score=numbers, value=maybe, low=maybe, high=maybe, probability=maybe,
    lead_s=maybe, detail=st.text(),
)  # fmt: skip
alerts = st.builds(
    Alert, tag=tags, rule=tags, sequence=st.integers(1, 2**40), state=st.sampled_from(AlarmState),
    previous=st.sampled_from(AlarmState), at=moments, since=moments, priority=st.sampled_from(Priority), text=st.text(),
    verdict=st.none() | verdicts, by=st.text(),
)  # fmt: skip
rows = st.lists(st.lists(numbers, min_size=7, max_size=7).map(tuple), min_size=1, max_size=3).map(tuple)
forecasts = st.builds(
    Forecast, tag=tags, forecaster=tags, made_at=moments, period_s=st.floats(0.01, 1e6), quantiles=rows, paths=rows
)
statuses = st.builds(Status, subject=tags, ok=st.booleans(), detail=st.text(), at=moments)


@given(samples | verdicts | alerts | forecasts | statuses)
def test_what_goes_in_comes_out_but_for_the_paths_of_a_forecast(record: Record) -> None:
    if isinstance(record, Alert) and record.verdict is not None:
        # A verdict belongs to the tag of its alert.
        record = replace(record, verdict=replace(record.verdict, tag=record.tag))
    expected = replace(record, paths=()) if isinstance(record, Forecast) else record
    assert decode(encode(record)) == expected

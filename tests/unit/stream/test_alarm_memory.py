"""An alarm's memory on its way to the journal and back."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from detectors.alarm import Memory
from detectors.records import AlarmState
from stream.alarm_memory import dump, load

moments = st.one_of(st.none(), st.datetimes(timezones=st.just(UTC), min_value=datetime(1971, 1, 1)))
memories = st.builds(
    Memory,
    state=st.sampled_from(AlarmState),
    sequence=st.integers(0, 10**12),
    since=moments,
    changing_since=moments,
    silence=st.sampled_from([None, AlarmState.SHELVED, AlarmState.OUT_OF_SERVICE]),
    silent_until=moments,
    accepted=st.booleans(),
)


@given(st.dictionaries(st.text(min_size=1), memories))
def test_what_goes_in_comes_out(known: dict[str, Memory]) -> None:
    assert load(dump(known)) == known


def test_what_an_earlier_version_saved_is_read() -> None:
    text = '{"state": "acknowledged", "sequence": 7, "since": "2026-01-01T00:00:00+00:00", "changing_since": null}'
    since = datetime(2026, 1, 1, tzinfo=UTC)
    assert load({"alarm:hx/t/x": text}) == {"hx/t/x": Memory(state=AlarmState.ACKNOWLEDGED, sequence=7, since=since)}

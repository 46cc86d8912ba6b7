"""Which symbol may come next in an answer?"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.language.grammar import END, SYMBOLS, date_text, notation

values = st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=20)


@given(values, st.data())
def test_whatever_is_allowed_is_a_number_of_json_within_bounds(known: list[float], data: st.DataObject) -> None:
    number = notation(known)
    said = ""
    while not said.endswith(END):
        may = number.may(said)
        assert may
        assert set(may) <= set(SYMBOLS)
        said += data.draw(st.sampled_from(may))
        assert len(said) <= number.whole + number.decimals + 3
    value = number.read(said.removesuffix(END))
    assert math.isfinite(value)
    assert math.isfinite(float(json.loads(said.removesuffix(END))))
    assert abs(value) <= 10.0 ** (number.whole + number.power)


@given(values)
def test_the_past_is_written_as_an_answer_would_be(known: list[float]) -> None:
    number = notation(known)
    for value in known:
        text = number.write(value)
        said = ""
        for symbol in (*text, END):
            assert symbol in number.may(said), f"{text}: {symbol} after {said!r}"
            said += symbol
        span = max(known) - min(known)
        assert number.read(text) == pytest.approx(value, abs=max(6e-4 * span, 1e-5 * max(map(abs, known)), 1e-300))


@pytest.mark.parametrize(
    ("known", "texts"),
    [
        ([51_234.0, 60_001.0], ["51234", "60001"]),
        ([4.9, 5.0, 5.125], ["4.900", "5.000", "5.125"]),
        ([5.0, 5.0], ["5", "5"]),
        ([-3.5, 0.0, 2.0], ["-3.5", "0.0", "2.0"]),
        ([0.0, 0.0], ["0", "0"]),
        ([2.5e9, 3.0e9], ["250", "300"]),
        ([1e-7, 2e-7], ["100", "200"]),
    ],
)
def test_values_are_written_as_people_write_them(known: list[float], texts: list[str]) -> None:
    number = notation(known)
    assert [number.write(value) for value in known] == texts


@pytest.mark.parametrize(
    ("period_s", "expected"),
    [
        (86_400.0, "2014-11-01"),
        (3600.0, "2014-11-01 13:05"),
        (60.0, "2014-11-01 13:05"),
        (10.0, "2014-11-01 13:05:09"),
        (0.5, "2014-11-01 13:05:09.500"),
    ],
)
def test_a_date_is_as_precise_as_the_period(period_s: float, expected: str) -> None:
    assert date_text(datetime(2014, 11, 1, 13, 5, 9, 500_000, tzinfo=UTC), period_s) == expected


def test_no_month_has_a_day_too_many() -> None:
    at = datetime(2016, 2, 27, tzinfo=UTC)
    days = [date_text(at + timedelta(days=i), 86_400.0) for i in range(4)]
    assert days == ["2016-02-27", "2016-02-28", "2016-02-29", "2016-03-01"]

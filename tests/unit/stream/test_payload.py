"""Payloads: what is exactly right is read, everything else is refused with one word."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detectors.records import Quality
from stream.sources.payload import REASONS, Layout, PayloadError, Reading, parse

PLAIN = Layout()
VALUE = Layout(value="$.value")
FULL = Layout(value="$.value", time="$.time", quality="$.quality")


def refusal(payload: bytes | str, layout: Layout = VALUE) -> str:
    with pytest.raises(PayloadError) as caught:
        parse(payload if isinstance(payload, bytes) else payload.encode(), layout)
    assert caught.value.reason in REASONS
    assert len(caught.value.detail) < 500
    return caught.value.reason


def full(**parts: object) -> bytes:
    return json.dumps({"value": 5.0, "time": 1795400000, "quality": "good"} | parts).encode()


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5.0), (" -4.5e1\n", -45.0), (".5", 0.5), ("5.", 5.0), ("+1E2", 100.0), ("-0", 0.0)]
)
def test_a_plain_number_is_read(text, value):
    assert parse(text.encode(), PLAIN) == (value, None, Quality.GOOD, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unparsable"),
        ("5,0", "unparsable"),
        ("5.0 C", "unparsable"),
        ('"5.0"', "unparsable"),
        ("1_000", "unparsable"),
        ("0x10", "unparsable"),
        ("\u0661", "unparsable"),  # ARABIC-INDIC DIGIT ONE, which float() takes
        ("true", "unparsable"),
        ("5\x00", "unparsable"),
        ("nan", "not_finite"),
        ("-Infinity", "not_finite"),
        ("1e999", "not_finite"),
        ("9" * 400, "not_finite"),
        ("9" * 70_000, "too_large"),
    ],
)
def test_what_is_no_plain_number_is_refused(text, reason):
    assert refusal(text, PLAIN) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unparsable"),
        ('{"value": 5', "unparsable"),
        ('{"value": 5} 6', "unparsable"),
        ("{'value': 5}", "unparsable"),
        ('\ufeff{"value": 5}', "unparsable"),
        ('{"value": NaN}', "not_finite"),
        ('{"value": -Infinity}', "not_finite"),
        ('{"value": 1e999}', "not_finite"),
        ('{"value": 1' + "0" * 400 + "}", "not_finite"),
        ('{"value": 1' + "0" * 5000 + "}", "unparsable"),
        ('{"value": "5.0"}', "not_a_number"),
        ('{"value": true}', "not_a_number"),
        ('{"value": [5]}', "not_a_number"),
        ('{"value": {"v": 5}}', "not_a_number"),
        ('{"value": null}', "missing_value"),
        ('{"Value": 5}', "missing_value"),
        ("[5]", "missing_value"),
        ("5", "missing_value"),
        ('{"value": 5, "value": 6}', "duplicate_key"),
        ('{"value": 5, "more": {"a": 1, "a": 2}}', "duplicate_key"),
        ("[" * 5000, "too_deep"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "too_deep"),
        (b'{"value": 5, "unit": "\xb0C"}', "not_utf8"),
        (b"\x80\x04\x95", "not_utf8"),
        (b" " * 10_000_000, "too_large"),
    ],
)
def test_what_is_no_number_in_json_is_refused(text, reason):
    assert refusal(text) == reason


@pytest.mark.parametrize(
    ("path", "document", "value"),
    [
        ("$", "5", 5.0),
        ("$.a.b-c", '{"a": {"b-c": 5}}', 5.0),
        ("$.data[1].v", '{"data": [{"v": 4}, {"v": 5}]}', 5.0),
        ("$[0][1]", "[[4, 5]]", 5.0),
    ],
)
def test_a_path_leads_through_objects_and_lists(path, document, value):
    assert parse(document.encode(), Layout(value=path)).value == value


@pytest.mark.parametrize(
    ("path", "document"), [("$[2]", "[1, 2]"), ("$[0]", '{"0": 5}'), ("$.a", '["a"]'), ("$.a.b", '{"a": null}')]
)
def test_a_path_into_nothing_is_a_missing_value(path, document):
    assert refusal(document, Layout(value=path)) == "missing_value"


@pytest.mark.parametrize("path", ["value", "$.", "$.a[", "$..a", "$.a[-1]", "$.\u0661", "$[\u0661]"])
def test_a_path_that_is_none_is_refused_when_it_is_configured(path):
    with pytest.raises(ValueError, match="expected a path such as"):
        Layout(value=path)


def test_a_plain_number_with_a_time_beside_it_is_refused_when_it_is_configured():
    with pytest.raises(ValueError, match="plain number"):
        Layout(time="$.time")


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-23T05:13:00Z", datetime(2026, 11, 23, 5, 13, tzinfo=UTC)),
        ("2026-11-23T06:13:00.25+01:00", datetime(2026, 11, 23, 5, 13, 0, 250_000, tzinfo=UTC)),
        ("2026-11-23T05:13:00.1234567Z", datetime(2026, 11, 23, 5, 13, 0, 123_456, tzinfo=UTC)),
        (1795410780, datetime.fromtimestamp(1795410780, UTC)),
        (1795410780.5, datetime.fromtimestamp(1795410780.5, UTC)),
        (1795410780500, datetime.fromtimestamp(1795410780.5, UTC)),
        (946684800, datetime(2000, 1, 1, tzinfo=UTC)),
        (None, None),
    ],
)
def test_a_time_is_iso_8601_with_zone_or_unix_seconds_or_milliseconds(time, expected):
    at = parse(full(time=time), FULL).source_at
    assert at == expected
    assert at is None or at.tzinfo is UTC


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-23T05:13:00",  # no zone: of which country?
        "23/11/2026 05:13",
        "2026-02-31T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1795410780",
        "",
        "\ud800",
        0,
        -1,
        946684799,
        4102444800,
        1795410780_000_000,
        1795410780_000_000_000,
        10**400,
        float("nan"),
        True,
        [],
    ],
)
def test_any_other_time_is_refused(time):
    assert refusal(full(time=time), FULL) == "bad_time"


@pytest.mark.parametrize(
    ("quality", "expected", "reason"),
    [
        ("good", Quality.GOOD, ""),
        ("Good", Quality.GOOD, ""),
        ("UNCERTAIN", Quality.UNCERTAIN, "uncertain"),
        ("bad", Quality.BAD, "bad"),
        ("BadSensorFailure", Quality.BAD, "BadSensorFailure"),
        (192, Quality.GOOD, ""),
        (0xD8, Quality.GOOD, "local_override"),
        (0x44, Quality.UNCERTAIN, "last_usable_value"),
        (0x18, Quality.BAD, "communication_failure"),
        (0, Quality.BAD, "bad"),
        (0x2C, Quality.BAD, "0x2C"),
        (0x40000000, Quality.UNCERTAIN, "0x40000000"),
        (0x80350000, Quality.BAD, "0x80350000"),
        (0x00A20000, Quality.GOOD, "0x00A20000"),
        (None, Quality.UNCERTAIN, "no_quality"),
    ],
)
def test_a_quality_is_a_word_or_an_opc_code(quality, expected, reason):
    reading = parse(full(quality=quality), FULL)
    assert (reading.quality, reading.reason) == (expected, reason)
    assert (reading.value is None) == (expected is Quality.BAD)


@pytest.mark.parametrize(
    "quality", ["fine", "", "good\n", "bad sensor", "good" * 20, 0x80, 0xBF, -1, 1 << 32, 192.0, True, {}]
)
def test_any_other_quality_is_refused(quality):
    assert refusal(full(quality=quality), FULL) == "bad_quality"


@pytest.mark.parametrize("rest", ['"value": null', '"value": "----"', '"value": NaN', '"value": 5', '"x": 1'])
def test_a_bad_value_is_a_gap_whatever_stands_there(rest):
    reading = parse(f'{{"quality": "bad", "time": 1795400000, {rest}}}'.encode(), FULL)
    assert (reading.value, reading.quality) == (None, Quality.BAD)


@pytest.mark.parametrize(
    ("missing", "reason"), [("time", "missing_time"), ("quality", "missing_quality"), ("value", "missing_value")]
)
def test_what_the_configuration_names_must_be_there(missing, reason):
    document = {name: part for name, part in json.loads(full()).items() if name != missing}
    assert refusal(json.dumps(document), FULL) == reason


def outcome(payload: bytes, layout: Layout) -> Reading | PayloadError:
    try:
        return parse(payload, layout)
    except PayloadError as error:
        return error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["value", "time", "quality", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(
    payload=st.binary(max_size=200)
    | json_values.map(json.dumps).map(str.encode)
    | st.text().map(lambda t: t.encode("utf-8", "replace"))
)
@example(payload=b'"\\ud800"')
@example(payload=b'{"value": "\\ud800"}')
def test_nothing_but_a_reading_or_a_refusal_comes_of_any_bytes(payload):
    for layout in (PLAIN, VALUE, FULL):
        came = outcome(payload, layout)
        if isinstance(came, PayloadError):
            assert came.reason in REASONS
            assert came.detail.isprintable()  # can be logged: no line break, no lone surrogate
        else:
            assert (came.value is None) == (came.quality is Quality.BAD)
            assert came.value is None or (type(came.value) is float and math.isfinite(came.value))
            assert came.source_at is None or came.source_at.tzinfo is UTC


@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    at=st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC)),
    hours=st.integers(-12, 14),
)
def test_what_is_written_is_read_back_exactly(value, at, hours):
    assert parse(json.dumps(value).encode(), PLAIN).value == value
    written = at.astimezone(timezone(timedelta(hours=hours))).isoformat()
    assert parse(full(value=value, time=written), FULL) == (value, at, Quality.GOOD, "")

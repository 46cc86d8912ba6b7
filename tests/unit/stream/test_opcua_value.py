"""Samples out of OPC UA data values."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from asyncua import ua

from detectors.records import Quality
from stream.sources.opcua_value import UaValueError, has_overflowed, name_of, read

ARRIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCE = datetime(2026, 3, 1, 11, 59, 58, tzinfo=UTC)
SERVER = datetime(2026, 3, 1, 11, 59, 59, tzinfo=UTC)


def value(raw=1.0, kind=ua.VariantType.Double, code=ua.StatusCodes.Good, **times) -> ua.DataValue:
    return ua.DataValue(ua.Variant(raw, kind), ua.StatusCode(code), **times)


def sample(data: ua.DataValue):
    return read(data, ARRIVED)("x/a")


@pytest.mark.parametrize(
    ("raw", "kind", "number"),
    [
        (5.25, ua.VariantType.Double, 5.25),
        (-7, ua.VariantType.SByte, -7.0),
        (2**63, ua.VariantType.UInt64, 2.0**63),
        (1.7e308, ua.VariantType.Double, 1.7e308),
    ],
)
def test_every_numeric_type_becomes_a_float(raw, kind, number):
    made = sample(value(raw, kind))
    assert (made.tag, made.value, made.quality, made.reason) == ("x/a", number, Quality.GOOD, "")
    assert type(made.value) is float


def test_a_decimal_is_a_number():
    data = value()
    object.__setattr__(data, "Value", ua.Variant(Decimal("5.2")))
    assert sample(data).value == 5.2


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (True, ua.VariantType.Boolean),
        ("5.0", ua.VariantType.String),
        (b"5.0", ua.VariantType.ByteString),
        ([5.0, 6.0], ua.VariantType.Double),
        (SOURCE, ua.VariantType.DateTime),
        (None, ua.VariantType.Null),
    ],
)
@pytest.mark.parametrize("code", [ua.StatusCodes.Good, ua.StatusCodes.Uncertain])
def test_what_is_no_number_is_refused_and_its_type_named(raw, kind, code):
    with pytest.raises(UaValueError, match=kind.name) as caught:
        read(value(raw, kind, code), ARRIVED)
    assert caught.value.reason == "not_a_number"


@pytest.mark.parametrize("raw", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused(raw):
    with pytest.raises(UaValueError) as caught:
        read(value(raw), ARRIVED)
    assert caught.value.reason == "not_finite"


def test_a_long_text_is_quoted_short():
    with pytest.raises(UaValueError) as caught:
        read(value("x" * 100_000, ua.VariantType.String), ARRIVED)
    assert len(str(caught.value)) < 150


def test_an_uncertain_value_is_kept_with_its_reason():
    made = sample(value(4.5, code=ua.StatusCodes.UncertainLastUsableValue))
    assert (made.value, made.quality, made.reason) == (4.5, Quality.UNCERTAIN, "UncertainLastUsableValue")


@pytest.mark.parametrize("raw", [4.5, float("nan")])
def test_a_bad_value_is_a_gap_with_a_reason_whatever_stands_in_it(raw):
    made = sample(value(raw, code=ua.StatusCodes.BadSensorFailure))
    assert (made.value, made.quality, made.reason) == (None, Quality.BAD, "BadSensorFailure")


def test_the_reserved_severity_is_bad():
    assert sample(value(code=0xC000_0000)).quality is Quality.BAD


def test_flags_do_not_change_what_a_code_means():
    assert sample(value(code=ua.StatusCodes.BadSensorFailure | 0x480)).reason == "BadSensorFailure"
    assert sample(value(code=0x0000_0480)).quality is Quality.GOOD


def test_a_vendors_own_code_is_given_as_a_figure():
    assert name_of(ua.StatusCode(0x8FF1_0000)) == "Bad_0x8FF10000"
    assert name_of(ua.StatusCode(ua.StatusCodes.Bad)) == "Bad"


def test_an_overflowed_queue_is_seen_only_where_the_flags_say_so():
    assert has_overflowed(value(code=0x0000_0480))
    assert not has_overflowed(value(code=0x0000_0080))  # the same bit, but no info bits of a data value
    assert not has_overflowed(value())


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"SourceTimestamp": SOURCE, "ServerTimestamp": SERVER}, SOURCE),
        ({"ServerTimestamp": SERVER}, SERVER),
        ({}, ARRIVED),
        ({"SourceTimestamp": datetime(1601, 1, 1, tzinfo=UTC), "ServerTimestamp": SERVER}, SERVER),
        ({"SourceTimestamp": SOURCE.replace(tzinfo=None)}, SOURCE),
    ],
    ids=["source", "server", "none", "the encoding's null", "naive"],
)
def test_the_time_is_the_sources_else_the_servers_else_the_arrival(times, expected):
    made = sample(value(**times))
    assert made.source_at == expected
    assert made.source_at.tzinfo is UTC
    assert made.arrived_at == ARRIVED

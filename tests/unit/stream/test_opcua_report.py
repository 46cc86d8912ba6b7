"""Taking an answer apart, beside asyncua's own reading of it: the same values of the same nodes, or nothing at all."""

from __future__ import annotations

import math
from datetime import datetime

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from stream.sources.opcua_report import OVERFLOW, UnusualError, take_apart
from stream.sources.opcua_value import decoded, has_overflowed

NOON = datetime(2026, 11, 27, 12)  # asyncua's times bear no zone
INTEGERS = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1),
    ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
    ua.VariantType.UInt64: (0, 2**64 - 1),
}
PLAIN = st.one_of(
    st.builds(ua.Variant, st.floats(), st.just(ua.VariantType.Double)),
    st.builds(ua.Variant, st.floats(width=32), st.just(ua.VariantType.Float)),
    st.builds(ua.Variant, st.booleans(), st.just(ua.VariantType.Boolean)),
    *(st.builds(ua.Variant, st.integers(*ends), st.just(kind)) for kind, ends in INTEGERS.items()),
    st.builds(ua.Variant, st.one_of(st.none(), st.text(max_size=5)), st.just(ua.VariantType.String)),
    st.builds(ua.Variant, st.one_of(st.none(), st.binary(max_size=5)), st.just(ua.VariantType.ByteString)),
    st.builds(ua.Variant, st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), st.just(ua.VariantType.DateTime)),
    st.just(ua.Variant(None, ua.VariantType.Null)),
)
CODES = st.sampled_from([0, 0x40000000, 0x80020000, OVERFLOW, 0x80000000 | OVERFLOW, 0x0400])
TIMES = st.one_of(st.none(), st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))
VALUES = st.builds(
    ua.DataValue,
    PLAIN,
    st.one_of(st.none(), st.builds(ua.StatusCode, CODES.map(ua.UInt32))),
    TIMES,
    TIMES,
    st.one_of(st.none(), st.integers(0, 9999).map(ua.UInt16)),
    st.one_of(st.none(), st.integers(0, 9999).map(ua.UInt16)),
)


def double(value: float) -> ua.DataValue:
    return ua.DataValue(ua.Variant(value, ua.VariantType.Double), SourceTimestamp=NOON)


def changed(*values: ua.DataValue) -> ua.DataChangeNotification:
    items = [ua.MonitoredItemNotification(ua.UInt32(200 + i), value) for i, value in enumerate(values)]
    return ua.DataChangeNotification(MonitoredItems=items)


def answer(*notifications: object, available: int = 0, more: bool = False, result: int = 0) -> bytes:
    """What a server sends."""
    response = ua.PublishResponse()
    response.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(result))
    response.Parameters.SubscriptionId = ua.UInt32(77)
    response.Parameters.AvailableSequenceNumbers = [ua.UInt32(n) for n in range(available)]
    response.Parameters.MoreNotifications = more
    response.Parameters.NotificationMessage.SequenceNumber = ua.UInt32(41)
    response.Parameters.NotificationMessage.NotificationData = list(notifications)
    return bytes(struct_to_binary(response))


def same(one: ua.DataValue, other: ua.DataValue) -> bool:
    """Equal, where no number is equal to no number."""
    a, b = (None if v.Value is None else v.Value.Value for v in (one, other))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return (one.StatusCode, one.SourceTimestamp, one.ServerTimestamp) == (
            other.StatusCode,
            other.SourceTimestamp,
            other.ServerTimestamp,
        )
    return one == other


@given(st.lists(VALUES, min_size=1, max_size=6), st.integers(0, 3), st.booleans())
def test_it_has_what_asyncua_reads(values: list[ua.DataValue], available: int, more: bool) -> None:
    sent = answer(changed(*values), available=available, more=more)
    read = struct_from_binary(ua.PublishResponse, Buffer(sent)).Parameters
    items = read.NotificationMessage.NotificationData[0].MonitoredItems
    found = take_apart(Buffer(sent))
    assert (found.subscription, found.number, found.more) == (77, 41, more)
    assert [report.handle for report in found.reports] == [item.ClientHandle for item in items]
    for report, item in zip(found.reports, items, strict=True):
        assert same(decoded(report.value), item.Value)
        assert report.overflowed == has_overflowed(item.Value)


def test_several_notifications_in_one_answer_are_one_after_the_other() -> None:
    found = take_apart(Buffer(answer(changed(double(1.0), double(2.0)), changed(double(3.0)))))
    assert [decoded(report.value).Value.Value for report in found.reports] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "sent",
    [
        answer(),
        answer(changed()),
        answer(changed(double(1.0)), ua.StatusChangeNotification()),
        answer(ua.EventNotificationList()),
        answer(changed(double(1.0)), result=0x80280000),
        answer(changed(ua.DataValue(ua.Variant([1.0, 2.0], ua.VariantType.Double)))),
        answer(changed(ua.DataValue(ua.Variant(ua.NodeId(1, 1), ua.VariantType.NodeId)))),
        answer(changed(ua.DataValue(ua.Variant(ua.LocalizedText("warm"), ua.VariantType.LocalizedText)))),
    ],
    ids=[
        "keep-alive",
        "no values",
        "end of the subscription",
        "events",
        "refused",
        "array",
        "node id",
        "localized text",
    ],
)
def test_what_is_unusual_is_left_to_asyncua(sent: bytes) -> None:
    with pytest.raises(UnusualError):
        take_apart(Buffer(sent))
    struct_from_binary(ua.PublishResponse, Buffer(sent))


WHOLE = answer(changed(*map(double, range(5))), available=2)


BEHIND_VALUES = 8
"""Bytes of the outcomes of our acknowledgements and of diagnostics, which nobody looks at."""


@given(st.integers(0, len(WHOLE) - BEHIND_VALUES - 1))
def test_an_answer_that_was_cut_short_is_none(end: int) -> None:
    with pytest.raises(Exception):  # noqa: B017 - asyncua's own errors, of many kinds
        take_apart(Buffer(WHOLE[:end]))


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_broken_bytes_end_in_an_error_or_in_reports_within_the_answer(changes: list[tuple[int, int]]) -> None:
    broken = bytearray(WHOLE)
    for at, byte in changes:
        broken[at] = byte
    try:
        found = take_apart(Buffer(bytes(broken)))
    except Exception:
        return
    assert sum(4 + len(report.value) for report in found.reports) < len(broken)

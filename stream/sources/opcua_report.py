"""Of which nodes does an answer of a subscription tell, and where in it stands what?

asyncua makes some twenty objects of each value before anybody has asked for it. With thousands of tags values may come faster
than that, and then most of them are overtaken by a newer one of their tag before they are judged. So an answer is only taken
apart here, into the bytes of one value each, along lengths that the encoding fixes (OPC UA Part 6, 5.2.2); what a value says is
read by asyncua, of those that are judged. An answer with anything unusual in it is left to asyncua as a whole.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from asyncua import ua
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

if TYPE_CHECKING:
    from asyncua.common.utils import Buffer

__all__ = ["OVERFLOW", "Answer", "Report", "UnusualError", "take_apart"]

DATA_CHANGE = ua.NodeId(ua.Int32(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary))
_T = ua.VariantType
SIZES = {
    _T.Null.value: 0,
    **dict.fromkeys((_T.Boolean.value, _T.SByte.value, _T.Byte.value), 1),
    **dict.fromkeys((_T.Int16.value, _T.UInt16.value), 2),
    **dict.fromkeys((_T.Int32.value, _T.UInt32.value, _T.Float.value, _T.StatusCode.value), 4),
    **dict.fromkeys((_T.Int64.value, _T.UInt64.value, _T.Double.value, _T.DateTime.value), 8),
}
"""Bytes of a single value, by the type in its first byte; texts say their own, and arrays are unusual."""
TEXTS = {_T.String.value, _T.ByteString.value}
HAS_VALUE, HAS_STATUS = 0x01, 0x02
# Which of status, times and picoseconds stand behind a value is said by the other bits of a value's first byte.
BEHIND = [sum(size for bit, size in enumerate((0, 4, 8, 8, 2, 2)) if mask >> bit & 1) for mask in range(64)]
OVERFLOW = 0x0480  # InfoType DataValue with the overflow bit (OPC UA Part 4, 7.39.1)

_U32, _I32 = struct.Struct("<I"), struct.Struct("<i")
_HANDLE = struct.Struct("<IB")


class UnusualError(ValueError):
    """An answer that is not taken apart here."""


class Report(NamedTuple):
    """One value of one node: who asked for it, the encoded `ua.DataValue`, and whether others before it were lost."""

    handle: int
    value: bytes
    overflowed: bool


class Answer(NamedTuple):
    """What a server published in answer to one request."""

    subscription: int
    number: int
    more: bool
    reports: list[Report]


def take_apart(data: Buffer) -> Answer:
    """Takes an encoded `ua.PublishResponse` apart; raises UnusualError, and whatever broken data makes of asyncua."""
    nodeid_from_binary(data)
    header = struct_from_binary(ua.ResponseHeader, data)
    if not header.ServiceResult.is_good():
        raise UnusualError
    (subscription,) = _U32.unpack(data.read(4))
    (available,) = _I32.unpack(data.read(4))
    data.skip(4 * max(available, 0))
    more = data.read(1) != b"\0"
    (number,) = _U32.unpack(data.read(4))
    data.skip(8)
    (notifications,) = _I32.unpack(data.read(4))
    reports: list[Report] = []
    for _ in range(notifications):
        if nodeid_from_binary(data) != DATA_CHANGE or data.read(1) != b"\1":
            raise UnusualError
        (size,) = _I32.unpack(data.read(4))
        try:
            reports += _reports(data.read(size))
        except (struct.error, IndexError, KeyError) as error:
            raise UnusualError from error
    if not reports:
        raise UnusualError  # it shows that the subscription lives: asyncua's own affair
    return Answer(subscription, number, more, reports)


def _reports(body: bytes) -> list[Report]:
    """Raises KeyError for a value that is no plain one, struct.error or IndexError where the body ends before its time."""
    (count,) = _I32.unpack_from(body, 0)
    found = []
    at = 4
    for _ in range(count):
        handle, mask = _HANDLE.unpack_from(body, at)
        begin = at + 4
        at += 5
        if mask & HAS_VALUE:
            kind = body[at]
            at += 1
            if kind in TEXTS:
                at += 4 + max(_I32.unpack_from(body, at)[0], 0)
            else:
                at += SIZES[kind]
        overflowed = bool(mask & HAS_STATUS) and _U32.unpack_from(body, at)[0] & OVERFLOW == OVERFLOW
        at += BEHIND[mask]
        found.append(Report(handle, body[begin:at], overflowed))
    (diagnostics,) = _I32.unpack_from(body, at)
    if diagnostics > 0 or at + 4 != len(body):
        raise UnusualError
    return found

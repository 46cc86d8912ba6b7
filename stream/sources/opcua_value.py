"""What sample does an OPC UA data value make? Strictly: a finite number of good or uncertain quality, or a gap with a reason.

Good and Uncertain carry their value, Bad never does, whatever stands in it. The severity is in the two top bits of the status
code (OPC UA Part 4, 7.39). The quality byte of classic OPC (0xC0 is good) is no status code: where a gateway offers it as a
node of its own, that node is one more number here and says nothing about the others; let the gateway map it.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from detectors.records import Quality, Sample
from stream.sources.opcua_report import OVERFLOW

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UaValueError", "decoded", "has_overflowed", "name_of", "read"]

SEVERITY = {0: Quality.GOOD, 1: Quality.UNCERTAIN, 2: Quality.BAD, 3: Quality.BAD}
NO_TIME_YEARS = (1601, 9999)
"""The ends of the encoding's range stand for "no time" (OPC UA Part 6, 5.2.2.5)."""


class UaValueError(ValueError):
    """A value that no sample can be made of; `reason` is one word for the counter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def decoded(value: ua.DataValue | bytes) -> ua.DataValue:
    """A value, as it came or read already. Raises UaValueError for one that cannot be read."""
    if isinstance(value, ua.DataValue):
        return value
    try:
        return struct_from_binary(ua.DataValue, Buffer(value))
    except Exception as error:
        raise UaValueError("unreadable", f"expected an encoded value, found {value[:40].hex()}") from error


def read(value: ua.DataValue, arrived_at: datetime) -> Callable[[str], Sample]:
    """What makes the sample of a tag; raises UaValueError.

    The time is the source's, where it gives none the server's, where that is missing too the arrival.
    """
    code = value.StatusCode or ua.StatusCode(ua.UInt32(0))
    quality = SEVERITY[code.value >> 30]
    source_at = _time(value.SourceTimestamp) or _time(value.ServerTimestamp) or arrived_at
    number = None if quality is Quality.BAD else _number(value.Value)
    reason = "" if quality is Quality.GOOD else name_of(code)

    def sample(tag: str) -> Sample:
        return Sample(tag=tag, value=number, source_at=source_at, arrived_at=arrived_at, quality=quality, reason=reason)

    return sample


def has_overflowed(value: ua.DataValue) -> bool:
    """Whether the server says that its queue ran over just before this value: others are lost."""
    return value.StatusCode is not None and value.StatusCode.value & OVERFLOW == OVERFLOW


def name_of(code: ua.StatusCode) -> str:
    """The symbolic name of a status code, and the figure where the code is a vendor's own."""
    bare = code.value & 0xFFFF0000  # the lower half holds flags, no meaning
    name = str(ua.StatusCode(ua.UInt32(bare)).name)
    return name if name not in {"Bad", "Uncertain"} or not bare & 0x3FFFFFFF else f"{name}_0x{bare:08X}"


def _time(moment: datetime | None) -> datetime | None:
    if moment is None or moment.year in NO_TIME_YEARS:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _number(variant: ua.Variant | None) -> float:
    value = None if variant is None else variant.Value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        kind = "nothing" if variant is None else variant.VariantType.name
        raise UaValueError("not_a_number", f"expected a number, found {kind}: {repr(value)[:60]}")
    try:
        number = float(value)
    except (OverflowError, ValueError):  # beyond what a double holds; a signalling NaN
        number = math.inf
    if not math.isfinite(number):
        raise UaValueError("not_finite", f"expected a finite number, found {repr(value)[:60]}")
    return number

"""What sample does an OPC UA data value make? Strictly: a finite number of good or uncertain quality, or a gap with a reason.

Good and Uncertain carry their value, Bad never does, whatever stands in it. The severity is in the two top bits of the status
code (OPC UA Part 4, 7.39); a classic OPC quality of 0xC0 in a field of its own is a plain number here and not a quality.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from asyncua import ua

from detectors.records import Quality, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UaValueError", "read"]

SEVERITY = {0: Quality.GOOD, 1: Quality.UNCERTAIN, 2: Quality.BAD, 3: Quality.BAD}


class UaValueError(ValueError):
    """A value that no sample can be made of; `reason` is one word for the counter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def read(value: ua.DataValue, arrived_at: datetime) -> Callable[[str], Sample]:
    """What makes the sample of a tag; raises UaValueError.

    The time is the source's, where it gives none the server's, where that is missing too the arrival.
    """
    code = value.StatusCode or ua.StatusCode(0)
    quality = SEVERITY[code.value >> 30]
    at = value.SourceTimestamp or value.ServerTimestamp
    source_at = arrived_at if at is None else at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    number = None if quality is Quality.BAD else _number(value.Value)
    reason = "" if quality is Quality.GOOD else str(code.name)

    def sample(tag: str) -> Sample:
        return Sample(tag=tag, value=number, source_at=source_at, arrived_at=arrived_at, quality=quality, reason=reason)

    return sample


def _number(variant: ua.Variant | None) -> float:
    value = None if variant is None else variant.Value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        kind = "nothing" if variant is None else variant.VariantType.name
        raise UaValueError("not_a_number", f"expected a number, found {kind}: {repr(value)[:60]}")
    number = float(value) if abs(value) < 1e308 or value != value else math.inf  # noqa: PLR0124 - NaN is what differs from itself
    if not math.isfinite(number):
        raise UaValueError("not_finite", f"expected a finite number, found {repr(value)[:60]}")
    return number

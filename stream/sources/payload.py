"""What number, time and quality stand in the payload of a message?

A payload is a plain number, or JSON in which paths such as ``$.value`` and ``$.data[0].v`` say where things stand. It is
read strictly: Python's own parsers take NaN, 1e999, "5.0" and true for a number, the last of two equal keys, and a time
without zone, and each of these is a wrong value on a plant some day. What is not exactly right is refused with one word of
`REASONS`; nothing is guessed.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from detectors.records import Quality

__all__ = ["REASONS", "Layout", "PayloadError", "Reading", "decode", "parse", "read"]

REASONS = (
    "too_large",
    "not_utf8",
    "unparsable",
    "too_deep",
    "duplicate_key",
    "missing_value",
    "missing_time",
    "missing_quality",
    "not_a_number",
    "not_finite",
    "bad_time",
    "bad_quality",
)

PAYLOAD_BYTES = 65_536
SHOWN_CHARACTERS = 60
# Times from 2000 to 2100; as milliseconds the same years are numbers a thousand times larger, so the two never overlap.
EARLIEST_S = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
LATEST_S = datetime(2100, 1, 1, tzinfo=UTC).timestamp()

# OPC DA quality byte: the top two bits are the quality, the next four say why. The word is what the sample carries.
DA_REASONS = {
    0x00: "bad",
    0x04: "configuration_error",
    0x08: "not_connected",
    0x0C: "device_failure",
    0x10: "sensor_failure",
    0x14: "last_known_value",
    0x18: "communication_failure",
    0x1C: "out_of_service",
    0x20: "waiting_for_initial_data",
    0x40: "uncertain",
    0x44: "last_usable_value",
    0x50: "sensor_not_accurate",
    0x54: "engineering_units_exceeded",
    0x58: "sub_normal",
    0xC0: "",
    0xD8: "local_override",
}
QUALITIES = (Quality.BAD, Quality.UNCERTAIN, None, Quality.GOOD)  # of the DA byte, by its top two bits
SEVERITIES = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)  # of an OPC UA status code (Part 4, 7.39)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_PATH = re.compile(r"\$((\.[A-Za-z_][\w-]*)|(\[\d+\]))*", re.ASCII)
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]", re.ASCII)
_WORD = re.compile(r"(good|uncertain|bad)(\w{0,40})", re.ASCII | re.IGNORECASE)
_ABSENT = object()

Path = tuple[str | int, ...]


class PayloadError(Exception):
    """A payload that cannot become a sample: `reason` is one of `REASONS`, `detail` quotes what was found, shortened."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Reading(NamedTuple):
    """What a payload says (a tuple: one is made per message). `value` is None exactly when `quality` is BAD."""

    value: float | None
    source_at: datetime | None
    quality: Quality
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things stand in a payload.

    Without `value` it is a plain number; without `time` the message has no time of its own; without `quality` it is good.
    What a path names must be there: a time or a quality that is silently never found would go unnoticed for years.
    """

    value: str | None = None
    time: str | None = None
    quality: str | None = None
    value_path: Path = field(init=False, repr=False, compare=False)
    time_path: Path | None = field(init=False, repr=False, compare=False)
    quality_path: Path | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.value is None and (self.time is not None or self.quality is not None):
            raise ValueError("a plain number has neither time nor quality: give `value` the path of the number as well")
        object.__setattr__(self, "value_path", _compile(self.value or "$"))
        object.__setattr__(self, "time_path", None if self.time is None else _compile(self.time))
        object.__setattr__(self, "quality_path", None if self.quality is None else _compile(self.quality))


def parse(payload: bytes, layout: Layout) -> Reading:
    """The reading in a payload. Raises PayloadError, and nothing else whatever the bytes are."""
    if layout.value is None:
        return Reading(_plain(_text(payload)), None, Quality.GOOD, "")
    return read(decode(payload), layout)


def decode(payload: bytes) -> object:
    """The JSON document in a payload, for `read`. Raises PayloadError."""
    text = _text(payload)
    try:
        return _DECODER.decode(text)
    except PayloadError:
        raise
    except RecursionError:
        raise PayloadError("too_deep", f"brackets in brackets: {_quote(text)}") from None
    except ValueError as error:
        # Of JSONDecodeError, or of an integer with more digits than Python converts.
        raise PayloadError("unparsable", f"{_quote(text)}: {str(error)[:80]}") from None


def read(document: object, layout: Layout) -> Reading:
    """The reading in a JSON document. Raises PayloadError."""
    quality, reason = Quality.GOOD, ""
    if layout.quality_path is not None:
        quality, reason = _quality(_find(document, layout.quality_path, "missing_quality"))
    source_at = None
    if layout.time_path is not None:
        source_at = _time(_find(document, layout.time_path, "missing_time"))
    if quality is Quality.BAD:
        return Reading(None, source_at, quality, reason)  # whatever stands there as a value is not to be trusted
    value = _find(document, layout.value_path, "missing_value")
    if value.__class__ is not float and value.__class__ is not int:
        reason = "missing_value" if value is None else "not_a_number"
        raise PayloadError(reason, f"expected a number, found {_quote(value)}")
    return Reading(_finite(value), source_at, quality, reason)


def _text(payload: bytes) -> str:
    if len(payload) > PAYLOAD_BYTES:
        raise PayloadError("too_large", f"{len(payload)} bytes, at most {PAYLOAD_BYTES} are read")
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise PayloadError("not_utf8", f"{payload[:SHOWN_CHARACTERS]!r}: byte {error.start}") from None


def _plain(text: str) -> float:
    text = text.strip(" \t\r\n")
    if _NUMBER.fullmatch(text) is None:
        reason = "not_finite" if _NOT_FINITE.fullmatch(text) else "unparsable"
        raise PayloadError(reason, f"expected a plain number, found {_quote(text)}")
    return _finite(float(text))


def _finite(number: float) -> float:
    try:
        value = float(number)
    except OverflowError:
        raise PayloadError("not_finite", f"larger than any float: {_quote(number)}") from None
    if not math.isfinite(value):
        raise PayloadError("not_finite", f"found {value}")
    return value


def _time(found: object) -> datetime | None:
    """A time as ISO 8601 with zone, or as Unix seconds or milliseconds; null is none."""
    if found.__class__ is str:
        try:
            at = datetime.fromisoformat(found)
        except ValueError:
            raise PayloadError("bad_time", f"expected ISO 8601, found {_quote(found)}") from None
        if at.tzinfo is None:
            raise PayloadError("bad_time", f"expected a zone, Z or +01:00, found {_quote(found)}")
        if not 2000 <= at.year < 2100:
            raise PayloadError("bad_time", f"expected a time from 2000 to 2100, found {_quote(found)}")
        return at if at.tzinfo is UTC else at.astimezone(UTC)
    if found.__class__ is float or found.__class__ is int:
        number: float = found
        if EARLIEST_S <= number < LATEST_S:
            return datetime.fromtimestamp(number, UTC)
        if EARLIEST_S * 1000 <= number < LATEST_S * 1000:
            return datetime.fromtimestamp(number / 1000, UTC)
        raise PayloadError(
            "bad_time", f"expected Unix seconds or milliseconds from 2000 to 2100, found {_quote(found)}"
        )
    if found is None:
        return None
    raise PayloadError("bad_time", f"expected a time, found {_quote(found)}")


def _quality(found: object) -> tuple[Quality, str]:
    """A quality as word (good, uncertain, bad, also ``BadSensorFailure``) or as OPC code.

    Numbers up to 65,535 are OPC DA (192 good, 0 bad; a high byte is the vendor's), larger ones OPC UA status codes. Zero is
    bad in the one and good in the other: it is taken for bad, the side on which a mistake is seen.
    """
    if found.__class__ is str:
        if found == "good":
            return Quality.GOOD, ""
        match = _WORD.fullmatch(found)
        if match is not None:
            word = Quality(match[1].lower())
            return word, match[0] if match[2] else "" if word is Quality.GOOD else word.value
    elif found.__class__ is int:
        code: int = found
        if 0 <= code <= 0xFFFF:
            quality = QUALITIES[code >> 6 & 3]
            if quality is not None:
                return quality, DA_REASONS.get(code & 0xFC, f"0x{code & 0xFF:02X}")
        elif 0 < code <= 0xFFFFFFFF:
            return SEVERITIES[code >> 30], f"0x{code:08X}"
    elif found is None:
        return Quality.UNCERTAIN, "no_quality"
    raise PayloadError("bad_quality", f"expected good, uncertain, bad or an OPC code, found {_quote(found)}")


def _compile(path: str) -> Path:
    if _PATH.fullmatch(path) is None:
        raise ValueError(f"expected a path such as $.value or $.data[0].v, found {path!r}")
    return tuple(name or int(index) for name, index in _STEP.findall(path))


def _find(document: object, path: Path, missing: str) -> object:
    found: Any = document
    for step in path:
        if isinstance(step, str):
            found = found.get(step, _ABSENT) if found.__class__ is dict else _ABSENT
        else:
            found = found[step] if found.__class__ is list and step < len(found) else _ABSENT
        if found is _ABSENT:
            raise PayloadError(missing, f"nothing at {path} in {_quote(document)}")
    return found


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise PayloadError("duplicate_key", f"a key stands twice: {_quote([key for key, _ in pairs])}")
    return made


def _quote(found: object) -> str:
    """What was found, shortened before it is printed: it may be large, and an integer too long to print at all."""
    if isinstance(found, str):
        return repr(found if len(found) <= SHOWN_CHARACTERS else found[:SHOWN_CHARACTERS] + "...")
    if isinstance(found, int) and not isinstance(found, bool) and found.bit_length() > 200:
        return f"an integer of {found.bit_length()} bits"
    if isinstance(found, dict):
        return "keys " + ", ".join(_quote(key) for key in list(found)[:5])
    if isinstance(found, list):
        return f"a list of {len(found)}"
    return repr(found)


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)

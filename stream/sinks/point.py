"""How does a record stand in InfluxDB? Measurement, labels, fields and time: docs/points.md is the contract.

Every point has a time and labels of its own, so that writing it again overwrites it. A field keeps its type for ever: the
database remembers the first one it saw. InfluxDB calls a label a tag; here a tag is a plant signal.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from influxdb_client import Point, WritePrecision

from detectors.records import (
    LEVELS,
    Alert,
    Explanation,
    Forecast,
    Mark,
    Quality,
    Reply,
    Sample,
    Score,
    Standing,
    Status,
    Verdict,
)

if TYPE_CHECKING:
    from detectors.records import Record

__all__ = ["LEADS", "lines"]

LEADS = (1, 2, 3, 6, 12, 24, 48, 96)
"""Steps ahead that are stored, and the last one: a label must have few values."""

MOST_TEXT = 4096
"""Characters of a text field; what a server takes of one differs."""

_QUALITY = {Quality.GOOD: 0, Quality.UNCERTAIN: 1, Quality.BAD: 2}
_QUANTILES = tuple(f"q{round(level * 100):02d}" for level in LEVELS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def lines(record: Record, site: str) -> list[str]:  # noqa: C901, PLR0912 - one case per kind of record
    """The line protocol of a record, microsecond times; a forecast has a line per stored lead."""
    match record:
        case Sample():
            point = _point("sample", site, record.tag, record.source_at).field("quality", _QUALITY[record.quality])
            if record.value is not None:
                point.field("value", float(record.value))
            if record.reason:
                point.field("reason", record.reason[:MOST_TEXT])
            return [_line(point)]
        case Forecast():
            leads = [lead for lead in LEADS if lead < record.horizon] + [record.horizon]
            return [_forecast_line(record, site, lead) for lead in leads]
        case Score():
            point = _point("score", site, record.tag, record.at).tag("forecaster", record.forecaster)
            point.field("pit", float(record.pit)).field("nats", -float(record.log_probability))
            return [_line(point.field("log_score", float(record.log_score)).field("outside", int(record.outside)))]
        case Verdict():
            point = (
                _point("verdict", site, record.tag, record.at)
                .tag("rule", record.rule)
                .field("score", _finite(record.score))
            )
            for name in ("value", "low", "high", "probability", "lead_s"):
                if (number := getattr(record, name)) is not None:
                    point.field(name, _finite(number))
            return [_line(point)]
        case Alert():
            point = (
                _point("alarm", site, record.tag, record.at).tag("rule", record.rule).tag("priority", record.priority)
            )
            point.field("state", str(record.state)).field("active", int(record.state.active))
            point.field("sequence", record.sequence).field("text", record.text[:MOST_TEXT])
            if record.verdict is not None:
                point.field("score", _finite(record.verdict.score))
            return [_line(point)]
        case Standing():
            return [_standing_line(record, site)]
        case Status():
            point = Point("givre_status").tag("site", site).tag("subject", record.subject)
            point.field("ok", int(record.ok)).field("detail", record.detail[:MOST_TEXT])
            return [_line(point.time(_micros(record.at), WritePrecision.US))]
        case Mark() | Explanation() | Reply():
            return []  # not for a database


def _standing_line(record: Standing, site: str) -> str:
    point = _point("panel", site, record.tag, record.at).tag("lead", str(record.lead)).field("steps", record.steps)
    for name, weight in record.weights:
        point.field(f"weight_{name}", float(weight))
    for name in ("coverage80", "coverage90", "skill"):
        if (number := getattr(record, name)) is not None:
            point.field(name, _finite(number))
    return _line(point)


def _forecast_line(record: Forecast, site: str, lead: int) -> str:
    """Its time is the moment that is spoken of, so that a chart draws the band where it belongs."""
    point = _point("forecast", site, record.tag, record.at(lead))
    point.tag("forecaster", record.forecaster).tag("lead", str(lead))
    for name, quantile in zip(_QUANTILES, record.quantiles[lead - 1], strict=True):
        point.field(name, float(quantile))
    return _line(point.field("made_at", _micros(record.made_at) // 1000))


def _point(measurement: str, site: str, tag: str, at: datetime) -> Point:
    asset, _, name = tag.partition("/")
    point = Point(measurement).tag("site", site).tag("asset", asset).tag("tag", name)
    return point.time(_micros(at), WritePrecision.US)


def _line(point: Point) -> str:
    line: str = point.to_line_protocol()
    # A newline in a string field stays one in the client's line; as an escape it cannot be taken for the next point.
    return line.replace("\n", "\\n").replace("\r", "\\r")


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _finite(number: float) -> float:
    """A score may be infinite in principle (a tolerance of nothing); the line protocol has no word for it."""
    return float(number) if math.isfinite(number) else math.copysign(1e308, number)

"""How does a record stand in the journal? As one row: kind, tag, moment, value, body.

Samples are many, so they are columns and a short text; the rest is JSON. A forecast is kept by its quantiles: the drawn
paths have done their work (the breach verdict) by the time it gets here.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from detectors.facts import Facts, Part
from detectors.records import (
    AlarmState,
    Alert,
    Explanation,
    Forecast,
    Mark,
    Priority,
    Quality,
    Record,
    Reply,
    Sample,
    Score,
    Standing,
    Status,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KINDS", "Row", "decode", "encode", "kind_of", "micros", "moment"]

Row = tuple[int, str, int, float | None, str]
"""kind, tag (or subject), moment in Unix microseconds, value, body."""

KINDS: dict[type[Record], int] = {
    Sample: 0,
    Forecast: 1,
    Verdict: 2,
    Alert: 3,
    Status: 4,
    Score: 5,
    Standing: 6,
    Mark: 7,
    Explanation: 8,
    Reply: 9,
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def kind_of(record: Record) -> str:
    """The kind's name, in lower case."""
    return type(record).__name__.lower()


def micros(at: datetime) -> int:
    """Unix microseconds, exact."""
    return (at - _EPOCH) // _MICROSECOND


def moment(us: int) -> datetime:
    """The aware UTC datetime of Unix microseconds."""
    return _EPOCH + us * _MICROSECOND


def encode(record: Record) -> Row:  # noqa: C901 - one case per kind of record
    """A record as a row."""
    match record:
        case Sample():
            body = f"{micros(record.arrived_at)}"
            if record.quality is not Quality.GOOD or record.reason:
                body += f" {record.quality} {record.reason}"
            return 0, record.tag, micros(record.source_at), record.value, body
        case Forecast():
            fields = [record.forecaster, record.period_s, record.quantiles]
            return 1, record.tag, micros(record.made_at), None, json.dumps(fields, separators=(",", ":"))
        case Verdict():
            return (
                2,
                record.tag,
                micros(record.at),
                record.score,
                json.dumps(_verdict_fields(record), separators=(",", ":")),
            )
        case Alert():
            return 3, record.tag, micros(record.at), None, json.dumps(_alert_fields(record), separators=(",", ":"))
        case Status():
            return 4, record.subject, micros(record.at), float(record.ok), record.detail
        case Score():
            fields = [record.forecaster, record.value, record.log_score, record.log_probability, record.outside]
            return 5, record.tag, micros(record.at), record.pit, json.dumps(fields, separators=(",", ":"))
        case Standing():
            fields = [record.lead, record.lead_s, record.steps, record.weights]
            fields += [record.coverage80, record.coverage90, record.skill]
            return 6, record.tag, micros(record.at), None, json.dumps(fields, separators=(",", ":"))
        case Mark():
            return 7, "lane", micros(record.at), float(record.forecasts), json.dumps([record.command, record.back_s])
        case Explanation():
            fields = [record.rule, record.sequence, record.text]
            return 8, record.tag, micros(record.at), float(record.by_model), json.dumps(fields, separators=(",", ":"))
        case Reply():
            fields = [record.id, record.command, record.by, record.reason, record.via, record.text]
            return 9, record.alarm, micros(record.at), float(record.done), json.dumps(fields, separators=(",", ":"))


def decode(row: Row) -> Record:
    """The record of a row."""
    return _DECODERS[row[0]](row)


def _sample(row: Row) -> Sample:
    _, tag, at, value, body = row
    if " " not in body:
        return Sample(tag=tag, value=value, source_at=moment(at), arrived_at=moment(int(body)))
    arrived, quality, reason = body.split(" ", 2)
    return Sample(
        tag=tag,
        value=value,
        source_at=moment(at),
        arrived_at=moment(int(arrived)),
        quality=Quality(quality),
        reason=reason,
    )


def _forecast(row: Row) -> Forecast:
    forecaster, period_s, quantiles = json.loads(row[4])
    return Forecast(
        tag=row[1],
        forecaster=forecaster,
        made_at=moment(row[2]),
        period_s=period_s,
        quantiles=tuple(map(tuple, quantiles)),
    )


def _verdict(row: Row) -> Verdict:
    return _verdict_of(row[1], row[2], row[3] or 0.0, json.loads(row[4]))


def _alert(row: Row) -> Alert:
    fields = json.loads(row[4])
    verdict = fields["verdict"]
    return Alert(
        tag=row[1],
        rule=fields["rule"],
        sequence=fields["sequence"],
        state=AlarmState(fields["state"]),
        previous=AlarmState(fields["previous"]),
        at=moment(row[2]),
        since=moment(fields["since"]),
        priority=Priority(fields["priority"]),
        text=fields["text"],
        by=fields["by"],
        unit=fields.get("unit", ""),
        verdict=None if verdict is None else _verdict_of(row[1], verdict["at"], verdict["score"], verdict["fields"]),
    )


def _status(row: Row) -> Status:
    return Status(subject=row[1], ok=bool(row[3]), detail=row[4], at=moment(row[2]))


def _score(row: Row) -> Score:
    forecaster, value, log_score, log_probability, outside = json.loads(row[4])
    return Score(
        tag=row[1],
        forecaster=forecaster,
        at=moment(row[2]),
        value=value,
        pit=row[3] or 0.0,
        log_score=log_score,
        log_probability=log_probability,
        outside=outside,
    )


def _standing(row: Row) -> Standing:
    lead, lead_s, steps, weights, coverage80, coverage90, skill = json.loads(row[4])
    return Standing(
        tag=row[1],
        at=moment(row[2]),
        lead=lead,
        lead_s=lead_s,
        steps=steps,
        weights=tuple((name, weight) for name, weight in weights),
        coverage80=coverage80,
        coverage90=coverage90,
        skill=skill,
    )


def _mark(row: Row) -> Mark:
    command, back_s = json.loads(row[4])
    return Mark(at=moment(row[2]), command=command, forecasts=round(row[3] or 0), back_s=back_s)


def _explanation(row: Row) -> Explanation:
    rule, sequence, text = json.loads(row[4])
    return Explanation(tag=row[1], rule=rule, sequence=sequence, at=moment(row[2]), text=text, by_model=bool(row[3]))


def _reply(row: Row) -> Reply:
    name, command, by, reason, via, text = json.loads(row[4])
    return Reply(
        id=name,
        at=moment(row[2]),
        command=command,
        alarm=row[1],
        by=by,
        reason=reason,
        via=via,
        done=bool(row[3]),
        text=text,
    )


def _verdict_fields(verdict: Verdict) -> list[Any]:
    return [
        verdict.rule,
        verdict.value,
        verdict.low,
        verdict.high,
        verdict.probability,
        verdict.lead_s,
        verdict.facts and _facts_fields(verdict.facts),
    ]


def _facts_fields(facts: Facts) -> list[Any]:
    parts = [[part.tag, part.value, part.expected, part.usual, part.share, part.unit] for part in facts.parts]
    return [facts.code, facts.figures, parts]


def _facts_of(fields: list[Any] | str | None) -> Facts | None:
    if not fields:
        return None
    if isinstance(fields, str):  # a word or a sentence, as a journal from before there were facts has it
        return Facts(code=fields)
    code, figures, parts = fields
    return Facts(
        code=code,
        figures=tuple((name, value) for name, value in figures),
        parts=tuple(
            Part(tag=tag, value=value, expected=expected, usual=usual, share=share, unit=unit)
            for tag, value, expected, usual, share, unit in parts
        ),
    )


def _verdict_of(tag: str, at: int, score: float, fields: list[Any]) -> Verdict:
    rule, value, low, high, probability, lead_s, facts = fields
    return Verdict(
        tag=tag,
        rule=rule,
        at=moment(at),
        score=score,
        value=value,
        low=low,
        high=high,
        probability=probability,
        lead_s=lead_s,
        facts=_facts_of(facts),
    )


def _alert_fields(alert: Alert) -> dict[str, Any]:
    verdict = alert.verdict
    return {
        "rule": alert.rule,
        "sequence": alert.sequence,
        "state": alert.state,
        "previous": alert.previous,
        "since": micros(alert.since),
        "priority": alert.priority,
        "text": alert.text,
        "by": alert.by,
        "unit": alert.unit,
        "verdict": verdict and {"at": micros(verdict.at), "score": verdict.score, "fields": _verdict_fields(verdict)},
    }


_DECODERS: dict[int, Callable[[Row], Record]] = {
    0: _sample,
    1: _forecast,
    2: _verdict,
    3: _alert,
    4: _status,
    5: _score,
    6: _standing,
    7: _mark,
    8: _explanation,
    9: _reply,
}

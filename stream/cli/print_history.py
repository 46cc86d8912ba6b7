"""What does the journal hold, as a person or a program reads it?"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from detectors.records import (
    Alert,
    Explanation,
    Forecast,
    Mark,
    Record,
    Reply,
    Sample,
    Score,
    Standing,
    Status,
    Verdict,
)
from stream.assemble import open_journal, state_folder

if TYPE_CHECKING:
    from rich.console import Console

    from config.load import Loaded
    from stream.journal.journal import Journal

__all__ = ["HistoryQuery", "print_history"]

KINDS: dict[str, type[Record]] = {
    "sample": Sample,
    "forecast": Forecast,
    "score": Score,
    "standing": Standing,
    "verdict": Verdict,
    "alert": Alert,
    "status": Status,
    "mark": Mark,
    "explanation": Explanation,
    "reply": Reply,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which records; moments without a zone are UTC."""

    tag: str | None
    kind: str | None
    since: datetime | None
    until: datetime | None
    limit: int


def print_history(loaded: Loaded, query: HistoryQuery, *, console: Console, as_json: bool) -> str:
    """Prints the newest records that match, oldest first; returns what is wrong with the question, or nothing."""
    if query.kind is not None and query.kind not in KINDS:
        return f"--kind: expected one of {', '.join(KINDS)}, found {query.kind!r}"
    known = loaded.settings.tags()
    if query.tag is not None and query.tag not in known:
        return f"--tag: expected one of {', '.join(sorted(known))}, found {query.tag!r}"
    journal = _open(loaded)
    if isinstance(journal, str):
        return journal
    try:
        records = journal.history(
            kinds=None if query.kind is None else {KINDS[query.kind]},
            tag=query.tag,
            since=_utc(query.since),
            until=_utc(query.until),
            limit=query.limit,
        )
    finally:
        journal.close()
    if as_json:
        for record in records:
            fields = {"kind": _kind(record)} | dataclasses.asdict(record)
            console.out(json.dumps(fields, default=_text), highlight=False)
        return ""
    for record in records:
        tag = known.get(getattr(record, "tag", ""))
        at, of, what = _line(record, tag.unit if tag else "")
        line = Text(f"{at:%Y-%m-%d %H:%M:%S.%f}"[:-3], style="dim")
        line.append(f"  {_kind(record):<8}", style="bold").append(f"  {of}", style="cyan").append(
            f"  {what}", style="default"
        )
        # One line each, however long: it goes through grep as often as past a person.
        console.print(line, soft_wrap=True)
    return ""


def _open(loaded: Loaded) -> Journal | str:
    path = state_folder(loaded) / "journal.sqlite3"
    if not path.exists():
        return f"there is no journal at {path}: has the service run with this configuration?"
    return open_journal(loaded)


def _line(record: Record, unit: str) -> tuple[datetime, str, str]:  # noqa: C901 - one case per kind of record
    match record:
        case Sample():
            value = record.reason if record.value is None else f"{record.value:g} {unit}"
            return record.source_at, record.tag, f"{value}  ({record.quality})"
        case Forecast():
            low, median, high = (record.quantiles[-1][i] for i in (0, 3, 6))
            ahead = record.horizon * record.period_s
            return (
                record.made_at,
                record.tag,
                f"in {ahead:g} s: {median:.5g} {unit}, 90 % within {low:.5g} to {high:.5g}  ({record.forecaster})",
            )
        case Score():
            said = f"{record.value:g} {unit}: PIT {record.pit:.3f}, {-record.log_probability:.2f} nats"
            return record.at, record.tag, f"{said}  ({record.forecaster})"
        case Standing():
            by = ", ".join(f"{name} {weight:.0%}" for name, weight in sorted(record.weights, key=lambda w: -w[1]))
            skill = "" if record.skill is None else f"; {record.skill:+.0%} against persistence"
            inside = "" if record.coverage80 is None else f"; {record.coverage80:.0%} within the 80 % band"
            return record.at, record.tag, f"{record.lead_s:g} s ahead: {by}{skill}{inside}"
        case Verdict():
            return record.at, record.tag, f"{record.rule}: score {record.score:.2f}"
        case Alert():
            return record.at, record.alarm, f"{record.state}: {record.text}"
        case Explanation():
            return record.at, record.alarm, f"{record.text}  ({'model' if record.by_model else 'facts'})"
        case Reply():
            return record.at, record.alarm, f"{record.text}  (by {record.by!r}, {record.via})"
        case Mark():
            told = f"clock set back by {record.back_s:g} s" if record.back_s else record.command
            return record.at, "lane", told or f"heard of the model lane, {record.forecasts} forecasts"
        case Status():
            return record.at, record.subject, f"{'ok' if record.ok else 'not ok'}: {record.detail}"


def _kind(record: Record) -> str:
    return type(record).__name__.lower()


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)

"""What did a plant record before Givre came? Two layouts of CSV, as historians export them.

- *long*: a row per change: date, tag, old value, new value (or one value);
- *wide*: a date and a column per tag, blank where nothing changed.

Dates are French (31/12/2014 23:00) or ISO, numbers have a decimal comma or point, cells are parted by `;`, `,` or a tab; all
of it is told from the file. A cell that cannot be read is one rejection, and so is a torn last line; only a file that is no
history at all is an error. A blank is no report: the value before it is held, as it was in the plant.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from detectors.records import Sample
from stream.sources.source import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["HistoryError", "read_history"]

DATE_NAMES = {"date", "datetime", "time", "timestamp", "horodatage", "date/heure", "date heure", "heure", "temps"}
TAG_NAMES = {"tag", "name", "nom", "variable", "signal", "point"}
NEW_NAMES = {"new value", "new", "value", "nouvelle valeur", "valeur", "new_value", "nouvelle_valeur", "val"}
OLD_NAMES = {"old value", "old", "ancienne valeur", "old_value", "ancienne_valeur", "previous value"}
_DATE = re.compile(
    r"(?:(?P<y>\d{4})[-/](?P<m>\d{1,2})[-/](?P<d>\d{1,2})|(?P<d2>\d{1,2})[/.-](?P<m2>\d{1,2})[/.-](?P<y2>\d{4}))"
    r"(?:[T ]+(?P<H>\d{1,2})[:h](?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,6})\d*)?)?)?\s*(?P<z>Z|[+-]\d{2}:?\d{2})?"
)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_SHOWN = 60


class HistoryError(Exception):
    """A file that is no history: what was expected, what was found, and where."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where date, tag and value stand; in a wide file `tags` has the tag of each column that is followed."""

    delimiter: str
    date: int
    tag: int | None
    value: int | None
    tags: Mapping[int, str]


def read_history(
    path: Path,
    *,
    tags: Mapping[str, str],
    timezone: str = "UTC",
    reject: Callable[[Rejection], None] = lambda _rejection: None,
    note: Callable[[str], None] = lambda _line: None,
) -> Iterator[Sample]:
    """Samples of a file in its order, with the moment of each as both source and arrival time.

    `tags` maps the names in the file to ``asset/tag``; other names are noted once and left out. `timezone` is that of dates
    without one; a date that a clock change makes twice is taken as the first. Raises HistoryError, at once for what the
    header tells, and while reading if dates cannot be read at all.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise HistoryError(f"time zone: expected a name such as Europe/Paris, found {timezone!r}") from None
    text = _text(path)
    first, _, _ = text.partition("\n")
    if not text.strip():
        raise HistoryError(f"{path}: expected a header and rows, found an empty file")
    layout = _layout(path, first, tags, note)
    return _Reader(path, layout, tags, zone, reject, note).samples(text)


class _Reader:
    def __init__(  # noqa: PLR0917 - one caller, in this file
        self,
        path: Path,
        layout: _Layout,
        tags: Mapping[str, str],
        zone: ZoneInfo,
        reject: Callable[[Rejection], None],
        note: Callable[[str], None],
    ) -> None:
        self._path = path
        self._layout = layout
        self._tags = tags
        self._zone = zone
        self._reject = reject
        self._note = note
        self._unknown: set[str] = set()
        self._dates_read = 0

    def samples(self, text: str) -> Iterator[Sample]:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=self._layout.delimiter)
        header = next(rows)
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) < (2 if self._layout.tag is None else len(header)):
                self._refuse("", "torn_line", f"line {rows.line_num}: {len(row)} of {len(header)} cells")
                continue
            at = self._moment(row[self._layout.date], rows.line_num)
            if at is not None:
                yield from self._row(row, at, rows.line_num)

    def _row(self, row: Sequence[str], at: datetime, line: int) -> Iterator[Sample]:
        layout = self._layout
        if layout.tag is not None and layout.value is not None:
            name = row[layout.tag].strip()
            tag = self._tags.get(name)
            if tag is None:
                if name not in self._unknown:
                    self._unknown.add(name)
                    self._note(f"{self._path}: left out, no configured tag: {name[:_SHOWN]!r}")
                return
            cells = [(tag, row[layout.value])]
        else:
            cells = [(tag, row[i]) for i, tag in layout.tags.items() if i < len(row)]
        for tag, cell in cells:
            if not cell.strip():
                continue
            value = _number(cell)
            if value is None:
                self._refuse(tag, "unparsable", f"line {line}: {cell[:_SHOWN]!r}", at)
            elif not math.isfinite(value):
                self._refuse(tag, "not_finite", f"line {line}: {cell[:_SHOWN]!r}", at)
            else:
                yield Sample(tag=tag, value=value, source_at=at, arrived_at=at)

    def _moment(self, cell: str, line: int) -> datetime | None:
        try:
            at = _date(cell, self._zone)
        except ValueError as error:
            detail = (
                f"line {line}: expected a date (2014-12-31 23:00 or 31/12/2014 23:00), found {cell[:_SHOWN]!r}: {error}"
            )
            if self._dates_read == 0:
                raise HistoryError(f"{self._path}: {detail}") from None
            self._refuse("", "impossible_date", detail)
            return None
        self._dates_read += 1
        return at

    def _refuse(self, tag: str, reason: str, detail: str, at: datetime | None = None) -> None:
        moment = at or datetime.fromtimestamp(0, UTC)
        self._reject(
            Rejection(source="history", tag=tag, reason=reason, detail=f"{self._path.name}, {detail}", at=moment)
        )


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HistoryError(f"{path}: expected a file that can be read, found: {error.strerror}") from None
    if b"\0" in data[:4096]:
        raise HistoryError(f"{path}: expected CSV as UTF-8 or Latin-1 text, found binary data")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _layout(path: Path, header: str, tags: Mapping[str, str], note: Callable[[str], None]) -> _Layout:
    delimiter = max(";\t,", key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    words = [name.casefold() for name in names]
    date = next((i for i, word in enumerate(words) if word in DATE_NAMES), None)
    if date is None:
        expected = "a header with a date column (date, time, timestamp, horodatage ...)"
        raise HistoryError(f"{path}, line 1: expected {expected}, found {header[:_SHOWN]!r}")
    tag = next((i for i, word in enumerate(words) if word in TAG_NAMES), None)
    value = next((i for i, word in enumerate(words) if word in NEW_NAMES), None)
    if tag is not None and value is not None:
        note(f"{path}: a row per change, tag in {names[tag]!r}, value in {names[value]!r}")
        return _Layout(delimiter, date, tag, value, {})
    columns = {i: tags[name] for i, name in enumerate(names) if i != date and name in tags}
    if not columns:
        known = ", ".join(sorted(tags))
        raise HistoryError(f"{path}, line 1: expected a column of a configured tag ({known}), found {header[:200]!r}")
    left_out = [name for i, name in enumerate(names) if i != date and i not in columns]
    note(f"{path}: a column per tag; left out, no configured tag: {', '.join(left_out) or 'none'}")
    return _Layout(delimiter, date, None, None, columns)


def _date(cell: str, zone: ZoneInfo) -> datetime:
    """An aware UTC moment; raises ValueError with what is impossible about it."""
    found = _DATE.fullmatch(cell.strip())
    if found is None:
        raise ValueError("no such form")
    part = found.groupdict()
    year, month, day = (int(part[a] or part[b]) for a, b in (("y", "y2"), ("m", "m2"), ("d", "d2")))
    hour, minute, second = (int(part[name] or 0) for name in "HMS")
    fraction = int((part["f"] or "0").ljust(6, "0"))
    local = datetime(year, month, day, hour, minute, second, fraction, tzinfo=zone)
    if part["z"]:
        local = local.replace(tzinfo=datetime.strptime(part["z"].replace(":", ""), "%z").tzinfo)
    return local.astimezone(UTC)


def _number(cell: str) -> float | None:
    """A number with a decimal comma or point; thousands may be parted by (narrow, hard) spaces, as French exports do."""
    text = re.sub(r"(?<=\d)[ \u00a0\u202f](?=\d{3}(\D|$))", "", cell.strip())
    if text.casefold() in ("nan", "inf", "+inf", "-inf", "infinity", "-infinity"):
        return math.nan
    if not _NUMBER.fullmatch(text):
        return None
    return float(text.replace(",", "."))

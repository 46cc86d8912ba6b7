"""What did a plant record before Givre came? Two layouts of CSV, as historians export them.

- *long*: a row per change: date, tag, old value, new value (or one value);
- *wide*: a date and a column per tag, blank where nothing changed.

Dates are French (31/12/2014 23:00) or ISO, perhaps with the time of day in a column of its own; numbers have a decimal comma
or point; cells are parted by `;`, `,` or a tab; text is UTF-8, Latin-1 or Excel's UTF-16: all of it is told from the file. A cell
that cannot be read is one rejection, and so is a torn line; only a file that is no history at all is an error. A blank is no
report: the value before it is held, as it was in the plant.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from detectors.records import Sample
from stream.sources.source import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["EveryTag", "HistoryError", "read_history", "read_moment", "read_span"]

DATE_NAMES = {"date", "datetime", "time", "timestamp", "horodatage", "date/heure", "date heure", "heure", "temps"}
TAG_NAMES = {"tag", "name", "nom", "variable", "signal", "point"}
NEW_NAMES = {"new value", "new", "value", "nouvelle valeur", "valeur", "new_value", "nouvelle_valeur", "val"}
CLOCK_NAMES = {"time", "heure", "hour", "temps"}
"""Beside another column of dates, one of these is the time of day."""
PATIENCE = 10
"""So many rows before the first date (units, descriptions) are rejected before the file is taken for no history."""
_DATE = re.compile(
    r"(?:(?P<y>\d{4})[-/](?P<m>\d{1,2})[-/](?P<d>\d{1,2})|(?P<d2>\d{1,2})[/.-](?P<m2>\d{1,2})[/.-](?P<y2>\d{4}))"
    r"(?:[T ]+(?P<H>\d{1,2})[:h](?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,6})\d*)?)?)?\s*(?P<z>Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"(?<=\d)[ \u00a0\u2009\u202f](?=\d{3}(\D|$))", re.ASCII)
_NOT_FINITE = {"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}
_SHOWN = 60
_NAMES_SHOWN = 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class HistoryError(Exception):
    """A file that is no history: what was expected, what was found, and where."""


class EveryTag(Mapping[str, str]):
    """Takes every name in a file as the tag that it is, for who has no configuration to say otherwise."""

    def __getitem__(self, name: str) -> str:
        if not name.strip():
            raise KeyError(name)
        return name

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where date, tag and value stand; in a wide file `tags` has the tag of each column that is followed."""

    delimiter: str
    header_line: int
    cells: int
    date: int
    clock: int | None
    tag: int | None
    value: int | None
    tags: Mapping[int, str]

    @property
    def least(self) -> int:
        """As many cells a row needs before anything can be told from it."""
        return 1 + max(i for i in (self.date, self.clock, self.tag, self.value) if i is not None)


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
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise HistoryError(f"time zone: expected a name such as Europe/Paris, found {timezone[:_SHOWN]!r}") from None
    encoding = _encoding(path)
    for number, line in enumerate(_lines(path, encoding), 1):
        if line.strip() and not line.startswith("sep="):  # Excel's word to itself
            layout = _layout(path, number, line, tags, note)
            return _Reader(path, layout, tags, zone, reject, note).samples(encoding)
    raise HistoryError(f"{path}: expected a header and rows, found an empty file")


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
        self._dateless: list[str] = []

    def samples(self, encoding: str) -> Iterator[Sample]:
        layout = self._layout
        first = layout.header_line + 1
        for number, line in enumerate(islice(_lines(self._path, encoding), layout.header_line, None), first):
            if not line.strip(f"{layout.delimiter} \t\r\n"):
                continue
            row = _cells(line, layout.delimiter)
            # The last line alone may lack its end; a row within may well leave out blanks at its own.
            torn = len(row) < (layout.least if line.endswith("\n") else layout.cells)
            if torn or any(cell.strip() for cell in row[layout.cells :]):
                reason = "torn_line" if torn else "too_many_cells"
                self._refuse("", reason, f"line {number}: {len(row)} of {layout.cells} cells: {line[:_SHOWN]!r}")
                continue
            at = self._moment(row, number)
            if at is not None:
                yield from self._row(row, at, number)
        if self._dateless and not self._dates_read:
            raise HistoryError(self._dateless[0])

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

    def _moment(self, row: Sequence[str], line: int) -> datetime | None:
        cell = row[self._layout.date]
        if self._layout.clock is not None:
            cell = f"{cell.strip()} {row[self._layout.clock].strip()}"
        try:
            at = read_moment(cell, self._zone)
        except ValueError as error:
            detail = (
                f"line {line}: expected a date (2014-12-31 23:00 or 31/12/2014 23:00), found {cell[:_SHOWN]!r}: {error}"
            )
            self._refuse("", "impossible_date", detail)
            if not self._dates_read:
                self._dateless.append(f"{self._path}: {detail}")
                if len(self._dateless) > PATIENCE:
                    raise HistoryError(self._dateless[0]) from None
            return None
        self._dates_read += 1
        return at

    def _refuse(self, tag: str, reason: str, detail: str, at: datetime | None = None) -> None:
        moment = at or datetime.fromtimestamp(0, UTC)
        self._reject(
            Rejection(source="history", tag=tag, reason=reason, detail=f"{self._path.name}, {detail}", at=moment)
        )


def _encoding(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or error
        raise HistoryError(f"{path}: expected a file that can be read, found: {found}") from None
    if start.startswith(_UTF16):
        return "utf-16"
    if b"\0" in start:
        raise HistoryError(f"{path}: expected CSV as UTF-8 or Latin-1 text, found binary data")
    return "utf-8-sig"


def _lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines, one at a time: a history may be larger than memory. What is no UTF-8 is Latin-1, in its line alone."""
    errors = "replace" if encoding == "utf-16" else "surrogateescape"
    try:
        with path.open(encoding=encoding, errors=errors) as file:
            for line in file:
                if line.isascii() or encoding == "utf-16":
                    yield line
                else:
                    raw = line.encode("utf-8", "surrogateescape")
                    yield line if raw.decode(errors="replace") == line else raw.decode("latin-1")
    except (OSError, UnicodeError) as error:
        raise HistoryError(f"{path}: expected a file that can be read to its end, found: {error}") from None


def _cells(line: str, delimiter: str) -> list[str]:
    """One line is one row, whatever its quotes: one that is not closed must not swallow the rest of the file."""
    line = line.rstrip("\n")
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a cell without end
        return []


def _layout(path: Path, number: int, header: str, tags: Mapping[str, str], note: Callable[[str], None]) -> _Layout:
    where = f"{path}, line {number}"
    for delimiter in ";\t,":
        names = [name.strip() for name in _cells(header, delimiter)]
        words = [name.casefold() for name in names]
        dates = [i for i, word in enumerate(words) if word in DATE_NAMES]
        if dates:
            break
    else:
        expected = "a header with a date column (date, time, timestamp, horodatage ...)"
        raise HistoryError(f"{where}: expected {expected}, found {header[:_SHOWN]!r}")
    while not names[-1]:
        names.pop()
    date = next((i for i in dates if words[i] not in CLOCK_NAMES), dates[0])
    clock = next((i for i in dates if i != date and words[i] in CLOCK_NAMES and words[date] == "date"), None)
    tag = next((i for i, word in enumerate(words) if word in TAG_NAMES), None)
    value = next((i for i, word in enumerate(words) if word in NEW_NAMES), None)
    if tag is not None and value is not None:
        note(f"{path}: a row per change, tag in {names[tag]!r}, value in {names[value]!r}")
        return _Layout(delimiter, number, len(names), date, clock, tag, value, {})
    columns: dict[int, str] = {}
    for i, name in enumerate(names):
        if i in {date, clock} or name not in tags:
            continue
        if tags[name] in columns.values():
            raise HistoryError(f"{where}: expected one column of {tags[name]}, found another: {name[:_SHOWN]!r}")
        columns[i] = tags[name]
    if not columns:
        known = ", ".join(sorted(tags))
        raise HistoryError(f"{where}: expected a column of a configured tag ({known}), found {header[:200]!r}")
    left_out = [repr(name[:_SHOWN]) for i, name in enumerate(names) if i not in {date, clock} and i not in columns]
    said = ", ".join(left_out[:_NAMES_SHOWN]) or "none"
    if len(left_out) > _NAMES_SHOWN:
        said += f" and {len(left_out) - _NAMES_SHOWN} more"
    note(f"{path}: a column per tag; left out, no configured tag: {said}")
    return _Layout(delimiter, number, len(names), date, clock, None, None, columns)


def read_moment(cell: str, zone: ZoneInfo) -> datetime:
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
    try:
        return local.astimezone(UTC)
    except OverflowError:
        raise ValueError("beyond the calendar in UTC") from None


def read_span(text: str, timezone: str, *, subject: str) -> tuple[datetime, datetime]:
    """FROM/TO as two moments; raises HistoryError, with its subject, for anything else."""
    begin, slash, end = text.partition("/")
    try:
        zone = ZoneInfo(timezone)
        span = read_moment(begin, zone), read_moment(end, zone)
    except (ZoneInfoNotFoundError, OSError):
        raise HistoryError(f"time zone: expected a name such as Europe/Paris, found {timezone[:60]!r}") from None
    except ValueError as error:
        raise HistoryError(
            f"{subject}: expected FROM/TO (2014-11-01/2014-12-31), found {text[:80]!r}: {error}"
        ) from None
    if not slash or not span[0] < span[1]:
        raise HistoryError(f"{subject}: expected FROM before TO, found {text[:80]!r}")
    return span


def _number(cell: str) -> float | None:
    """A number with a decimal comma or point; thousands may be parted by (narrow, hard) spaces, as French exports do."""
    text = _THOUSANDS.sub("", cell.strip())
    if text.casefold() in _NOT_FINITE:
        return math.nan
    if not _NUMBER.fullmatch(text):
        return None
    return float(text.replace(",", "."))

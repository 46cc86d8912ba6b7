"""What did a plant record, kept as Parquet? The two layouts of the CSV files: a row per change, or a column per tag.

pyarrow reads it, the extra `evaluate`. The column of dates is the one with a usual name, else the only one that holds
timestamps; timestamps without a time zone are in the given one, text is read as in a CSV file.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from detectors.records import Sample
from stream.sources.history import DATE_NAMES, NEW_NAMES, TAG_NAMES, HistoryError, read_moment
from stream.sources.source import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["read_parquet"]

_ROWS = 65_536
_EXTRA = "pip install 'givre[evaluate]'"


def read_parquet(
    path: Path,
    *,
    tags: Mapping[str, str],
    timezone: str = "UTC",
    reject: Callable[[Rejection], None] = lambda _rejection: None,
    note: Callable[[str], None] = lambda _line: None,
) -> Iterator[Sample]:
    """Samples of a file in its order; arguments and errors as `stream.sources.history.read_history`."""
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - an extra that few need
    except ImportError:
        raise HistoryError(f"{path}: expected pyarrow to read Parquet with, found none installed: {_EXTRA}") from None
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise HistoryError(f"time zone: expected a name such as Europe/Paris, found {timezone[:60]!r}") from None
    try:
        file = parquet.ParquetFile(path)
        names = list(file.schema_arrow.names)
        times = [field.name for field in file.schema_arrow if str(field.type).startswith(("timestamp", "date"))]
        layout = _Layout.of(path, names, times, tags, note)
        columns = [layout.date, *([layout.tag, layout.value] if layout.tag else layout.tags)]
        batches = file.iter_batches(batch_size=_ROWS, columns=columns)
        rows = (dict(zip(batch.keys(), row, strict=True)) for batch in map(_columns, batches) for row in _rows(batch))
        yield from _samples(rows, layout, path=path, tags=tags, zone=zone, reject=reject)
    except (ArrowException, OSError) as error:
        raise HistoryError(f"{path}: expected a Parquet file that can be read, found: {error!s:.300}") from None


class _Layout:
    """Where date, tag and value stand; `tags` are the columns of a wide file."""

    def __init__(self, date: str, tag: str, value: str, tags: Sequence[str]) -> None:
        self.date = date
        self.tag = tag
        self.value = value
        self.tags = tags

    @classmethod
    def of(
        cls,
        path: Path,
        names: Sequence[str],
        times: Sequence[str],
        tags: Mapping[str, str],
        note: Callable[[str], None],
    ) -> _Layout:
        dates = [name for name in names if name.strip().casefold() in DATE_NAMES] or list(times)
        if not dates or (len(dates) > 1 and dates == list(times)):
            raise HistoryError(
                f"{path}: expected one column of dates (date, time, timestamp ...), found {', '.join(names)[:200]!r}"
            )
        date = next((name for name in dates if name in times), dates[0])
        tag = next((name for name in names if name.strip().casefold() in TAG_NAMES), "")
        value = next((name for name in names if name.strip().casefold() in NEW_NAMES and name != date), "")
        if tag and value:
            note(f"{path}: a row per change, tag in {tag!r}, value in {value!r}")
            return cls(date, tag, value, ())
        columns = [name for name in names if name != date and name in tags]
        if not columns:
            raise HistoryError(
                f"{path}: expected a column of a tag ({', '.join(sorted(tags)) or 'any'}), found {', '.join(names)[:200]!r}"
            )
        note(f"{path}: a column per tag: {', '.join(columns)[:200]}")
        return cls(date, "", "", columns)


def _samples(
    rows: Iterator[dict[str, Any]],
    layout: _Layout,
    *,
    path: Path,
    tags: Mapping[str, str],
    zone: ZoneInfo,
    reject: Callable[[Rejection], None],
) -> Iterator[Sample]:
    for number, row in enumerate(rows, 1):

        def refuse(tag: str, reason: str, what: object, at: datetime | None = None, *, line: int = number) -> None:
            moment = at or datetime.fromtimestamp(0, UTC)
            detail = f"{path.name}, row {line}: {what!r:.60}"
            reject(Rejection(source="history", tag=tag, reason=reason, detail=detail, at=moment))

        at = _moment(row[layout.date], zone)
        if at is None:
            refuse("", "impossible_date", row[layout.date])
            continue
        if layout.tag:
            named = str(row[layout.tag])
            cells = [(tags[named], row[layout.value])] if named in tags else []
        else:
            cells = [(tags[name], row[name]) for name in layout.tags]
        for tag, cell in cells:
            if cell is None or (isinstance(cell, float) and math.isnan(cell)):
                continue
            if isinstance(cell, bool) or not isinstance(cell, (int, float)):
                refuse(tag, "unparsable", cell, at)
            elif not math.isfinite(cell):
                refuse(tag, "not_finite", cell, at)
            else:
                yield Sample(tag=tag, value=float(cell), source_at=at, arrived_at=at)


def _moment(cell: object, zone: ZoneInfo) -> datetime | None:
    if isinstance(cell, str):
        try:
            return read_moment(cell, zone)
        except ValueError:
            return None
    if hasattr(cell, "to_pydatetime"):  # nanoseconds, where pandas is there as well
        cell = cell.to_pydatetime()
    if isinstance(cell, date) and not isinstance(cell, datetime):
        cell = datetime.combine(cell, time.min)
    if not isinstance(cell, datetime):
        return None
    try:
        return (cell if cell.tzinfo is not None else cell.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return None


def _columns(batch: Any) -> dict[str, list[Any]]:
    return {name: batch.column(name).to_pylist() for name in batch.schema.names}


def _rows(batch: dict[str, list[Any]]) -> Iterator[tuple[Any, ...]]:
    return zip(*batch.values(), strict=True)

"""What did a plant record, kept in InfluxDB? One query, read as history.

Flux goes to `/api/v2/query` through influxdb-client; anything else is InfluxQL and goes to `/query`, which InfluxDB 1 and
(with a database mapping) InfluxDB 2 answer. A series is named by its labels: ``asset/tag`` where it has those of Givre's own
samples, else by measurement, labels and field.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import urllib3
from influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException

from detectors.records import Sample
from stream.sources.history import HistoryError
from stream.sources.source import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["query_influxdb"]

TIMEOUT_S = 300.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN = {"result", "table", "_start", "_stop", "_time", "_value", "_field", "_measurement"}


def query_influxdb(
    url: str,
    query: str,
    *,
    database: str = "",
    org: str = "",
    token: str | None = None,
    username: str | None = None,
    password: str | None = None,
    timeout_s: float = TIMEOUT_S,
    reject: Callable[[Rejection], None] = lambda _rejection: None,
) -> Iterator[Sample]:
    """Samples of the series that the query selects. Raises HistoryError for what the server refuses, and for no rows."""
    where = f"InfluxDB at {urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition('@')[2]).geturl()}"
    flux = "from(" in query.replace(" ", "")
    rows = (
        _flux(where, url, query, org=org, token=token, timeout_s=timeout_s)
        if flux
        else _influxql(where, url, query, database=database, username=username, password=password, timeout_s=timeout_s)
    )
    count = 0
    for tag, at, value in rows:
        if value is None:
            continue
        count += 1
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            detail = f"a row of the query: {value!r:.60}"
            reject(Rejection(source="history", tag=tag, reason="unparsable", detail=detail, at=at))
        else:
            yield Sample(tag=tag, value=float(value), source_at=at, arrived_at=at)
    if not count:
        raise HistoryError(f"{where}: expected rows, found none for the query {query[:200]!r}")


def _flux(
    where: str, url: str, query: str, *, org: str, token: str | None, timeout_s: float
) -> Iterator[tuple[str, datetime, Any]]:
    try:
        with InfluxDBClient(url=url, token=token or "", org=org, timeout=round(timeout_s * 1000)) as client:
            for record in client.query_api().query_stream(query):
                values = record.values
                at = values.get("_time")
                if not isinstance(at, datetime) or "_value" not in values:
                    raise HistoryError(f"{where}: expected columns _time and _value, found {sorted(values)}")
                labels = {name: text for name, text in values.items() if name not in _OWN}
                yield (
                    _name(str(values.get("_measurement", "")), labels, str(values.get("_field", ""))),
                    at,
                    values["_value"],
                )
    except ApiException as error:
        raise HistoryError(
            f"{where}: expected rows, found {error.status} {str(error.body or error.reason)[:300]}"
        ) from None
    except urllib3.exceptions.HTTPError as error:
        raise HistoryError(f"{where}: expected an answer, found {type(error).__name__}") from None


def _influxql(
    where: str, url: str, query: str, *, database: str, username: str | None, password: str | None, timeout_s: float
) -> Iterator[tuple[str, datetime, Any]]:
    headers = urllib3.make_headers(basic_auth=f"{username}:{password or ''}") if username is not None else {}
    asked = urlencode({"db": database, "q": query, "epoch": "u"})
    try:
        answer = urllib3.request(
            "GET", f"{url.rstrip('/')}/query?{asked}", headers=headers, timeout=timeout_s, retries=False
        )
        said = json.loads(answer.data)
    except urllib3.exceptions.HTTPError as error:
        raise HistoryError(f"{where}: expected an answer, found {type(error).__name__}") from None
    except ValueError:
        raise HistoryError(f"{where}: expected JSON, found {answer.status} {answer.data[:100]!r}") from None
    results = said.get("results", [])
    problem = said.get("error") or next((one["error"] for one in results if "error" in one), None)
    if answer.status != 200 or problem:
        raise HistoryError(f"{where}: expected rows, found {answer.status} {str(problem)[:300]}")
    if any(series.get("partial") for one in results for series in one.get("series", [])):
        raise HistoryError(
            f"{where}: expected all rows, but the server cut the answer short. Ask for a shorter time range"
        )
    for series in (series for one in results for series in one.get("series", [])):
        columns = series["columns"]
        if columns[0] != "time":
            raise HistoryError(f"{where}: expected a query of values over time, found columns {columns}")
        for row in series["values"]:
            at = _EPOCH + timedelta(microseconds=row[0])
            for field, value in zip(columns[1:], row[1:], strict=True):
                yield _name(series["name"], series.get("tags", {}), field), at, value


def _name(measurement: str, labels: Mapping[str, object], field: str) -> str:
    if labels.get("asset") and labels.get("tag"):
        return f"{labels['asset']}/{labels['tag']}"
    return "/".join([measurement, *(str(labels[name]) for name in sorted(labels) if labels[name]), field]).strip("/")

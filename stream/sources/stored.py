"""What did Givre itself write to its InfluxDB? The samples of a sink, read back as history, a page of each tag at a time.

Asked in InfluxQL at `/query`, which InfluxDB 1 answers, 3 too, and 2 where the bucket is mapped to a database of its name (2 does
so by itself). Each page goes on behind the last time of the one before, so that memory does not grow with the history; the tags
are merged by time. A value of bad quality, and a sample without one, is a hole.
"""

from __future__ import annotations

import heapq
import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import urllib3

from detectors.records import Quality, Sample
from stream.sources.history import HistoryError
from stream.sources.source import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["PREFIX", "Stored"]

PREFIX = "sink:"
"""How a history is written that is kept in a sink, as `sink:store` or `sink:store@FROM/TO`."""
PAGE = 10_000
TIMEOUT_S = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUALITY = {0: Quality.GOOD, 1: Quality.UNCERTAIN}
_WORDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The samples of one site in a bucket (v2) or database (v1), from `since` (with it) to `until` (without), where given.

    `name` is that of the sink, `tags` are those of the configuration.
    """

    name: str
    url: str
    database: str
    site: str
    tags: tuple[str, ...]
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    since: datetime | None = None
    until: datetime | None = None
    page: int = PAGE

    @property
    def label(self) -> str:
        """What it is called in a sentence."""
        return f"{PREFIX}{self.name}"

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        where = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return f"{self.label} (InfluxDB at {where}, {self.database})"

    def samples(
        self, *, tags: Mapping[str, str], reject: Callable[[Rejection], None] = lambda _rejection: None
    ) -> Iterator[Sample]:
        """The samples of those tags that are configured, by time. Raises HistoryError for what the server refuses, or silence."""
        # A pool of its own: a page waits for the next one, not for a new connection.
        with urllib3.PoolManager(num_pools=1, timeout=TIMEOUT_S, retries=False) as pool:
            each = [self._tag(pool, tag, reject) for tag in self.tags if tag in tags]
            yield from heapq.merge(*each, key=attrgetter("source_at"))

    def _tag(self, pool: urllib3.PoolManager, tag: str, reject: Callable[[Rejection], None]) -> Iterator[Sample]:
        asset, _, short = tag.partition("/")
        labels = " AND ".join(
            f'"{label}" = {_quoted(text)}' for label, text in (("site", self.site), ("asset", asset), ("tag", short))
        )
        after = "" if self.since is None else f" AND time >= {_nanoseconds(self.since)}"
        before = "" if self.until is None else f" AND time < {_nanoseconds(self.until)}"
        while True:
            where = f"{labels}{after}{before} ORDER BY time ASC LIMIT {self.page}"
            rows = self._ask(pool, f'SELECT "value", "quality" FROM "sample" WHERE {where}')  # noqa: S608 - names are quoted
            for nanoseconds, value, quality in rows:
                at = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
                if value is None or quality not in {None, *_QUALITY}:
                    why = "no good value is stored"
                    yield Sample(tag=tag, value=None, quality=Quality.BAD, source_at=at, arrived_at=at, reason=why)
                elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    detail = f"{self}: {value!r:.60}"
                    reject(Rejection(source="history", tag=tag, reason="unparsable", detail=detail, at=at))
                else:
                    good = _QUALITY.get(quality, Quality.GOOD)
                    yield Sample(tag=tag, value=float(value), quality=good, source_at=at, arrived_at=at)
            if len(rows) < self.page:
                return
            after = f" AND time > {rows[-1][0]}"

    def _ask(self, pool: urllib3.PoolManager, query: str) -> list[Any]:
        """The rows of one answer: nanoseconds since 1970, value, quality."""
        headers = {"Authorization": f"Token {self.token}"} if self.token else {}
        if self.username is not None:
            headers = urllib3.make_headers(basic_auth=f"{self.username}:{self.password or ''}")
        asked = urlencode({"db": self.database, "q": query, "epoch": "ns"})
        try:
            answer = pool.request("GET", f"{self.url.rstrip('/')}/query?{asked}", headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise HistoryError(f"{self}: expected an answer, found {_cause(error)}") from None
        try:
            said = json.loads(answer.data)
            results = said.get("results", [])
            problem = (
                said.get("error")
                or said.get("message")
                or next((one["error"] for one in results if "error" in one), "")
            )
            series = [each for one in results for each in one.get("series", [])]
            rows: list[Any] = [row for one in series for row in one["values"]]
            cut = any(one.get("partial") for one in series)
        except (ValueError, AttributeError, KeyError, TypeError):
            found = self._hushed(answer.data[:_WORDS].decode(errors="replace"))
            raise HistoryError(
                f"{self}: expected an answer of InfluxDB, found {answer.status} {found!r:.120}"
            ) from None
        if answer.status != 200 or problem:
            advice = _ADVICE.get(answer.status, "")
            if "database not found" in str(problem) or "bucket" in str(problem):
                advice = _ADVICE[404]
            raise HistoryError(f"{self}: expected samples, found {answer.status} {self._hushed(str(problem))}{advice}")
        if cut and len(rows) < self.page:
            raise HistoryError(
                f"{self}: expected pages of {self.page} rows, found the server cutting them at {len(rows)} (max-row-limit)"
            )
        return rows

    def _hushed(self, text: str) -> str:
        """Without secrets: some proxies answer with the request."""
        for secret in filter(None, (self.token, self.password)):
            text = text.replace(secret, "***")
        return "".join(c if c.isprintable() else "?" for c in " ".join(text.split())[:_WORDS])


_ADVICE = {
    401: ". Check the token (or user name and password) of the sink: it must be allowed to read",
    403: ". Check the token (or user name and password) of the sink: it must be allowed to read",
    404: ". Check the sink's bucket; InfluxDB 2 must map it to a database of its name (influx v1 dbrp)",
}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


def _cause(error: BaseException) -> str:
    """What the operating system said, or else the kind of error."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror[:_WORDS]
        inner = inner.__cause__ or inner.__context__
    return type(error).__name__

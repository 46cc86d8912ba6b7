"""How do records get into InfluxDB? One confirmed request per batch: what fails for now stays in the journal.

The v2 API (InfluxDB 2, 3 and 1.8+) through influxdb-client in its synchronous mode; older servers through /write. What the
answers mean: 204 stored; 400 and 422 something in the batch is wrong, and it is halved until the bad points are alone (the
good ones of a partial write are stored already, and writing them again changes nothing); 413 too large, halved; everything
else (401, 403 and 404 included: a token is rotated, a bucket is made) may be better later.

Where nothing at all of a write was taken, it may be the request that is wrong (no organisation, a proxy in between) and not
the points. Then one plain point, `givre_probe` at the server's own time, decides: only a server that takes that one has
refused the others.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import urllib3
from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from detectors.records import Alert, Forecast, Sample, Score, Standing, Status, Verdict
from stream.sinks.point import lines
from stream.sinks.sink import Refused, SinkUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.records import Record

__all__ = ["InfluxSink"]

TIMEOUT_S = 8.0
_STORED = 204
_BAD_POINTS = (400, 422)
_TOO_LARGE = 413
_REASONS = {
    401: "the login was refused: check the token (or user name and password)",
    403: "the login may not write there: give it write access to the bucket",
    404: "the bucket (or database) was not found: make it, or correct its name",
    429: "it asked to wait",
    0: "the connection is not secure",  # the client's word for an error of TLS
}
_ALL_TOO_OLD = re.compile(r"points beyond retention policy dropped=(\d+)")
_WORDS = 300


class _Answer(Exception):  # noqa: N818 - an answer of the server, good or bad for whoever asked
    """An answer other than stored."""

    def __init__(self, status: int, words: str, retry_after_s: float | None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Batch:
    """The lines of some records, and how many of these the server took and refused."""

    pieces: list[tuple[int, list[str]]]
    taken: int = 0
    refused: list[Refused] = field(default_factory=list)


class InfluxSink:
    """One bucket (v2) or database (v1); it is not connected until the first write."""

    kinds: frozenset[type] = frozenset({Sample, Forecast, Score, Verdict, Alert, Status, Standing})

    def __init__(
        self,
        *,
        name: str,
        site: str,
        version: int,
        url: str,
        bucket: str,
        org: str = "",
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.name = name
        self._site = site
        self._closed = False
        self._canary = Point("givre_probe").tag("site", site).field("ok", 1).to_line_protocol()
        url = url.rstrip("/")
        self._where = f"InfluxDB at {_without_login(url)}, {'bucket' if version == 2 else 'database'} {bucket}"
        self._transport: _V1 | _V2 = (
            _V2(url, bucket, org, token, timeout_s) if version == 2 else _V1(url, bucket, username, password, timeout_s)
        )

    async def write(self, records: Sequence[Record]) -> list[Refused]:
        """Writes all records, and returns those that the server will never take."""
        return await asyncio.to_thread(self._write, records) if records else []

    async def probe(self) -> list[str]:
        """One write of nothing: the server, the login and the bucket are tried, and nothing is stored."""
        try:
            await asyncio.to_thread(self._send, "")
        except SinkUnavailableError as error:
            return [str(error)]
        except _Answer as answer:
            # InfluxDB 2 checks all the rest before it finds that nothing was sent.
            nothing_else = answer.status in _BAD_POINTS and "org" not in answer.words.casefold()
            return [] if nothing_else else [f"{self._where}: {answer.words} ({answer.status})"]
        return []

    async def close(self) -> None:
        """Closes the connections; a write that is under way ends with its next answer."""
        self._closed = True
        await asyncio.to_thread(self._transport.close)

    def _write(self, records: Sequence[Record]) -> list[Refused]:
        batch = _Batch([])
        for i, record in enumerate(records):
            try:
                batch.pieces.append((i, lines(record, self._site)))
            except (ValueError, TypeError, IndexError, OverflowError) as error:
                batch.refused.append(Refused(index=i, reason=f"no point can be made of it: {error!r:.200}"))
        if batch.pieces:
            self._divide(batch)
        return sorted(batch.refused, key=lambda one: one.index)

    def _divide(self, batch: _Batch) -> None:
        """Sends all of it, halving what is answered with an error until the bad records are alone."""
        answer: _Answer | None = None
        rest = [batch.pieces]
        while rest:
            if self._closed:
                raise SinkUnavailableError(f"{self._where}: closed")
            pieces = rest.pop()
            count = sum(len(texts) for _, texts in pieces)
            try:
                self._send("\n".join(text for _, texts in pieces for text in texts))
                batch.taken += len(pieces)
            except _Answer as error:
                answer = error
                too_old = _ALL_TOO_OLD.search(answer.words)
                if len(pieces) == 1 or (too_old and int(too_old[1]) == count):
                    reason = f"{answer.status}: {answer.words}"
                    batch.refused += [Refused(index=i, reason=reason) for i, _ in pieces]
                else:
                    half = len(pieces) // 2
                    rest += [pieces[half:], pieces[:half]]
        if answer is not None and not batch.taken:
            self._try_canary(answer)

    def _try_canary(self, refusal: _Answer) -> None:
        try:
            self._send(self._canary)
        except _Answer:
            said = f"{self._where}: it refuses whatever is written ({refusal.status}): {refusal.words}"
            raise SinkUnavailableError(said) from None

    def _send(self, body: str) -> None:
        """Sends one batch; raises `_Answer` for what is wrong with it, SinkUnavailableError for what may pass."""
        try:
            self._transport.post(body)
        except _Answer as answer:
            if answer.status in (*_BAD_POINTS, _TOO_LARGE):
                raise
            reason = _REASONS.get(answer.status, "it answered")
            status = f" ({answer.status})" if answer.status else ""
            said = f"{self._where}: {reason}{status}: {answer.words}"
            raise SinkUnavailableError(said, retry_after_s=answer.retry_after_s) from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise SinkUnavailableError(f"{self._where}: no answer ({_cause(error)})") from None


class _V2:
    """The v2 API. Synchronous and without retries: the client's batching loses points, and retrying is the journal's."""

    def __init__(self, url: str, bucket: str, org: str, token: str | None, timeout_s: float) -> None:
        self._client = InfluxDBClient(
            url=url, token=token or "", org=org, timeout=round(timeout_s * 1000), enable_gzip=True, retries=False
        )
        self._api = self._client.write_api(write_options=SYNCHRONOUS)
        self._bucket = bucket
        self._org = org
        self._secrets = (token or "",)

    def post(self, body: str) -> None:
        try:
            # Bytes go as they are: a str would be split and joined again.
            self._api.write(bucket=self._bucket, org=self._org, record=body.encode(), write_precision=WritePrecision.US)
        except ApiException as error:
            header = {k.lower(): v for k, v in dict(error.headers or {}).items()}
            raise _Answer(
                error.status or 0, _words(error.body or error.reason, self._secrets), _retry_after(header)
            ) from None
        # The client is content with every 2xx, a login page's 200 included.
        answer = self._client.api_client.last_response
        if answer.status != _STORED:
            raise _Answer(answer.status, _words(answer.data, self._secrets), None)

    def close(self) -> None:
        self._api.close()
        self._client.close()


class _V1:
    """The /write path of InfluxDB before 1.8."""

    def __init__(self, url: str, database: str, username: str | None, password: str | None, timeout_s: float) -> None:
        self._pool = urllib3.PoolManager(num_pools=1, timeout=urllib3.Timeout(total=timeout_s), retries=False)
        self._url = f"{url}/write?{urlencode({'db': database, 'precision': 'u'})}"
        self._headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"}
        self._secrets: tuple[str, ...] = ()
        if username is not None:
            login = base64.b64encode(f"{username}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"
            self._secrets = (login, password or "")

    def post(self, body: str) -> None:
        try:
            answer = self._pool.request("POST", self._url, body=gzip.compress(body.encode(), 1), headers=self._headers)
        except urllib3.exceptions.SSLError as error:
            raise _Answer(0, _words(str(error), self._secrets), None) from None
        if answer.status != _STORED:
            header = {k.lower(): v for k, v in answer.headers.items()}
            raise _Answer(answer.status, _words(answer.data, self._secrets), _retry_after(header))

    def close(self) -> None:
        self._pool.clear()


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _cause(error: BaseException) -> str:
    """What the operating system said, or else the kind of error: the client's own texts may hold headers."""
    inner: BaseException | None = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror[:_WORDS]
        inner = inner.__cause__ or inner.__context__
    return type(error).__name__


def _words(body: bytes | str | None, secrets: Sequence[str]) -> str:
    """What the server said, short and on one line; some proxies answer with the request, its login included."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        said = json.loads(text)
        text = str(said.get("message") or said.get("error") or text)
    except (ValueError, AttributeError):
        pass
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = "".join(c if c.isprintable() else "?" for c in " ".join(text.split())[:_WORDS])
    return text or "no words"


def _retry_after(headers: dict[str, str]) -> float | None:
    try:
        return min(600.0, max(0.0, float(headers["retry-after"])))
    except (KeyError, ValueError):
        return None

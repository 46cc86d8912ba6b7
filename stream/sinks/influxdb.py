"""How do records get into InfluxDB? One confirmed request per batch: what fails for now stays in the journal.

The v2 API (InfluxDB 2, 3 and 1.8+) through influxdb-client in its synchronous mode; older servers through /write. What the
answers mean: 204 stored; 400 and 422 something in the batch is wrong, and it is halved until the bad points are alone (the
good ones of a partial write are stored already, and writing them again changes nothing); 413 too large, halved; everything
else (401, 403 and 404 included: a token is rotated, a bucket is made) may be better later.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import urllib3
from influxdb_client import InfluxDBClient, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from detectors.records import Alert, Forecast, Sample, Status, Verdict
from stream.sinks.point import lines
from stream.sinks.sink import Refused, SinkUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.records import Record

__all__ = ["InfluxSink"]

TIMEOUT_S = 8.0
_BAD_POINTS = (400, 422)
_TOO_LARGE = 413
_REASONS = {
    401: "the login was refused: check the token (or user name and password)",
    403: "the login may not write there: give it write access to the bucket",
    404: "the bucket (or database) was not found: make it, or correct its name",
    429: "asked to wait",
}
_WORDS = 300


class _Answer(Exception):  # noqa: N818 - an answer of the server, good or bad for whoever asked
    """An answer other than stored."""

    def __init__(self, status: int, words: str, retry_after_s: float | None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.retry_after_s = retry_after_s


class InfluxSink:
    """One bucket (v2) or database (v1); it is not connected until the first write."""

    kinds: frozenset[type] = frozenset({Sample, Forecast, Verdict, Alert, Status})

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
        self._url = url.rstrip("/")
        self._where = f"InfluxDB at {self._url}, {'bucket' if version == 2 else 'database'} {bucket}"
        self._transport: _V1 | _V2 = (
            _V2(self._url, bucket, org, token, timeout_s)
            if version == 2
            else _V1(self._url, bucket, username, password, timeout_s)
        )

    async def write(self, records: Sequence[Record]) -> list[Refused]:
        """Writes all records, and returns those that the server will never take."""
        return await asyncio.to_thread(self._write, records)

    async def probe(self) -> list[str]:
        """One write of nothing: the server, the login and the bucket are tried, and nothing is stored."""
        try:
            await asyncio.to_thread(self._send, "")
        except SinkUnavailableError as error:
            return [str(error)]
        except _Answer as answer:
            return [] if answer.status in _BAD_POINTS else [f"{self._where}: {answer.words}"]
        return []

    async def close(self) -> None:
        """Closes the connections."""
        await asyncio.to_thread(self._transport.close)

    def _write(self, records: Sequence[Record]) -> list[Refused]:
        refused: list[Refused] = []
        batches = [[(i, "\n".join(lines(record, self._site))) for i, record in enumerate(records)]]
        while batches:
            batch = batches.pop()
            try:
                self._send("\n".join(text for _, text in batch))
            except _Answer as answer:
                if len(batch) == 1:
                    refused.append(Refused(index=batch[0][0], reason=f"{answer.status}: {answer.words}"))
                else:
                    half = len(batch) // 2
                    batches += [batch[half:], batch[:half]]
        return sorted(refused, key=lambda one: one.index)

    def _send(self, body: str) -> None:
        """Sends one batch; raises `_Answer` for what is wrong with it, SinkUnavailableError for what may pass."""
        try:
            self._transport.post(body)
        except _Answer as answer:
            if answer.status in (*_BAD_POINTS, _TOO_LARGE):
                raise
            reason = _REASONS.get(answer.status, "answered")
            said = f"{self._where}: {reason} ({answer.status}): {answer.words}"
            raise SinkUnavailableError(said, retry_after_s=answer.retry_after_s) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # The client's own text may hold headers; the kind of error says enough.
            cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
            raise SinkUnavailableError(f"{self._where}: no answer ({type(cause).__name__})") from None


class _V2:
    """The v2 API. Synchronous and without retries: the client's batching loses points, and retrying is the journal's."""

    def __init__(self, url: str, bucket: str, org: str, token: str | None, timeout_s: float) -> None:
        self._client = InfluxDBClient(
            url=url, token=token or "", org=org, timeout=round(timeout_s * 1000), enable_gzip=True, retries=False
        )
        self._api = self._client.write_api(write_options=SYNCHRONOUS)
        self._bucket = bucket
        self._org = org

    def post(self, body: str) -> None:
        try:
            # Bytes go as they are: a str would be split and joined again.
            self._api.write(bucket=self._bucket, org=self._org, record=body.encode(), write_precision=WritePrecision.US)
        except ApiException as error:
            header = {k.lower(): v for k, v in dict(error.headers or {}).items()}
            raise _Answer(error.status or 0, _words(error.body or error.reason), _retry_after(header)) from None

    def close(self) -> None:
        self._api.close()
        self._client.close()


class _V1:
    """The /write path of InfluxDB before 1.8."""

    def __init__(self, url: str, database: str, username: str | None, password: str | None, timeout_s: float) -> None:
        self._pool = urllib3.PoolManager(num_pools=1, timeout=urllib3.Timeout(total=timeout_s), retries=False)
        self._url = f"{url}/write?{urlencode({'db': database, 'precision': 'u'})}"
        self._headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"}
        if username is not None:
            login = base64.b64encode(f"{username}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"

    def post(self, body: str) -> None:
        answer = self._pool.request("POST", self._url, body=gzip.compress(body.encode(), 1), headers=self._headers)
        if answer.status // 100 != 2:
            header = {k.lower(): v for k, v in answer.headers.items()}
            raise _Answer(answer.status, _words(answer.data), _retry_after(header))

    def close(self) -> None:
        self._pool.clear()


def _words(body: bytes | str | None) -> str:
    """What the server said, short and on one line."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        said = json.loads(text)
        text = str(said.get("message") or said.get("error") or text)
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:_WORDS] or "no words"


def _retry_after(headers: dict[str, str]) -> float | None:
    try:
        return min(600.0, max(0.0, float(headers["retry-after"])))
    except (KeyError, ValueError):
        return None

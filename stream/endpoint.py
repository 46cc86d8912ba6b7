"""How does the machine's own monitoring ask? `GET /metrics` and `GET /health`, over HTTP on loopback.

Nothing can be changed here, and nothing of a request is kept. A port that is taken is said as a failing part and tried again:
no reason to stop judging samples.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from detectors.records import Status
from stream.exposition import families, look_back
from stream.flood import PLANT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Metric

    from stream.clock import Clock
    from stream.pipeline import Pipeline

__all__ = ["Endpoint", "health", "watch_loop"]

PATIENCE_S = 5.0
"""Machine seconds that a client has for its request, and for taking the answer."""
CONNECTIONS = 16
REQUEST_BYTES = 8192
RETRY_S = 10.0
LATENESS_EVERY_S = 0.25
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def health(statuses: Mapping[str, Status]) -> tuple[int, str]:
    """HTTP status and JSON body: 200 where every part is well; 503 with those that are not, and why."""
    wrong = {
        status.subject: status.detail
        for status in statuses.values()
        if not status.ok and not status.subject.startswith(PLANT)
    }
    ok = not wrong and "service" in statuses
    return (200 if ok else 503), json.dumps({"ok": ok, "wrong": wrong}, ensure_ascii=False) + "\n"


async def watch_loop(pipeline: Pipeline) -> None:
    """Measures, until cancelled, how late the event loop comes back to whoever waits."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LATENESS_EVERY_S
        await asyncio.sleep(LATENESS_EVERY_S)
        pipeline.metrics.loop_late.add(max(0.0, loop.time() - due))


class Endpoint:
    """Serves one pipeline's figures at a loopback address until cancelled."""

    def __init__(self, pipeline: Pipeline, *, host: str, port: int, clock: Clock) -> None:
        self._pipeline = pipeline
        self._host = host
        self._port = port
        self._clock = clock
        self._open = 0

    async def run(self) -> None:
        """Listens and answers."""
        async with asyncio.TaskGroup() as group:
            group.create_task(watch_loop(self._pipeline), name="loop lateness")
            group.create_task(self._serve(), name="http")

    async def _serve(self) -> None:
        while True:
            try:
                server = await asyncio.start_server(self._meet, self._host, self._port, limit=REQUEST_BYTES)
            except OSError as error:
                detail = f"{self._host} port {self._port}: cannot listen: {error.strerror}; another program has it?"
                self._say(ok=False, detail=detail)
                await asyncio.sleep(RETRY_S)
                continue
            self._say(ok=True, detail=f"http://{self._host}:{self._port}/metrics")
            async with server:
                await server.serve_forever()

    def _say(self, *, ok: bool, detail: str) -> None:
        self._pipeline.report(Status(subject="http", ok=ok, detail=detail, at=self._clock.now()))

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= CONNECTIONS:
                async with asyncio.timeout(PATIENCE_S):
                    await self._converse(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # a client's own affair, and nothing of ours is lost
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        code, kind, body = await self._answer(head.split(b"\r\n", 1)[0])
        lines = (
            f"HTTP/1.1 {code} {_REASONS[code]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        )
        writer.write("\r\n".join((*lines, "", "")).encode() + body)
        await writer.drain()

    async def _answer(self, request: bytes) -> tuple[int, str, bytes]:
        plain = "text/plain; charset=utf-8"
        words = request.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return 400, plain, b"expected an HTTP/1.1 request\n"
        if words[0] != b"GET":
            return 405, plain, b"expected GET: nothing can be changed here\n"
        path = words[1].split(b"?", 1)[0]
        if path == b"/health":
            code, body = health(self._pipeline.statuses)
            return code, "application/json", body.encode()
        if path == b"/metrics":
            return 200, CONTENT_TYPE_LATEST, await self._metrics()
        return 404, plain, b"expected /metrics or /health\n"

    async def _metrics(self) -> bytes:
        backlogs = await look_back(self._pipeline)
        # Read on the loop, where nothing changes meanwhile; the text of thousands of tags is made beside it.
        snapshot = _Snapshot(list(families(self._pipeline, backlogs, self._clock.now())))
        return await asyncio.to_thread(generate_latest, snapshot)


class _Snapshot(Collector):
    """Families that were read already, as the library's writer wants them."""

    def __init__(self, read: list[Metric]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read

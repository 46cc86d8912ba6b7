"""How does one sink get everything, in order, however often it is away? One task per sink, from the journal."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from detectors.records import Status
from stream.sinks.sink import SinkUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream.clock import Clock
    from stream.journal import Journal
    from stream.sinks.sink import Sink

__all__ = ["Delivery"]

BATCH = 5000
BACKOFF_S = (0.5, 30.0)
"""Machine seconds, doubled after each failure and jittered, unless the far side asks for its own."""


class Delivery:
    """Takes one sink's records from the journal to it: oldest first, each batch confirmed before the next."""

    def __init__(
        self,
        journal: Journal,
        sink: Sink,
        *,
        report: Callable[[Status], None],
        clock: Clock,
        batch: int = BATCH,
        backoff_s: tuple[float, float] = BACKOFF_S,
    ) -> None:
        self._journal = journal
        self._sink = sink
        self._report = report
        self._clock = clock
        self._batch = batch
        self._backoff_s = backoff_s
        self._new = asyncio.Event()
        self._refused = 0
        journal.register(sink.name, sink.kinds)

    @property
    def name(self) -> str:
        """The sink's name."""
        return self._sink.name

    def depth(self) -> int:
        """How many records still wait for the sink."""
        return self._journal.depth(self._sink.name)

    def wake(self) -> None:
        """Says that the journal has something new."""
        self._new.set()

    async def run(self) -> None:
        """Delivers until cancelled, then closes the sink."""
        wait_s = self._backoff_s[0]
        try:
            while True:
                self._new.clear()
                entries = await asyncio.to_thread(self._journal.pending, self._sink.name, self._batch)
                if not entries:
                    await self._new.wait()
                    continue
                try:
                    refused = await self._sink.write([record for _, record in entries])
                except SinkUnavailableError as error:
                    self._say(ok=False, detail=str(error))
                    asked = error.retry_after_s
                    # Jitter, so that many that lost the same server do not come back as one.
                    await asyncio.sleep(asked if asked is not None else wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                    wait_s = min(2 * wait_s, self._backoff_s[1])
                    continue
                wait_s = self._backoff_s[0]
                for one in refused:
                    self._refused += 1
                    await asyncio.to_thread(
                        self._journal.dead_letter, self._sink.name, entries[one.index][0], one.reason
                    )
                await asyncio.to_thread(self._journal.delivered, self._sink.name, entries[-1][0])
                self._say(
                    ok=True, detail=f"delivering; {self._refused} refused for ever" if self._refused else "delivering"
                )
        finally:
            await self._sink.close()

    def _say(self, *, ok: bool, detail: str) -> None:
        self._report(Status(subject=f"sink.{self._sink.name}", ok=ok, detail=detail, at=self._clock.now()))

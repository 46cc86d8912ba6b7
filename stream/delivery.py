"""How does one sink get everything, in order, however often it is away? One task per sink, from the journal."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from detectors.records import Status
from stream.journal.journal import JournalFullError
from stream.sinks.sink import SinkUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from detectors.records import Record
    from stream.clock import Clock
    from stream.journal.journal import Journal
    from stream.sinks.sink import Sink

__all__ = ["Delivery"]

log = logging.getLogger(__name__)

BATCH = 5000
LEAST_BATCH = 100
BACKOFF_S = (0.5, 30.0)
"""Machine seconds, doubled after each failure and jittered; where the far side asks for more, it gets that."""
_SAID = frozenset(10**power for power in range(12))


class Delivery:
    """Takes one sink's records from the journal to it: oldest first, each batch confirmed before the next.

    What was confirmed but could not be noted before a crash is delivered again, so a sink must not mind a repetition.
    """

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
        self._most = batch
        self._batch = batch
        self._backoff_s = backoff_s
        self._wait_s = backoff_s[0]
        self._new = asyncio.Event()
        self.refused = 0
        """How many records the far side will never take."""
        self._last_said: tuple[bool, str] | None = None
        self._surprise = ""
        journal.register(sink.name, sink.kinds)

    @property
    def name(self) -> str:
        """The sink's name."""
        return self._sink.name

    def depth(self) -> int:
        """How many records still wait for the sink; blocks, like all of the journal."""
        return self._journal.depth(self._sink.name)

    def waiting_since(self) -> datetime | None:
        """When the oldest record that waits was made; None while none waits. Blocks."""
        return self._journal.oldest(self._sink.name)

    def wake(self) -> None:
        """Says that the journal has something new; called on the event loop."""
        self._new.set()

    async def run(self) -> None:
        """Delivers until cancelled, then closes the sink."""
        try:
            while True:
                self._new.clear()
                entries = await asyncio.to_thread(self._journal.pending, self._sink.name, self._batch)
                if entries:
                    await self._deliver(entries)
                else:
                    await self._new.wait()
        finally:
            await self._sink.close()

    async def _deliver(self, entries: list[tuple[int, Record]]) -> None:
        try:
            refused = await self._sink.write([record for _, record in entries])
        except SinkUnavailableError as error:
            await self._wait(str(error), error.retry_after_s)
        except Exception as error:
            # A mistake of ours, or an answer nobody has met: it must not end the service, and nothing is lost by waiting.
            if self._surprise != repr(error):
                self._surprise = repr(error)
                log.exception("sink %s: a batch of %d records failed and is kept", self.name, len(entries))
            await self._wait(f"failed: {error!r:.200}", None)
        else:
            await self._note(entries[-1][0], {entries[one.index][0]: one.reason for one in refused})
            self._wait_s = self._backoff_s[0]
            self._batch = min(2 * self._batch, self._most)
            for one in refused:
                self.refused += 1
                if self.refused in _SAID:
                    log.warning("sink %s: refused for ever, %d so far: %s", self.name, self.refused, one.reason)
            # No count in it: it is a record itself, and a far side that refuses it would never come to an end.
            self._say(
                ok=True, detail="delivering; what it refuses is kept as dead letters" if self.refused else "delivering"
            )

    async def _note(self, up_to: int, refused: dict[int, str]) -> None:
        """Until the journal has it: what is confirmed is not sent again for want of room on our own disk."""
        while True:
            try:
                await asyncio.to_thread(self._journal.delivered, self._sink.name, up_to, refused)
            except JournalFullError:
                await asyncio.sleep(self._backoff_s[0])
            else:
                return

    async def _wait(self, reason: str, asked_s: float | None) -> None:
        self._say(ok=False, detail=reason)
        # Jitter, so that many that lost the same server do not come back as one.
        wait_s = max(self._backoff_s[0], self._wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        await asyncio.sleep(wait_s if asked_s is None else max(asked_s, self._backoff_s[0]))
        self._wait_s = min(2 * self._wait_s, self._backoff_s[1])
        # A server that is too slow for a whole batch within its time may do with less.
        self._batch = min(self._most, max(self._batch // 2, LEAST_BATCH))

    def _say(self, *, ok: bool, detail: str) -> None:
        if (ok, detail) != self._last_said:
            self._last_said = (ok, detail)
            self._report(Status(subject=f"sink.{self._sink.name}", ok=ok, detail=detail, at=self._clock.now()))

"""What has arrived from the server and is not handed over yet?

The server holds a value no longer than until it was fetched, so a full pipeline must not make us drop it silently: values wait
here, over a reconnection too. Beyond `LIMIT` the oldest go, counted.

A pipeline that stands (its disk is full) is waited for. One that goes on but cannot keep up does not catch up while the burst
lasts, and alerts would come late by all that waits: above `THIN_ABOVE` each tag then keeps its newest value alone, counted too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from stream.sources.opcua_value import UaValueError, read
from stream.sources.source import Rejection

if TYPE_CHECKING:
    from datetime import datetime

    from asyncua import ua

    from detectors.records import Sample
    from stream.sources.source import Intake

__all__ = ["Inbox"]

LIMIT = 100_000
"""Samples that may wait (some 30 MB); at 1,000 a second that is more than a minute and a half."""
THIN_ABOVE = 10_000
"""So many may wait: less than a second's work, what 5,000 tags say in two seconds, and 1,000 in ten."""
STANDS_S = 1.0
"""A pipeline that takes nothing for so long stands, and is not merely slow (machine seconds)."""
BATCH = 500


class Inbox:
    """A bounded queue of samples between the subscription, which never waits, and the intake, which may."""

    def __init__(self, source: str, intake: Intake) -> None:
        self.dropped = 0
        """Samples that were dropped so far, all told."""
        self.alive_at: datetime | None = None
        """When something was last heard of the server."""
        self._source = source
        self._intake = intake
        self._waiting: deque[Sample] = deque()
        self._some = asyncio.Event()

    def put(self, tag: str, value: ua.DataValue, arrived_at: datetime) -> None:
        """Takes what the server reported of a tag; what is no number is rejected here."""
        self.alive_at = arrived_at
        try:
            sample = read(value, arrived_at)(tag)
        except UaValueError as error:
            self._intake.reject(
                Rejection(source=self._source, tag=tag, reason=error.reason, detail=str(error), at=arrived_at)
            )
            return
        if len(self._waiting) >= LIMIT:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(sample)
        self._some.set()

    async def hand_over(self) -> None:
        """Delivers what is there, a burst at a time, for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._some.wait()
            self._some.clear()
            stood, most = False, THIN_ABOVE
            while self._waiting:
                if len(self._waiting) > most and not stood:
                    self._thin()
                    most = max(THIN_ABOVE, 2 * len(self._waiting))  # with more tags than that, each second time
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                began = clock()
                await self._intake.deliver(batch)
                # What gathered meanwhile is wanted whole, and is caught up with.
                stood = stood or clock() - began > STANDS_S

    def _thin(self) -> None:
        """Keeps the newest of each tag, in the order they came."""
        newest = {sample.tag: i for i, sample in enumerate(self._waiting)}
        kept = [sample for i, sample in enumerate(self._waiting) if newest[sample.tag] == i]
        self.dropped += len(self._waiting) - len(kept)
        self._waiting = deque(kept)

"""What has arrived from the server and is not handed over yet?

The server holds a value no longer than until it was fetched, so a full pipeline must not make us drop it silently: values wait
here, over a reconnection too. Beyond `LIMIT` the oldest go, counted.

A pipeline that stands (its disk is full) is waited for. One that goes on but cannot keep up does not catch up while the burst
lasts, and alerts would come late by all that waits: above `THIN_ABOVE` each tag then keeps its newest value alone, counted too.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from stream.sources.opcua_value import UaValueError, decoded, read
from stream.sources.source import Rejection

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from asyncua import ua

    from detectors.records import Sample
    from stream.sources.source import Intake

__all__ = ["Inbox"]

LIMIT = 100_000
"""Samples that may wait (some 30 MB); at 1,000 a second that is more than a minute and a half."""
THIN_ABOVE = 10_000
"""So many may wait: less than a second's work, what 5,000 tags say in two seconds, and 1,000 in ten."""
FETCH_S = 0.25
"""So long the next answers are waited for while the server has more (machine seconds)."""
CUT_S = 3.0
"""Without a sign of life for so long, what comes had to wait for the network: it is wanted whole, however much it is."""
CATCH_UP_S = 20.0
"""So long that is believed; more would be a burst (machine seconds)."""
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
        self._more = False
        self._whole_until = -math.inf
        self._source = source
        self._intake = intake
        self._waiting: deque[tuple[str, ua.DataValue | bytes, datetime]] = deque()
        self._some = asyncio.Event()

    def hear(self, at: datetime, *, more: bool) -> None:
        """The server has answered; what it said is put next, and it has `more`."""
        if self.alive_at is not None and (at - self.alive_at).total_seconds() > CUT_S:
            self._whole_until = asyncio.get_running_loop().time() + CATCH_UP_S
        self.alive_at = at
        self._more = more

    def put(self, tag: str, value: ua.DataValue | bytes, arrived_at: datetime) -> None:
        """Takes what the server reported of a tag; it is read when its turn has come."""
        if len(self._waiting) >= LIMIT:
            self._waiting.popleft()
            self._drop("full", 1)
        self._waiting.append((tag, value, arrived_at))
        self._some.set()

    async def hand_over(self) -> None:
        """Delivers what is there, a burst at a time, for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._some.wait()
            await self._fetched()
            self._some.clear()
            stood, most = False, THIN_ABOVE
            while self._waiting:
                if len(self._waiting) > most and not stood and clock() > self._whole_until:
                    self._thin()
                    most = max(THIN_ABOVE, 2 * len(self._waiting))  # with more tags than that, each second time
                batch = self._read(self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting))))
                began = clock()
                if batch:
                    await self._intake.deliver(batch)
                # What gathered meanwhile is wanted whole, and is caught up with.
                stood = stood or clock() - began > STANDS_S

    async def _fetched(self) -> None:
        """What the server still has is fetched first: else it would wait there, in front of what happens now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FETCH_S):
                while self._more:
                    self._some.clear()
                    await self._some.wait()

    def _read(self, reported: Iterable[tuple[str, ua.DataValue | bytes, datetime]]) -> list[Sample]:
        """Makes samples; what is no number is rejected here."""
        samples = []
        for tag, value, arrived_at in reported:
            try:
                samples.append(read(decoded(value), arrived_at)(tag))
            except UaValueError as error:
                self._intake.reject(
                    Rejection(source=self._source, tag=tag, reason=error.reason, detail=str(error), at=arrived_at)
                )
        return samples

    def _thin(self) -> None:
        """Keeps the newest of each tag, in the order they came."""
        newest = {tag: i for i, (tag, _, _) in enumerate(self._waiting)}
        kept = [one for i, one in enumerate(self._waiting) if newest[one[0]] == i]
        self._drop("thinned", len(self._waiting) - len(kept))
        self._waiting = deque(kept)

    def _drop(self, why: str, count: int) -> None:
        self.dropped += count
        self._intake.drop(self._source, why, count)

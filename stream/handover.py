"""What have the sources handed over that is not judged yet?

Bounded twice, by deliveries and by samples: whatever waits here makes alerts late, and one delivery may be hundreds of samples.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from detectors.records import Sample

__all__ = ["Handover", "Handovers"]

MOST_DELIVERIES = 1000
MOST_SAMPLES = 5000
"""With so many samples waiting a source waits too, however few deliveries they came in."""


class Handover(NamedTuple):
    """Samples of one source, what to call once they are on disk, and what the source has to remember with them."""

    samples: Sequence[Sample]
    accepted: Callable[[], None] | None
    memory: Mapping[str, str]


class Handovers:
    """A bounded queue, in the order of arrival."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Handover | None] = asyncio.Queue(MOST_DELIVERIES)
        self._samples = 0
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, handover: Handover) -> None:
        """Takes it, waiting while there is no room; one that is larger than all the room is taken when there is some."""
        while self._samples >= MOST_SAMPLES:
            self._room.clear()
            await self._room.wait()
        await self._queue.put(handover)
        self._samples += len(handover.samples)

    async def end(self) -> None:
        """Nothing more comes: `get` gives None when what waits has been taken."""
        await self._queue.put(None)

    async def get(self) -> Handover | None:
        """The next one; each is to be followed by `done`."""
        handover = await self._queue.get()
        if handover is not None:
            self._samples -= len(handover.samples)
            self._room.set()
        return handover

    def done(self) -> None:
        """What `get` gave last is judged."""
        self._queue.task_done()

    async def join(self) -> None:
        """Waits until everything put so far is judged."""
        await self._queue.join()

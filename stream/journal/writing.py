"""How does what was decided come to disk without the fast lane waiting for it? In group commits, one after the other.

Only what is on disk is told to the sources and given to the sinks. A full disk is waited for; one that will not take anything
before somebody repairs it ends the run, and what was not written is there for the next one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from detectors.records import Status
from stream.journal.journal import JournalFullError
from stream.journal.loss import lost_words
from stream.journal.refuge import unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from detectors.records import Record
    from stream.clock import Clock
    from stream.handover import Handover
    from stream.journal.journal import Journal
    from stream.metric import Metrics

__all__ = ["DiskLostError", "Writing"]

UNSAVED_RECORDS = 50_000
"""Above so many records that are not on disk yet, the intake waits."""
TRIM_EVERY_S = 60.0
DISK_RETRY_S = 1.0
LOST_AFTER_S = 5.0
"""A disk that has been read-only or faulty for so long is given up (machine seconds)."""
STUCK_S = 20.0
"""A single write to the journal that takes longer is no progress (machine seconds)."""


class DiskLostError(Exception):
    """The disk of the journal takes nothing, and will not before it is repaired; the text says why."""


class Writing:
    """Gathers records and memories, and writes them; `obeyed` gives the commands that were carried out since the last call."""

    def __init__(
        self,
        journal: Journal,
        *,
        clock: Clock,
        metrics: Metrics,
        report: Callable[[Status], None],
        obeyed: Callable[[], Sequence[int]],
        written: Callable[[], None],
    ) -> None:
        self._journal, self._clock, self._metrics = journal, clock, metrics
        self._report, self._obeyed, self._written = report, obeyed, written
        self.records: list[Record] = []
        self.memory: dict[str, str] = {}
        self._waiting: list[Handover] = []
        self._unsaved = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._full = False
        self._since: float | None = None

    @property
    def full(self) -> bool:
        """Whether so much waits that nothing more should be judged."""
        return self._full

    @property
    def stuck(self) -> bool:
        """Whether a write takes so long that it is no progress."""
        return self._since is not None and asyncio.get_running_loop().time() - self._since >= STUCK_S

    @property
    def done(self) -> bool:
        """Whether all is on disk."""
        return not self._unsaved.is_set() and self._idle.is_set()

    def keep(self, records: Sequence[Record]) -> None:
        """Takes records, in their order."""
        self.records.extend(records)
        self._full |= len(self.records) > UNSAVED_RECORDS
        self._unsaved.set()

    def remember(self, memory: Mapping[str, str]) -> None:
        """Takes memories, which go to disk with the records that were taken before."""
        self.memory.update(memory)

    def owe(self, handover: Handover) -> None:
        """Takes samples whose source is told once they are on disk."""
        self.remember(handover.memory)
        self._waiting.append(handover)
        self._unsaved.set()

    async def run(self) -> None:
        """Writes, until it is cancelled; raises DiskLostError."""
        trimmed = self._clock.now()
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            self._idle.clear()
            records, self.records = self.records, []
            memory, self.memory = self.memory, {}
            obeyed = self._obeyed()
            waiting, self._waiting = self._waiting, []
            await self._append(records, memory)
            for number in obeyed:
                await asyncio.to_thread(self._journal.done, number)
            now = self._clock.now()
            for handover in waiting:
                if handover.samples:
                    seconds = (now - handover.samples[0].arrived_at).total_seconds() / self._clock.speed
                    self._metrics.to_journal.add(seconds)
                if handover.accepted is not None:
                    handover.accepted()
            self._full = False
            self._written()
            if abs((now - trimmed).total_seconds()) > TRIM_EVERY_S * self._clock.speed:
                trimmed = now
                await self._trim()
            if not self._unsaved.is_set():
                self._idle.set()

    async def _append(self, records: list[Record], memory: dict[str, str]) -> None:
        """On a full disk it waits with what it has: judging goes on, and the sources are not told until it is saved."""
        began: float | None = None
        while True:
            self._since = asyncio.get_running_loop().time()
            began = self._since if began is None else began
            try:
                await asyncio.to_thread(self._journal.append, records, memory=memory)
            except JournalFullError as error:
                tried_s, self._since = self._since - began, None
                self._say(ok=False, detail=str(error))
                why = await asyncio.to_thread(unwritable, self._journal.path.parent, for_good=True)
                if why and tried_s > LOST_AFTER_S:
                    self.records, self.memory = records + self.records, memory | self.memory
                    raise DiskLostError(why) from error
                await asyncio.sleep(DISK_RETRY_S)
            else:
                self._since = None
                self._say(ok=True, detail="writing")
                return

    async def _trim(self) -> None:
        dropped = await asyncio.to_thread(self._journal.trim, self._clock.now())
        if dropped:
            self._metrics.dropped.update({("journal", kind): loss.count for kind, loss in dropped.items()})
            self._say(ok=False, detail=f"full: dropped before they were delivered: {lost_words(dropped)}")

    def _say(self, *, ok: bool, detail: str) -> None:
        self._report(Status(subject="journal", ok=ok, detail=detail, at=self._clock.now()))

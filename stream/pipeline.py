"""How do samples become records on disk and messages outside, without one lane waiting for another?

One task takes samples in the order they arrive and lets the fast lane decide; one writes what came of it to the journal in
group commits, and only then tells the sources and wakes the deliveries; one lets the model lane read and forecast, as the
schedule says, whenever steps have closed and it is free. Queues are bounded: a slow disk slows the intake, and the intake
slows its sources.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from detectors.records import Status
from stream.alarm_memory import dump
from stream.audit import audit_status
from stream.command import obey
from stream.flood import flood_watch
from stream.handover import Handover, Handovers
from stream.journal.writing import Writing
from stream.metric import Metrics
from stream.model.schedule import Turn
from stream.orders import Orders
from stream.portion import portions
from stream.present import Present
from stream.set_back import TimeOfLane, arrived
from stream.sources.source import NOTHING, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from detectors.alarm import Memory
    from detectors.records import Forecast, Record, Reply, Sample
    from stream.clock import Clock
    from stream.command_topic import CommandTopic
    from stream.delivery import Delivery
    from stream.journal.journal import Journal
    from stream.lane import FastLane
    from stream.model.modelling import ModelLane
    from stream.model.schedule import Schedule
    from stream.sources.source import Source

__all__ = ["Pipeline"]

log = logging.getLogger(__name__)

TICK_S = 0.25
"""Time passes at least so often (machine seconds), samples or not."""
DRAIN_S = 5.0
"""How long a clean stop waits for the sinks (machine seconds); what is left is delivered after the next start."""
PORTION = 500
"""So many forecasts are taken at once: what is written for them holds up the alerts that come meanwhile."""
PAUSE_S = 0.1
"""From one portion to the next (machine seconds)."""
_REJECTED = ("future", "unknown_tag")


class Pipeline:
    """The running service, from sources to sinks; it is the `Intake` of its sources."""

    def __init__(
        self,
        *,
        sources: Sequence[Source],
        lane: FastLane,
        model: Callable[[Callable[[Status], None]], ModelLane],
        schedule: Schedule,
        journal: Journal,
        deliveries: Callable[[Callable[[Status], None]], Sequence[Delivery]],
        command_topics: Sequence[CommandTopic] = (),
        clock: Clock,
        progress: Callable[[], None] = lambda: None,
        renew: Callable[[dict[str, Memory]], FastLane] | None = None,
    ) -> None:
        self.metrics = Metrics()
        self.present = Present()
        self.statuses: dict[str, Status] = {}
        self._sources = sources
        self.lane = lane
        self.model = model(self.report)
        self.schedule = schedule
        self._journal = journal
        self._deliveries = deliveries(self.report)
        self._clock = clock
        self._progress = progress
        self._time = TimeOfLane(clock, renew)
        self._queue = Handovers()
        self.writing = Writing(
            journal,
            clock=clock,
            metrics=self.metrics,
            report=self.report,
            obeyed=lambda: self.orders.obeyed(),  # noqa: PLW0108 - each of the two needs the other
            written=self._wake,
        )
        self.orders = Orders(
            journal, clock=clock, carry_out=self._carry_out, keep=self.writing.keep, report=self.report
        )
        self._command_topics = command_topics
        self.flood = flood_watch(journal, clock.now())
        self._closed_step = asyncio.Event()
        self._turning = False
        self._stopping = asyncio.Event()
        self._started = time.monotonic()

    # --- the intake of the sources -------------------------------------------------------------------------------------

    async def deliver(
        self,
        samples: Sequence[Sample],
        accepted: Callable[[], None] | None = None,
        *,
        memory: Mapping[str, str] = NOTHING,
    ) -> None:
        """Takes samples, waiting while the queue is full."""
        await self._queue.put(Handover(samples, accepted, memory))

    def reject(self, rejection: Rejection) -> None:
        """Counts an input that cannot become a sample; the first of its kind, and every thousandth, is logged."""
        key = (rejection.source, rejection.tag, rejection.reason)
        self.metrics.rejected[key] += 1
        count = self.metrics.rejected[key]
        if count == 1 or count % 1000 == 0:
            log.warning(
                "source %s, tag %s: rejected (%s), %d so far: %s",
                rejection.source,
                rejection.tag or "unknown",
                rejection.reason,
                count,
                rejection.detail,
            )

    def drop(self, source: str, why: str, count: int) -> None:
        """Counts values that will never be judged; the source says so in its status."""
        self.metrics.dropped[f"source.{source}", why] += count

    def report(self, status: Status) -> None:
        """Keeps and publishes a status if it says something new."""
        before = self.statuses.get(status.subject)
        if before is not None and (before.ok, before.detail) == (status.ok, status.detail):
            return
        self.statuses[status.subject] = status
        audit_status(status, before)
        self.writing.keep([status])

    # --- life ----------------------------------------------------------------------------------------------------------

    async def run(
        self, *, ready: Callable[[], None] = lambda: None, after_model: bool = False, hardship: str = ""
    ) -> None:
        """Runs until `stop`; returns when everything that arrived is on disk. Raises DiskLostError, in a group.

        `after_model` lets the sources wait until the model is up, or has said why not: for a replay, which has the time.
        `hardship` is what it has to do without from the start; it is then not well, and says so.
        """
        now = self._clock.now()
        self.report(Status(subject="service", ok=not hardship, detail=hardship or "running", at=now))
        if self._journal.recovered is not None:
            # A loss may lie behind it: said as a failing journal, until the first write shows that the new one works.
            self.report(Status(subject="journal", ok=False, detail=self._journal.recovered, at=self._clock.now()))
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self.writing.run(), name="journal")
            others = [
                group.create_task(self.orders.run(), name="commands"),
                group.create_task(self._follow(), name="model turns"),
                group.create_task(self.model.run(), name="model lane"),
                *(group.create_task(d.run(), name=f"sink {d.name}") for d in self._deliveries),
            ]
            consumer = group.create_task(self._consume(), name="fast lane")
            if after_model:
                await self._until(lambda: "model" in self.statuses)
            sources = [group.create_task(s.run(self), name=f"source {s.name}") for s in self._sources]
            sources += [group.create_task(t.run(self.orders), name=f"commands {t.name}") for t in self._command_topics]
            ready()
            await self._stopping.wait()
            for task in sources:
                task.cancel()
            await asyncio.wait(sources) if sources else None
            await self._queue.end()
            await consumer
            # What fell due until now is part of what is kept of this run, and is told before its end.
            self.lane.advance(now := self._clock.now())
            self._reap()
            self.report(Status(subject="service", ok=False, detail="stopped", at=now))
            await self._saved()
            await self._drain()
            for task in (*others, writer):
                task.cancel()

    async def settled(self) -> None:
        """Waits until everything delivered so far has been judged, forecasts included."""
        await self._queue.join()
        await self._until(lambda: not self.lane.has_closed and not self._turning and self.schedule.idle)

    @property
    def sinks(self) -> Sequence[Delivery]:
        """The deliveries, one for each sink."""
        return self._deliveries

    @property
    def stopping(self) -> bool:
        """Whether `stop` has been called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Asks for a clean stop: sources first, then what they delivered is judged, saved and sent."""
        self._stopping.set()

    async def _consume(self) -> None:
        stopped = False
        while not stopped:
            try:
                async with asyncio.timeout(TICK_S):
                    handover = await self._queue.get()
            except TimeoutError:
                self.lane.advance(self._present())
            else:
                stopped = handover is None
                if handover is not None:
                    self._take(handover)
                self._queue.done()
            self._reap()
            self._beat()
            while self.writing.full:
                await asyncio.sleep(TICK_S)
                self._beat()

    def _beat(self) -> None:
        """Tells the watchdog that samples are judged and that the journal is not stuck: progress, not a timer."""
        if not self.writing.stuck:
            self._progress()

    def _take(self, handover: Handover) -> None:
        now = self._present()
        if (status := self._time.news(now)) is not None:
            self.report(status)
        handover = handover._replace(samples=self._time.doubted(handover.samples, now))
        for sample in arrived(handover.samples, now):
            placement = self.lane.offer(sample)
            self.metrics.samples += 1
            self.metrics.placements[placement] += 1
            self.metrics.to_verdict.add((self._clock.now() - sample.arrived_at).total_seconds() / self._clock.speed)
            if placement in _REJECTED:
                detail = f"value {sample.value!r} of {sample.source_at.isoformat()}"
                now = self._clock.now()
                self.reject(Rejection(source="window", tag=sample.tag, reason=placement, detail=detail, at=now))
        self.writing.owe(handover)

    def _present(self) -> datetime:
        """The time, for the fast lane; where the clock was set back, with another lane."""
        now, new = self._time.look(self.lane)
        if new is not None:
            self._reap()
            self.lane = new.lane
            self.writing.remember(dump(new.memories))
            self.writing.keep([new.mark])
            self.report(new.status)
        return now

    def _reap(self) -> None:
        """Takes what the fast lane has decided since the last call, for the journal."""
        harvest = self.lane.harvest()
        self.present.take(harvest.records)
        self.metrics.count(harvest.records)
        self.flood.take(harvest.records)
        for status in self.flood.news(self._clock.now()):
            self.report(status)
        self.model.note(harvest.records)
        if harvest.memories:
            self.writing.remember(dump(harvest.memories))
        if harvest.records or harvest.memories:
            self.writing.keep(harvest.records)
        if self.lane.has_closed:
            self._closed_step.set()

    def _wake(self) -> None:
        for delivery in self._deliveries:
            delivery.wake()

    # --- its end -------------------------------------------------------------------------------------------------------

    async def _saved(self) -> None:
        await self._until(lambda: self.writing.done)

    async def _until(self, true: Callable[[], bool]) -> None:
        """Looks again and again: for the ends of a run, where a millisecond costs nothing and an event more would."""
        while not true():  # noqa: ASYNC110 - several tasks change what is looked at
            await asyncio.sleep(0.001)

    async def _drain(self) -> None:
        deadline = asyncio.get_running_loop().time() + DRAIN_S
        while behind := [d for d in self._deliveries if await asyncio.to_thread(d.depth)]:
            if asyncio.get_running_loop().time() > deadline:
                names = ", ".join(d.name for d in behind)
                log.info("behind: %s; what is left in the journal is delivered after the next start", names)
                return
            await asyncio.sleep(0.05)

    # --- the model lane ------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Lets the model lane read and forecast what has closed, turn by turn."""
        loop = asyncio.get_running_loop()
        turn = Turn()
        while True:
            # What could not be afforded yet may be a moment later; after a turn there may be more that can.
            if not turn or self.schedule.idle:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if self.schedule.idle else TICK_S):
                        await self._closed_step.wait()
            self._closed_step.clear()
            self._turning = True
            self.schedule.offer(self.lane.windows())
            turn = self.schedule.turn(loop.time(), up=self.model.up)
            if turn:
                await self._take_turn(turn)
            self._turning = False
            self._say_pace(loop.time())

    async def _take_turn(self, turn: Turn) -> None:
        asked = time.monotonic()
        answer = await self.model.ask(turn._replace(standing=self.lane.standing))
        if answer.by_model:
            self.schedule.done(turn, answer.spent, refused=answer.refused)
        else:
            self.schedule.lost()
        if answer.forecasts:
            self.metrics.to_forecast.add(time.monotonic() - asked)
        self.metrics.answered(answer, time.monotonic() - self._started)
        self.present.take(answer.standings)
        first, *others = list(portions(answer.forecasts, PORTION)) or [[]]
        now = self.lane.mark(self._clock.now(), forecasts=len(first))
        self.lane.score(answer.scores)
        self.lane.hear(answer.verdicts)
        self._expect(first, now)
        for portion in others:
            await asyncio.sleep(PAUSE_S)
            self._expect(portion, self.lane.mark(self._clock.now(), forecasts=len(portion)))
        beside: list[Record] = [*answer.opinions, *answer.standings, *answer.explanations]
        for said in portions(beside, PORTION):
            await asyncio.sleep(PAUSE_S if others else 0)
            self.writing.keep(said)

    def _expect(self, forecasts: Sequence[Forecast], now: datetime) -> None:
        for forecast in forecasts:
            self.lane.expect(forecast, now)
        self._reap()

    def _say_pace(self, now: float) -> None:
        if self.model.up:
            ok, detail = self.schedule.pace(now)
            self.report(Status(subject="model.pace", ok=ok, detail=detail, at=self._clock.now()))

    # --- commands ------------------------------------------------------------------------------------------------------

    def _carry_out(self, text: str) -> Reply:
        now = self.lane.mark(self._clock.now(), command=text)
        reply = obey(text, self.lane, now)
        self._reap()
        self.writing.keep([reply])
        return reply

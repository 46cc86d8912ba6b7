"""The pipeline around the fast lane: what is acknowledged is on disk, what is full waits, what stops leaves nothing behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from detectors.alarm import AlarmRule
from detectors.forecasters.persistence import Persistence
from detectors.limits import Tolerance
from detectors.records import Alert, Sample, Status
from stream.clock import SystemClock
from stream.journal import writing
from stream.journal.journal import Journal, JournalFullError
from stream.lane import FastLane
from stream.model.modelling import ModelLane
from stream.model.schedule import Schedule
from stream.pipeline import Pipeline
from stream.sources.source import Rejection
from stream.watch import Watch
from stream.window import RollingWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from detectors.records import Record
    from stream.sources.source import Intake


def sample(i: int, value: float = 5.0) -> Sample:
    at = datetime.now(UTC) + timedelta(milliseconds=i)
    return Sample(tag="hx/t", value=value, source_at=at, arrived_at=at)


class Feed:
    """A source that delivers what the test gives it."""

    name = "feed"

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[Sequence[Sample], Callable[[], None] | None]] = asyncio.Queue()
        self.ended = False

    async def run(self, intake: Intake) -> None:
        try:
            while True:
                samples, accepted = await self.queue.get()
                await intake.deliver(samples, accepted)
        finally:
            self.ended = True

    async def probe(self) -> list[str]:
        return []


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite3", max_size_mb=8, keep_days=1)
    yield made
    made.close()


def build(journal: Journal, feed: Feed, progress: Callable[[], None] = lambda: None) -> Pipeline:
    lane = FastLane(
        [
            Watch(
                window=RollingWindow(tag="hx/t", period_s=0.1, hold_s=10, length=32, lateness_s=0.05),
                on_sample=[(Tolerance(setpoint=5, tolerance=0.2), AlarmRule())],
            )
        ],
        {},
    )
    return Pipeline(
        sources=[feed],
        lane=lane,
        schedule=Schedule(rank={}, horizon=3),
        model=lambda report: ModelLane(None, fallback=Persistence(), horizon=3, report=report, clock=SystemClock()),
        journal=journal,
        deliveries=lambda _report: [],
        clock=SystemClock(),
        progress=progress,
    )


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_source_is_told_only_when_its_samples_are_on_disk(journal: Journal) -> None:
    feed = Feed()
    subject = build(journal, feed)
    run = asyncio.create_task(subject.run())
    held: list[list[Record]] = []
    await feed.queue.put(([sample(0), sample(1)], lambda: held.append(journal.history(kinds={Sample}))))
    await until(lambda: bool(held))
    assert len(held[0]) == 2
    subject.stop()
    await run
    assert feed.ended


async def test_a_clean_stop_judges_and_keeps_everything_that_was_delivered(journal: Journal) -> None:
    feed = Feed()
    subject = build(journal, feed)
    run = asyncio.create_task(subject.run())
    await feed.queue.put(([sample(0)], None))
    await until(lambda: subject.metrics.samples == 1)
    for i in range(500):
        await subject.deliver([sample(i + 1, 5.5 if i == 499 else 5.0)])
    subject.stop()
    await run
    assert len(journal.history(kinds={Sample})) == 501
    (alert,) = journal.history(kinds={Alert})
    assert isinstance(alert, Alert)
    assert journal.memory("alarm:") != {}


async def test_a_full_disk_is_said_and_nothing_is_acknowledged_until_there_is_room(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "DISK_RETRY_S", 0.01)
    full = True
    append = journal.append

    def refuse(records: Sequence[Record], **more: object) -> int:
        if full:
            raise JournalFullError("journal: no room to write")
        return append(records, **more)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(journal, "append", refuse)
    feed, told = Feed(), []
    subject = build(journal, feed)
    run = asyncio.create_task(subject.run())
    await feed.queue.put(([sample(0, 5.5)], lambda: told.append(1)))
    await until(
        lambda: not subject.statuses.get("journal", Status(subject="", ok=True, detail="", at=datetime.now(UTC))).ok
    )
    # Judging goes on all the same.
    await until(lambda: subject.metrics.raised == 1)
    assert told == []
    full = False
    await until(lambda: told == [1])
    assert subject.statuses["journal"].ok
    subject.stop()
    await run


async def test_forecasts_are_made_when_steps_close(journal: Journal) -> None:
    feed = Feed()
    subject = build(journal, feed)
    run = asyncio.create_task(subject.run())
    for _ in range(5):
        await feed.queue.put(([sample(0)], None))
        await asyncio.sleep(0.1)
    await until(lambda: subject.metrics.forecasts.total() >= 2)
    await subject.settled()
    assert subject.present.forecasts["hx/t"].forecaster == "persistence"
    subject.stop()
    await run


async def test_an_equal_status_is_said_once_and_rejections_are_counted_by_tag_and_reason(journal: Journal) -> None:
    subject = build(journal, Feed())
    run = asyncio.create_task(subject.run())
    now = datetime.now(UTC)
    for _ in range(3):
        subject.report(Status(subject="x", ok=True, detail="d", at=now))
        subject.reject(Rejection(source="s", tag="hx/t", reason="unparsable", detail="'x'", at=now))
    subject.stop()
    await run
    assert [r for r in journal.history(kinds={Status}) if isinstance(r, Status) and r.subject == "x"] == [
        Status(subject="x", ok=True, detail="d", at=now)
    ]
    assert subject.metrics.rejected["s", "hx/t", "unparsable"] == 3


async def test_the_watchdog_is_fed_by_progress_and_not_while_the_journal_is_stuck(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setattr(writing, "STUCK_S", 0.3)
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    feed = Feed()
    subject = build(journal, feed, beat)
    run = asyncio.create_task(subject.run())
    await until(lambda: beats > 2)
    free = threading.Event()
    append = journal.append

    def hang(records: Sequence[Record], **more: object) -> int:
        free.wait(10)
        return append(records, **more)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(journal, "append", hang)
    await feed.queue.put(([sample(0)], None))
    await asyncio.sleep(0.7)
    before = beats
    await asyncio.sleep(0.6)
    assert beats == before, "a journal that hangs is no progress"
    free.set()
    await until(lambda: beats > before)
    subject.stop()
    await run


async def test_a_journal_that_had_to_be_started_anew_is_said(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    path.write_bytes(b"not a database" * 1000)
    fresh = Journal(path, max_size_mb=8, keep_days=1)
    subject = build(fresh, Feed())
    run = asyncio.create_task(subject.run())
    await until(lambda: subject.statuses.get("service") is not None)
    subject.stop()
    await run
    said = [
        r.detail for r in fresh.history(kinds={Status}) if isinstance(r, Status) and r.subject == "journal" and not r.ok
    ]
    fresh.close()
    assert len(said) == 1
    assert "moved" in said[0]

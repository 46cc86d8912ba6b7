"""The queue between sources and the fast lane: bounded by what waits in it, whatever it came in."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from detectors.records import Sample
from stream import handover
from stream.handover import Handover, Handovers

if TYPE_CHECKING:
    import pytest

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def some(count: int) -> Handover:
    return Handover([Sample(tag="x/a", value=1.0, source_at=NOW, arrived_at=NOW)] * count, None, {})


async def test_with_so_many_samples_waiting_a_source_waits_until_some_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover, "MOST_SAMPLES", 10)
    queue = Handovers()
    await queue.put(some(9))
    await queue.put(some(9))
    third, fourth = (asyncio.create_task(queue.put(some(9))) for _ in range(2))
    await asyncio.sleep(0)
    assert not third.done()
    assert len((await queue.get() or some(0)).samples) == 9
    await third
    assert not fourth.done()
    await queue.get()
    await fourth


async def test_the_end_comes_after_all_that_waits() -> None:
    queue = Handovers()
    await queue.put(some(1))
    await queue.end()
    assert await queue.get() is not None
    queue.done()
    assert await queue.get() is None
    queue.done()
    await queue.join()


async def test_who_gives_up_waiting_for_room_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MOST_SAMPLES", 1)
    queue = Handovers()
    await queue.put(some(1))
    waiting = asyncio.create_task(queue.put(some(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await queue.get()
    async with asyncio.timeout(1):
        await queue.put(some(1))

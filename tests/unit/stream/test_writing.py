"""The writer of the journal: what it had to drop is counted by kind, and said."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from stream.clock import SystemClock
from stream.journal.journal import Journal
from stream.journal.loss import Loss
from stream.journal.writing import Writing
from stream.metric import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

T0 = datetime(2026, 11, 27, tzinfo=UTC)


async def test_what_no_sink_got_is_counted_by_kind_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.journal.writing.TRIM_EVERY_S", -1.0)
    journal = Journal(tmp_path / "journal.sqlite3", max_size_mb=16, keep_days=1)
    metrics, said = Metrics(), []
    lost = Loss(count=3, begin=T0, end=T0 + timedelta(seconds=9))
    monkeypatch.setattr(journal, "trim", lambda _: {"score": lost, "forecast": lost})
    writing = Writing(
        journal, clock=SystemClock(), metrics=metrics, report=said.append, obeyed=list, written=lambda: None
    )
    running = asyncio.create_task(writing.run())
    async with asyncio.timeout(5):
        for rounds in (1, 2):
            writing.keep([])
            while metrics.dropped["journal", "score"] < 3 * rounds:
                await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.wait([running])
    journal.close()
    assert metrics.dropped == {("journal", "score"): 6, ("journal", "forecast"): 6}
    assert any(not status.ok and "3 score" in status.detail for status in said)

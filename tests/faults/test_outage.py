"""InfluxDB was away for ten minutes at a thousand points a second: what does it cost to catch up?"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from detectors.records import Sample
from stream.clock import SystemClock
from stream.delivery import Delivery
from stream.journal.journal import Journal
from stream.sinks.influxdb import InfluxSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T0 = datetime(2026, 11, 23, tzinfo=UTC)
TAGS = 1000


def backlog(seconds: int) -> Iterator[list[Sample]]:
    """What 1,000 tags at 1 Hz say, second by second; values count up over all."""
    for s in range(seconds):
        at = T0 + timedelta(seconds=s)
        yield [Sample(tag=f"hx/t{i}", value=float(s * TAGS + i), source_at=at, arrived_at=at) for i in range(TAGS)]


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def drain(path: Path, influxd: Any, seconds: int, pause_s: float) -> tuple[float, float, int]:
    """Seconds that the backlog takes, how many MB memory grew by meanwhile, and how many samples the sink took in their order.

    A second's samples come every `pause_s` while the server is away.
    """
    journal = Journal(path, max_size_mb=1024, keep_days=30)
    sink = InfluxSink(name="db", site="demo", version=1, url=influxd.url, bucket="givre")
    delivery = Delivery(journal, sink, report=lambda _: None, clock=SystemClock())
    in_order = 0
    write = sink.write

    async def noted(records: Any) -> Any:
        nonlocal in_order
        for record in records:
            if isinstance(record, Sample):
                # A batch that comes again after a failure starts before what was seen: that is no disorder.
                assert record.value is not None and record.value <= in_order, f"{record.value} overtook {in_order}"
                in_order = max(in_order, int(record.value) + 1)
        return await write(records)

    sink.write = noted  # type: ignore[method-assign] # looks over the shoulder of the delivery
    influxd.stop()
    before, began, most = resident_mb(), time.monotonic(), 0.0
    task = asyncio.create_task(delivery.run())
    try:
        for i, second in enumerate(backlog(seconds)):
            await asyncio.to_thread(journal.append, second)
            delivery.wake()
            most = max(most, resident_mb())
            await asyncio.sleep(max(began + (i + 1) * pause_s - time.monotonic(), 0))
        assert delivery.depth() == seconds * TAGS
        await asyncio.to_thread(influxd.start)
        began = time.monotonic()
        while delivery.depth():
            assert time.monotonic() - began < 300, f"{delivery.depth()} wait still"
            most = max(most, resident_mb())
            await asyncio.sleep(0.1)
        return time.monotonic() - began, max(most - before, 0.0), in_order
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close()


@pytest.mark.slow_fault
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("pause_s", [0.0, 1.0], ids=["at once", "ten minutes"])
async def test_a_backlog_of_ten_minutes_drains_whole_in_order_and_in_little_memory(
    tmp_path: Path, influxd: Any, pause_s: float, record_property: Callable[[str, object], None]
) -> None:
    took_s, grown_mb, in_order = await drain(tmp_path / "journal.db", influxd, 600, pause_s)
    came = "in ten minutes" if pause_s else "at once"
    record_property(
        "figure", f"600,000 points that came {came} drained in {took_s:.0f} s, memory grew by {grown_mb:.0f} MB"
    )
    assert in_order == 600 * TAGS
    stored = influxd.ask('SELECT COUNT("value"), SUM("value") FROM "sample"')[0]
    assert stored["count"] == 600 * TAGS
    assert stored["sum"] == sum(range(600 * TAGS))
    assert took_s < 120
    assert grown_mb < 50

"""Five thousand tags at once a second, and ten times that for half a minute: how late is an alert, and what waits where?

The values come as an OPC UA subscription hands them over, into the inbox of that source; from there on it is the service's
own pipeline, its journal on disk, and a sink. How fast an OPC UA server and its client are is not in it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from asyncua import ua

from config.load import load
from detectors.records import AlarmState, Alert
from stream.assemble import build_pipeline, open_journal
from stream.clock import SystemClock
from stream.delivery import Delivery
from stream.sources.opcua_inbox import LIMIT, Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from detectors.records import Record
    from stream.sinks.sink import Refused
    from stream.sources.source import Intake

TAGS = 5000
PUBLISHES_EVERY_S = 0.5
SWINGING = 20
"""Of each publication so many tags cross their limit, others each time."""
CONFIG = """\
site: test
state_folder: state
panel: {members: [persistence]}
sources:
  plc: {type: opcua, endpoint: 'opc.tcp://127.0.0.1:4840', namespace: 'urn:plant'}
assets:
"""
TAG = "      t{0}: {{unit: degC, period_s: 60, hold_s: 600, limits: {{high: {{at: 80}}}}, source: {{name: plc, node: s={0}}}}}"


class Burst:
    """A source of `TAGS` tags that shows each once a second, and `times` as often from `begin_s` to `end_s`."""

    name = "plc"

    def __init__(self, *, last_s: float, begin_s: float, end_s: float, times: int) -> None:
        self.inbox: Inbox | None = None
        self.crossed: dict[str, float] = {}
        """When a value was there that crosses a limit, by tag."""
        self.in_burst: set[str] = set()
        self.count = 0
        self.deepest = 0
        self.over = asyncio.Event()
        self._span = (last_s, begin_s, end_s, times)

    async def run(self, intake: Intake) -> None:
        self.inbox = Inbox("plc", intake)
        giving = asyncio.create_task(self.inbox.hand_over())
        try:
            await self._publish(self.inbox)
        finally:
            giving.cancel()

    async def _publish(self, inbox: Inbox) -> None:
        last_s, begin_s, end_s, times = self._span
        began, beat = time.time(), 0
        fresh = deque(f"hx/t{i}" for i in range(TAGS))
        while (due_s := beat * PUBLISHES_EVERY_S) < last_s:
            await asyncio.sleep(max(began + due_s - time.time(), 0))
            due = began + due_s  # that we are late ourselves is part of what an alert waits
            burst = begin_s <= due_s < end_s
            high = [fresh.popleft() for _ in range(SWINGING) if fresh]
            self.crossed |= dict.fromkeys(high, due)
            self.in_burst |= set(high) if burst else set()
            each = 1.0 / (times if burst else 1)
            shown = int(PUBLISHES_EVERY_S / each) or 1
            tags = range(TAGS) if shown > 1 or beat % 2 else ()
            for k in range(shown):
                at = datetime.fromtimestamp(due - (shown - 1 - k) * each, UTC)
                for i in tags:
                    tag = f"hx/t{i}"
                    value = ua.Variant(90.0 if tag in self.crossed else 50.0 + k, ua.VariantType.Double)
                    inbox.put(tag, ua.DataValue(value, SourceTimestamp=at), datetime.fromtimestamp(due, UTC))
                self.count += len(tags)
            self.deepest = max(self.deepest, len(inbox._waiting))
            await asyncio.sleep(0)
            beat += 1
        await asyncio.sleep(3)
        self.over.set()

    async def probe(self) -> list[str]:
        return []


class Alerts:
    """A sink that notes when it is given the first alert of a tag."""

    name = "alerts"
    kinds = frozenset({Alert})

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    async def write(self, records: Sequence[Record]) -> list[Refused]:
        for alert in records:
            if isinstance(alert, Alert) and alert.state is AlarmState.UNACKNOWLEDGED:
                self.at.setdefault(alert.tag, time.time())
        return []

    async def probe(self) -> list[str]:
        return []

    async def close(self) -> None: ...


async def strain(folder: Path, source: Burst, limit_s: float) -> tuple[dict[str, float], Any]:
    """Seconds from a value's time to its alert in the sink, by tag, and the pipeline as it was left."""
    path = folder / "givre.yaml"
    path.write_text(CONFIG + "  hx:\n    tags:\n" + "\n".join(map(TAG.format, range(TAGS))) + "\n")
    loaded, clock, sink = load(path), SystemClock(), Alerts()
    journal = open_journal(loaded)
    pipeline = build_pipeline(
        loaded, journal=journal, clock=clock, sources=[source], with_model=False, with_sinks=False
    )
    pipeline._deliveries = [Delivery(journal, sink, report=pipeline.report, clock=clock)]
    async with asyncio.timeout(limit_s):
        running = asyncio.create_task(pipeline.run())
        await source.over.wait()
        pipeline.stop()
        await running
    journal.close()
    return {tag: sink.at[tag] - due for tag, due in source.crossed.items() if tag in sink.at}, pipeline


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


@pytest.mark.slow_fault
@pytest.mark.timeout(300)
async def test_an_alert_is_there_in_time_while_ten_times_as_much_comes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source = Burst(last_s=50, begin_s=10, end_s=40, times=10)
    late, pipeline = await strain(tmp_path, source, 200)
    assert source.inbox is not None
    calm = [s for tag, s in late.items() if tag not in source.in_burst]
    busy = [s for tag, s in late.items() if tag in source.in_burst]
    figure = (
        f"{source.count} values, {source.inbox.dropped} dropped, at most {source.deepest} waited, "
        f"{pipeline.metrics.samples} judged; alerts, 99 of 100 within {percentile(calm, 0.99):.2f} s, "
        f"and {percentile(busy, 0.99):.2f} s in the burst"
    )
    print(figure)
    record_property("figure", figure)
    assert late.keys() == source.crossed.keys()
    assert source.deepest <= LIMIT
    assert percentile(calm, 0.99) < 2
    assert percentile(busy, 0.99) < 2

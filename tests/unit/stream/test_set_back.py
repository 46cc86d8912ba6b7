"""The machine's clock is set, forward or back, while the service runs: alarms stay right, and nothing is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from config.load import load
from detectors.records import Alert, Mark, Quality, Sample
from stream import alarm_memory
from stream.assemble import build_pipeline
from stream.cli.recorded_day import judge_again
from stream.clock import BEGINNING
from stream.command import ask
from stream.journal.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from config.load import Loaded
    from stream.pipeline import Pipeline
    from stream.sources.source import Intake

CONFIG = """\
site: test
lateness_s: 0.1
panel: {members: [persistence], horizon: 2}
sources:
  plc: {type: opcua, endpoint: "opc.tcp://127.0.0.1:1/x", namespace: "urn:x"}
assets:
  hx:
    tags:
      water:
        unit: degC
        period_s: 0.2
        hold_s: 5
        source: {name: plc, node: s=water}
        tolerance: {setpoint: 5, tolerance: 0.2, deadband: 0.05}
        limits: {high: {at: 9, on_delay_s: 1.5}}
"""
HOURS = [-1.0, 1.0, 24.0 * 400]


@dataclass
class Clock:
    """The machine's, set by hand."""

    set_by: timedelta = timedelta()
    speed: float = 1.0
    earliest: datetime = BEGINNING

    def now(self) -> datetime:
        return datetime.now(UTC) + self.set_by

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Plc:
    """A source whose values are stamped as they arrive, ten times a second."""

    name = "plc"

    def __init__(self, clock: Clock) -> None:
        self.clock, self.value, self.sent = clock, 5.0, 0

    async def run(self, intake: Intake) -> None:
        while True:
            now = self.clock.now()
            await intake.deliver([Sample(tag="hx/water", value=self.value, source_at=now, arrived_at=now)])
            self.sent += 1
            await asyncio.sleep(0.05)

    async def probe(self) -> list[str]:
        return []


@dataclass
class Running:
    clock: Clock
    plc: Plc
    pipeline: Pipeline
    journal: Journal

    def told(self, rule: str) -> list[Alert]:
        records = self.journal.history(kinds={Alert})
        return [record for record in records if isinstance(record, Alert) and record.rule == rule]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                await asyncio.sleep(0.01)


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG)
    return load(config)


@asynccontextmanager
async def running(loaded: Loaded, tmp_path: Path, set_by: timedelta = timedelta()) -> AsyncIterator[Running]:
    journal = Journal(tmp_path / "live.sqlite3", max_size_mb=8, keep_days=36_500)
    clock = Clock(set_by)
    plc = Plc(clock)
    pipeline = build_pipeline(loaded, journal=journal, clock=clock, sources=[plc], with_model=False, with_sinks=False)
    run = asyncio.create_task(pipeline.run())
    try:
        yield Running(clock, plc, pipeline, journal)
    finally:
        pipeline.stop()
        await run
        journal.close()


@pytest.mark.parametrize("hours", HOURS)
async def test_a_limit_is_watched_on_at_once_and_a_standing_alarm_stands_as_it_stood(
    loaded: Loaded, tmp_path: Path, hours: float
) -> None:
    async with running(loaded, tmp_path) as live:
        live.plc.value = 5.5
        await live.until(lambda: len(live.told("tolerance")) == 1)
        raised = live.told("tolerance")[0]
        live.clock.set_by = timedelta(hours=hours)
        await asyncio.sleep(0.3)
        live.plc.value = 9.5
        await live.until(lambda: len(live.told("high")) == 1)
        assert len(live.told("tolerance")) == 1, "told twice"
        live.plc.value = 5.0
        await live.until(lambda: len(live.told("tolerance")) == 2)
        returned = live.told("tolerance")[1]
        assert (returned.sequence, returned.previous) == (2, "unacknowledged")
        assert abs((returned.at - live.clock.now()).total_seconds()) < 2
        if hours < 0:
            # As long as it lasted, whatever the clock said meanwhile.
            assert timedelta() < returned.at - returned.since < timedelta(seconds=5)
            assert abs(returned.since - raised.since - timedelta(hours=hours)) < timedelta(seconds=1)
            assert live.pipeline.statuses["clock"].ok
            assert f"was set back by {-hours * 3600:.0f} s" in live.pipeline.statuses["clock"].detail
            assert live.journal.history(kinds={Mark})
        others = {alert.rule for alert in live.journal.history(kinds={Alert}) if isinstance(alert, Alert)}
        # Set forward, time has passed without a word from the plant.
        assert others - {"tolerance", "high"} <= ({"lost"} if hours > 0 else set())
        assert all(not alarm.memory.state.active for name, alarm in live.pipeline.lane.alarms.items() if "lost" in name)
        sent = live.plc.sent
        kept = len(live.journal.history(kinds={Sample}))
        assert 0 <= sent - kept <= 10, "lost"
    again = Journal(tmp_path / "again.sqlite3", max_size_mb=8, keep_days=36_500)
    outcome = judge_again(loaded, tmp_path / "live.sqlite3", again)
    again.close()
    assert outcome.first_difference is None


async def test_what_waits_for_its_delay_or_is_shelved_goes_on_for_as_long_as_it_had(
    loaded: Loaded, tmp_path: Path
) -> None:
    async with running(loaded, tmp_path) as live:
        live.plc.value = 5.5
        await live.until(lambda: len(live.told("tolerance")) == 1)
        live.journal.post(ask("shelve", "hx/water/tolerance", by="anna", for_s=3600))
        await live.until(lambda: len(live.told("tolerance")) == 2)
        live.plc.value = 9.5
        await live.until(lambda: live.pipeline.lane.alarms["hx/water/high"].memory.changing_since is not None)
        until = live.pipeline.lane.alarms["hx/water/tolerance"].memory.silent_until
        began = asyncio.get_running_loop().time()
        live.clock.set_by = timedelta(hours=-2)
        await live.until(lambda: len(live.told("high")) == 1)
        assert 0.5 < asyncio.get_running_loop().time() - began < 3
        memory = live.pipeline.lane.alarms["hx/water/tolerance"].memory
        assert until is not None
        assert memory.silent_until is not None
        assert abs(until - timedelta(hours=2) - memory.silent_until) < timedelta(seconds=1)
        await live.until(lambda: alarm_memory.load(live.journal.memory("alarm:"))["hx/water/tolerance"] == memory)


async def test_a_clock_that_goes_back_by_a_little_is_waited_for(loaded: Loaded, tmp_path: Path) -> None:
    async with running(loaded, tmp_path) as live:
        await live.until(lambda: live.pipeline.metrics.samples > 3)
        live.clock.set_by = timedelta(seconds=-0.5)
        await asyncio.sleep(0.8)
        live.plc.value = 5.5
        await live.until(lambda: len(live.told("tolerance")) == 1)
        assert "clock" not in live.pipeline.statuses


async def test_while_the_clock_cannot_be_right_values_are_judged_and_kept_as_uncertain(
    loaded: Loaded, tmp_path: Path
) -> None:
    async with running(loaded, tmp_path, datetime(1970, 1, 1, tzinfo=UTC) - datetime.now(UTC)) as live:
        live.plc.value = 5.5
        await live.until(lambda: len(live.told("tolerance")) == 1)
        assert not live.pipeline.statuses["clock"].ok
        assert "shows 1970-01-01" in live.pipeline.statuses["clock"].detail
        live.clock.set_by = timedelta()
        await live.until(lambda: live.pipeline.statuses["clock"].ok)
        after = live.plc.sent
        await live.until(lambda: live.plc.sent > after + 2)
    with closing(Journal(tmp_path / "live.sqlite3", max_size_mb=8, keep_days=36_500)) as journal:
        kept = [s for s in journal.history(kinds={Sample}) if isinstance(s, Sample)]
    doubted = [s for s in kept if s.source_at.year == 1970]
    assert doubted
    assert {(s.quality, s.reason) for s in doubted} == {(Quality.UNCERTAIN, "clock")}
    assert {s.quality for s in kept if s.source_at.year > 1970} == {Quality.GOOD}
    again = Journal(tmp_path / "again.sqlite3", max_size_mb=8, keep_days=36_500)
    outcome = judge_again(loaded, tmp_path / "live.sqlite3", again)
    again.close()
    assert outcome.first_difference is None

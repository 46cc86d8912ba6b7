"""The clock of a source is set while it is followed: its times cannot be believed, which is said, and ends when they can."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from config.load import load
from detectors.records import Alert, Sample
from stream.assemble import build_lane

if TYPE_CHECKING:
    from pathlib import Path

    from stream.lane import FastLane

T0 = datetime(2026, 1, 5, tzinfo=UTC)
CONFIG = """\
site: test
sources:
  plc: {type: opcua, endpoint: "opc.tcp://127.0.0.1:1/x", namespace: "urn:x"}
assets:
  hx:
    tags:
      water:
        unit: degC
        period_s: 10
        hold_s: 60
        source: {name: plc, node: s=water}
        tolerance: {setpoint: 5, tolerance: 0.2}
"""


@pytest.fixture
def lane(tmp_path: Path) -> FastLane:
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG)
    return build_lane(load(config).settings, {})


def feed(lane: FastLane, seconds: range, value: float, *, wrong_by: timedelta = timedelta()) -> Counter[str]:
    """A sample every second, stamped by the source's clock; where they were placed."""
    placed: Counter[str] = Counter()
    for second in seconds:
        at = T0 + timedelta(seconds=second)
        placed[lane.offer(Sample(tag="hx/water", value=value, source_at=at + wrong_by, arrived_at=at))] += 1
    return placed


def told(lane: FastLane) -> list[tuple[str, str, float]]:
    records = lane.harvest().records
    return [(r.rule, r.state.value, (r.at - T0).total_seconds()) for r in records if isinstance(r, Alert)]


@pytest.mark.parametrize(("hours", "said", "placed"), [(1, "lost", "future"), (-1, "stale", "late")])
def test_while_its_clock_is_wrong_that_is_an_alarm_and_what_it_shows_is_judged_when_it_is_right(
    lane: FastLane, hours: float, said: str, placed: str
) -> None:
    feed(lane, range(100), 5.0)
    assert told(lane) == []
    found = feed(lane, range(100, 300), 5.0, wrong_by=timedelta(hours=hours))
    assert found[placed] >= 180
    ((rule, state, at),) = told(lane)
    assert (rule, state) == (said, "unacknowledged")
    assert 150 <= at <= 180
    # The clock is right again, and the value is not: that is judged with the first sample.
    feed(lane, range(300, 330), 5.5)
    assert told(lane)[0] == ("tolerance", "unacknowledged", 300.0)
    feed(lane, range(330, 500), 5.0)
    assert {name: alarm.memory.state.active for name, alarm in lane.alarms.items() if alarm.memory.state.active} == {}


def test_a_jitter_of_its_clock_costs_nothing(lane: FastLane) -> None:
    for second in range(0, 600, 2):
        feed(lane, range(second, second + 1), 5.0, wrong_by=timedelta(seconds=(second % 7) - 3))
    assert told(lane) == []

"""Plant time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from plant.clock import PlantClock

ORIGIN = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def test_plant_time_runs_at_its_speed_from_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_030.0)
    clock = PlantClock(origin=ORIGIN, origin_unix_s=1_000_000.0, speed=10.0)
    assert clock.now() == ORIGIN + timedelta(minutes=5)
    assert clock.wait_s(ORIGIN + timedelta(minutes=6)) == pytest.approx(6.0)
    assert clock.wait_s(ORIGIN) == pytest.approx(-30.0)

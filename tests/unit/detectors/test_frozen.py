"""A sensor that stands still, told from a set point and from a plant at rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from detectors.detector import Step
from detectors.frozen import Company, Frozen
from detectors.line import Line
from detectors.records import Quality, Sample

if TYPE_CHECKING:
    from detectors.records import Verdict

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def report(value: float | None, seconds: float, tag: str = "hx/t") -> Sample:
    at = T0 + timedelta(seconds=seconds)
    return Sample(
        tag=tag, value=value, source_at=at, arrived_at=at, quality=Quality.BAD if value is None else Quality.GOOD
    )


class Asset:
    """A sensor that changes about every 4 s, and a sibling."""

    def __init__(self, *, at_rest: tuple[float, ...] = (), after_s: float | None = None, alone: bool = False) -> None:
        company = Company()
        self.line = Line({"hx/t": 60.0})
        self.sensor = Frozen(company=company, line=self.line, period_s=10, hold_s=60, at_rest=at_rest, after_s=after_s)
        self.sibling = None if alone else Frozen(company=company, line=Line({}), period_s=10, hold_s=60)
        self.second = 0
        self._random = Random(1)

    def live(self, seconds: int) -> None:
        for _ in range(seconds):
            self.second += 1
            if self._random.random() < 0.25:
                self.tell(5.0 + self.second)
            self.move_sibling()

    def stand(self, value: float, seconds: int, *, siblings: bool = True) -> float | None:
        """Shows one value; the second of it in which it was found, if it was."""
        found = None
        for second in range(seconds):
            self.second += 1
            if second % 15 == 0:
                self.tell(value)
            if siblings:
                self.move_sibling()
            self.line.see(report(0.0, self.second, "hx/u"))
            verdict = self.judge()
            if found is None and verdict is not None and verdict.score > 1:
                found = second
        return found

    def tell(self, value: float | None) -> None:
        self.sensor.see(report(value, self.second))
        self.line.see(report(value, self.second))

    def move_sibling(self) -> None:
        if self.sibling is not None:
            self.sibling.see(report(float(self.second), self.second, "hx/u"))

    def judge(self) -> Verdict | None:
        return self.sensor.judge(Step(tag="hx/t", end_at=T0 + timedelta(seconds=self.second), value=1.0, age_s=0.0))


def test_a_stuck_sensor_is_found_once_it_has_stood_longer_than_it_ever_did() -> None:
    asset = Asset()
    asset.live(3600)
    limit_s = asset.sensor.limit_s
    assert limit_s is not None
    assert 30 <= limit_s <= 90
    assert asset.stand(7.0, 600) == pytest.approx(limit_s, abs=2)
    verdict = asset.judge()
    assert verdict is not None
    assert verdict.facts is not None
    assert verdict.facts.figure("stood_s") == 599
    assert 0 < (verdict.facts.figure("longest_s") or 0) <= limit_s


def test_it_stays_found_for_seven_days_and_does_not_become_normal() -> None:
    asset = Asset()
    asset.live(3600)
    before = asset.sensor.limit_s
    asset.stand(7.0, 120)
    for day in range(7):
        asset.second += 86_400 if day else 0
        asset.tell(7.0)
        verdict = asset.judge()
        assert verdict is not None
        assert verdict.score > 1
    asset.live(3600)
    verdict = asset.judge()
    assert verdict is not None
    assert verdict.score < 1
    assert before is not None
    assert asset.sensor.limit_s is not None
    assert asset.sensor.limit_s <= 1.5 * before


def test_a_stuck_sensor_that_moves_again_is_found_as_fast_the_next_time() -> None:
    asset = Asset()
    asset.live(3600)
    first = asset.stand(7.0, 3600)
    asset.live(600)
    second = asset.stand(8.0, 3600)
    assert first is not None
    assert second is not None
    assert second <= 1.3 * first


def test_a_tag_that_often_stands_still_is_given_that_time() -> None:
    asset = Asset()
    for i in range(40):
        asset.stand(float(i), 300)
    assert asset.stand(99.0, 400) is None


def test_where_the_siblings_stand_still_as_well_the_plant_may_be_at_rest() -> None:
    asset = Asset()
    asset.live(3600)
    limit_s = asset.sensor.limit_s
    assert limit_s is not None
    found = asset.stand(7.0, 600, siblings=False)
    assert found == pytest.approx(4 * limit_s, abs=2)


def test_at_rest_it_may_stand_for_ever() -> None:
    asset = Asset(at_rest=(0.0,))
    asset.live(3600)
    before = asset.sensor.limit_s
    assert asset.stand(0.0, 7200) is None
    asset.live(600)
    assert asset.sensor.limit_s is not None
    assert before is not None
    assert asset.sensor.limit_s <= before, "nothing was learnt from it either"


def test_a_stated_time_needs_no_history() -> None:
    asset = Asset(after_s=120)
    assert asset.stand(5.0, 300) == pytest.approx(120, abs=1)


def test_without_siblings_its_own_history_decides_alone() -> None:
    asset = Asset(alone=True)
    asset.live(3600)
    limit_s = asset.sensor.limit_s
    assert limit_s is not None
    assert asset.stand(7.0, 600) == pytest.approx(2 * limit_s, abs=2)


def test_of_a_tag_that_is_hardly_known_nothing_is_said_but_that_it_has_moved() -> None:
    asset = Asset()
    asset.live(20)
    assert asset.stand(7.0, 600) is None
    assert asset.judge() is None
    asset.live(20)
    verdict = asset.judge()
    assert verdict is not None
    assert verdict.score == 0.0


def test_a_tag_that_misses_its_heartbeat_is_silent_and_not_frozen() -> None:
    asset = Asset()
    asset.live(3600)
    asset.stand(7.0, 20)
    for _ in range(600):
        asset.second += 1
        asset.move_sibling()
        asset.line.see(report(0.0, asset.second, "hx/u"))
        verdict = asset.judge()
        assert verdict is not None
        assert verdict.score < 1


def test_silence_and_bad_reports_are_not_standing() -> None:
    asset = Asset()
    asset.live(3600)
    before = asset.sensor.limit_s
    asset.second += 50
    verdict = asset.judge()
    assert verdict is not None
    assert verdict.score < 1, "the source said nothing"
    asset.second += 600
    asset.tell(None)
    asset.live(200)
    assert asset.sensor.limit_s is not None
    assert before is not None
    assert asset.sensor.limit_s <= before

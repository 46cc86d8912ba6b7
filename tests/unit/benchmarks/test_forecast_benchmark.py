"""The benchmark of forecasters: members are overheard as they are, and the words of the study say what its figures say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.forecast import FULL, QUICK, _mean_ratio, _ratio
from benchmarks.overheard import overhear
from benchmarks.study_page import Entry, study_page
from benchmarks.study_tuned import daily_tags
from detectors.evaluation.backtest import Cost, Plan, Series, backtest
from detectors.evaluation.figures import Figures, evaluate
from detectors.forecasters.forecaster import Learner
from detectors.forecasters.persistence import Persistence

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan(horizon=4, first=60, stride=3)


class FreeMeter:
    def measure(self, call: Callable[[], Any]) -> tuple[Any, Cost]:
        return call(), Cost(seconds=0.0, memory_bytes=0)


class Pupil(Persistence):
    due = ()

    def learn(self, windows: object) -> None:
        self.learnt = windows

    def refit(self, tag: str) -> None:
        pass

    def save(self) -> bytes:
        return b"saved"

    def restore(self, saved: bytes) -> None:
        self.restored = saved


def series() -> Series:
    values = np.random.default_rng(0).normal(size=100).cumsum()
    return Series(tag="plant/outlet", period_s=60.0, start_at=START, values=values)


def figures(error_percent: float, name: str) -> Figures:
    (run,) = backtest([series()], Persistence(), PLAN, meter=FreeMeter())
    found = evaluate(replace(run, forecaster=name))
    error = replace(found.plain.error, mean=error_percent)
    measured = replace(found.plain.measured, mean=100.0)
    return replace(found, plain=replace(found.plain, error=error, measured=measured))


def test_what_is_overheard_is_what_the_member_says_on_its_own() -> None:
    member = overhear(Persistence())
    (panel,) = backtest([series()], member, PLAN, meter=FreeMeter())
    (alone,) = backtest([series()], Persistence(), PLAN, meter=FreeMeter())
    assert np.array_equal(member.run(panel).quantiles, alone.quantiles)
    assert member.calls == len(alone.origins)


def test_only_a_learner_is_overheard_as_one() -> None:
    assert not isinstance(overhear(Persistence()), Learner)
    pupil = Pupil()
    heard = overhear(pupil)
    assert isinstance(heard, Learner)
    heard.learn(["lesson"])  # type: ignore[list-item] # passed on as it is
    heard.restore(heard.save())
    assert (pupil.learnt, pupil.restored) == (["lesson"], b"saved")


def test_where_a_member_said_nothing_it_has_no_forecast() -> None:
    member = overhear(Persistence())
    (panel,) = backtest([series()], Persistence(), PLAN, meter=FreeMeter())
    assert member.run(panel).given == 0


@pytest.mark.parametrize("length", [119, 144, 296, 5000, 69_680])
def test_every_series_has_room_for_a_horizon_and_a_past(length: int) -> None:
    for size in (FULL, QUICK):
        plan = size.plan(length)
        assert len(plan.origins(length)) >= 10
        assert plan.warm_origins()[0] > length // 4


def test_ratios_are_to_the_best_member_of_each_series() -> None:
    def loss(value: float, name: str) -> Figures:
        one = figures(1.0, name)
        return replace(one, overall=replace(one.overall, pinball=value))

    one = {"panel": loss(2.0, "panel"), "a": loss(1.0, "a"), "b": loss(4.0, "b")}
    two = {"panel": loss(2.0, "panel"), "a": loss(8.0, "a"), "b": loss(4.0, "b")}
    still = {"panel": loss(0.0, "panel"), "a": loss(0.0, "a"), "b": loss(1.0, "b")}
    assert _ratio(one, ["a", "b"]) == 2.0
    assert _ratio(two, ["a", "b"]) == 0.5
    assert _ratio(still, ["a", "b"]) == 1.0
    assert _mean_ratio([one, two], ["a", "b"]) == 1.0
    assert _mean_ratio([one, two], ["b"]) == 0.5


def test_the_page_says_where_a_number_is_worse_than_hoped() -> None:
    asked = [
        Entry(label="smoothing", name="smoothing"),
        Entry(label="language, 128 days", name="language", context=128),
        Entry(label="language, json", name="language-json"),
    ]
    found = [figures(20.0, "smoothing"), figures(8.0, "language, 128 days"), figures(31.0, "language, json")]
    page = study_page(
        asked, found, ["arima: no such package"], ["tuned: refused: it lost"], day_ahead=1.25, warm_up=364
    )
    assert "Best: language, 128 days, with a mean absolute error of 8.00 % of the mean" in page
    assert "- tuned: refused: it lost.\n" in page
    assert "language, 128 days: 8.00 %, as the study hoped, better than smoothing; not better than none" in page
    assert "json: 31.00 %, **worse than the study's hope**, better than none; not better than smoothing" in page
    assert "smoothing: 20.00 %, **worse than** the reference of 19.5 %" in page
    assert "Not in the tables: arima: no such package." in page
    assert page.index("| language, 128 days |") < page.index("| smoothing |") < page.index("| language, json |")
    assert "\n\n\n" not in page


def test_the_days_that_the_study_tunes_on_end_before_its_test_and_each_half_hour_is_a_tag() -> None:
    begin = datetime(2014, 10, 30, tzinfo=UTC)
    halfhours = Series(tag="load", period_s=1800.0, start_at=begin, values=np.arange(4 * 48, dtype=float))
    tags = daily_tags(halfhours, datetime(2014, 11, 1, tzinfo=UTC))
    assert [one.tag for one in tags[:3]] == ["french/00:00", "french/00:30", "french/01:00"]
    assert [list(one.values) for one in (tags[0], tags[47])] == [[0.0, 48.0], [47.0, 95.0]]

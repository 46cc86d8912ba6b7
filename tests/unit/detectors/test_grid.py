from __future__ import annotations

import math
import re
from datetime import UTC, datetime

import numpy as np
import pytest

from detectors.evaluation.grid import GridError, common_period, lay, tell_rejections

DAY = 86_400.0
START = datetime(2014, 1, 1, tzinfo=UTC).timestamp()


def days(count: int, start: float = START) -> np.ndarray:
    return start + DAY * np.arange(count)


def values(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 5, count)


def test_a_regular_history_is_taken_as_it_is_and_nothing_is_told() -> None:
    series = lay("plant/load", days(40), values(40), period_s=DAY)
    assert series.values.tolist() == values(40).tolist()
    assert series.start_at == datetime(2014, 1, 1, tzinfo=UTC)
    assert series.at(39) == datetime(2014, 2, 9, tzinfo=UTC)
    assert series.treatments == ()


@pytest.mark.parametrize(
    ("moments", "period_s"),
    [([0, 60, 120, 300], 60), ([0, 59.4, 119.4, 179], 60), ([0, 7, 14, 21], 7), ([0, 3600, 7200, 7260], 3600)],
)
def test_the_period_is_the_most_common_spacing_snapped_to_a_round_one(moments: list[float], period_s: float) -> None:
    assert common_period(np.array(moments, dtype=np.float64)) == period_s


def test_a_missing_month_is_a_hole_and_is_told() -> None:
    keep = np.r_[0:40, 70:100]
    series = lay("plant/load", days(100)[keep], values(100)[keep], period_s=DAY)
    assert np.flatnonzero(np.isnan(series.values)).tolist() == list(range(40, 70))
    (told,) = series.treatments
    assert "30 of 100 steps" in told
    assert "30 days from 2014-02-10" in told


def test_reports_by_exception_are_held_for_as_long_as_most_gaps_last() -> None:
    moments = START + np.array([0, 60, 120, 300, 360, 600, 660, 86_400, 86_460, 86_520], dtype=np.float64)
    series = lay("plant/flow", moments, np.arange(10.0), period_s=60)
    assert series.values[:11].tolist() == [0, 1, 2, 2, 2, 3, 4, 4, 4, 4, 5]
    assert np.isnan(series.values[20:1430]).all(), "held for 4 minutes, not for a day"
    assert "irregular moments" in series.treatments[0]
    assert "4 minutes" in series.treatments[0]


def test_a_hold_time_may_be_given() -> None:
    moments = START + np.array([0, 60, 120, 600], dtype=np.float64)
    series = lay("plant/flow", moments, np.arange(4.0), period_s=60, hold_s=180)
    assert series.values[:6].tolist()[:5] == [0, 1, 2, 2, 2]
    assert np.isnan(series.values[5:10]).all()


def test_of_a_date_that_occurs_twice_the_last_value_counts() -> None:
    moments = np.insert(days(30), 5, days(30)[5])
    told = np.insert(values(30), 5, 1.0)
    series = lay("plant/load", moments, told, period_s=DAY)
    assert series.values.tolist() == values(30).tolist()
    assert "1 date occurs more than once (the first at 2014-01-06" in series.treatments[0]
    assert "1 with another value" in series.treatments[0]


def test_rows_out_of_order_are_sorted() -> None:
    series = lay("plant/load", days(30)[::-1], values(30)[::-1], period_s=DAY)
    assert series.values.tolist() == values(30).tolist()
    assert "sorted" in series.treatments[0]


def test_days_that_begin_at_midnight_in_paris_lose_none_when_the_clock_changes() -> None:
    moments = np.concatenate([days(60, START - 3600), days(60, START + 60 * DAY - 7200)])
    series = lay("plant/load", moments, values(120), period_s=DAY)
    assert series.values.tolist() == values(120).tolist()


def test_values_in_two_units_are_doubted_and_left_as_they_are() -> None:
    mixed = values(100)
    mixed[50:] *= 1000
    series = lay("plant/load", days(100), mixed, period_s=DAY)
    assert series.values.tolist() == mixed.tolist()
    assert "perhaps two units" in series.treatments[0]
    assert re.search(r"medians a factor (9\d\d|1,0\d\d) apart", series.treatments[0])


def test_a_value_that_never_changes_is_told() -> None:
    (told,) = lay("plant/load", days(30), np.full(30, 7.0), period_s=DAY).treatments
    assert "never changes (7)" in told


@pytest.mark.parametrize("moments", [[], [START], [START, START]])
def test_one_value_is_no_history(moments: list[float]) -> None:
    with pytest.raises(GridError, match="plant/load: expected at least two values"):
        lay("plant/load", np.array(moments), np.ones(len(moments)), period_s=DAY)


def test_a_grid_that_would_never_end_is_refused() -> None:
    moments = np.array([0.0, 1.0, 1e10])
    with pytest.raises(GridError, match="expected at most 2,000,000 steps"):
        lay("plant/load", moments, np.ones(3), period_s=1.0)


def test_a_span_makes_grids_of_tags_alike() -> None:
    series = lay("plant/load", days(10), values(10), period_s=DAY, span_s=(START - 2 * DAY, START + 11 * DAY))
    assert len(series.values) == 14
    assert np.isnan(series.values[:2]).all()
    assert series.values[2:12].tolist() == values(10).tolist()


def test_one_moment_has_no_period() -> None:
    assert math.isnan(common_period(np.array([5.0])))


def test_rows_that_were_left_out_are_counted_with_the_first_of_each_kind() -> None:
    told = tell_rejections(
        {"impossible_date": 3, "torn_line": 1}, {"impossible_date": "line 4: 31/02", "torn_line": "x"}
    )
    assert told[0].startswith("3 rows or cells left out (impossible date): line 4: 31/02")
    assert told[1].startswith("1 row or cell left out")

"""Report by exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plant.report import ReportByException
from plant.sensor import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence


def _reported(values: Sequence[float | None], *, deadband: float = 0.5) -> list[int]:
    rule = ReportByException(deadband)
    readings = (Reading(tag="t", value=v, reason="" if v is not None else "BadSensorFailure") for v in values)
    return [second for second, reading in enumerate(readings) if rule.is_due(reading, float(second))]


def test_a_value_is_reported_when_it_has_moved_by_more_than_the_deadband() -> None:
    #                  first       exactly 0.5 is not more
    assert _reported([10.0, 10.3, 10.5, 10.6, 10.9, 10.0]) == [0, 3, 5]


def test_small_steps_add_up_against_the_last_report_and_not_the_last_reading() -> None:
    assert _reported([10.0, 10.2, 10.4, 10.6, 10.8, 11.0, 11.2]) == [0, 3, 6]


def test_a_value_that_stands_still_is_reported_every_thirty_seconds() -> None:
    assert _reported([10.0] * 95) == [0, 30, 60, 90]


def test_a_report_starts_the_thirty_seconds_anew() -> None:
    assert _reported([10.0] * 20 + [11.0] * 40) == [0, 20, 50]


def test_a_change_of_quality_is_reported_at_once_and_bad_stands_like_a_value() -> None:
    assert _reported([10.0, None, None, 10.0, 10.0]) == [0, 1, 3]
    assert _reported([None] * 35) == [0, 30]


def test_a_change_of_one_resolution_step_is_not_lost_to_binary_dust() -> None:
    # 5.03 - 5.01 is 0.0200000000000004 in binary: no more than a deadband of 0.02.
    assert _reported([5.01, 5.03, 5.04], deadband=0.02) == [0, 2]

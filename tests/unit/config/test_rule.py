"""Rules that contradict themselves are refused, each at its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.measure import FLOWS, POWERS, TEMPERATURES, conversion

if TYPE_CHECKING:
    from collections.abc import Callable

BAND = "tolerance: {setpoint: 5, tolerance: 0.2, deadband: 0.1}"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("limits: {}", "limits: expected at least one of low_low, low, high, high_high"),
        ("limits: {low: {at: 7}, high: {at: 6}}", "limits.high: expected a level above low 7, found 6"),
        ("limits: {low_low: {at: 7}, high: {at: 6}}", "limits.high: expected a level above low_low 7, found 6"),
        ("limits: {low: {at: 4}, high: {at: 6, deadband: 1}}", "limits.high: expected a deadband below 1"),
        ("rate: {per_minute: 1, over_s: 5}", "rate: expected over_s of at least period_s 10, found 5"),
        ("tolerance: {tolerance: 0.2}", "tolerance: expected a `setpoint`, or a `setpoint_tag` that tells it"),
        ("tolerance: {setpoint: 5, tolerance: 0.2, settle_s: 9}", "tolerance.settle_s: expected no `settle_s`"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(
    problems: Callable[[str], list[str]], small: str, rule: str, expected: str
) -> None:
    assert BAND in small
    (found,) = problems(small.replace(BAND, rule))
    assert f"assets.hx.tags.t.{expected}" in found


@pytest.mark.parametrize(
    "rule",
    [
        "limits: {high_high: {at: 0}}",
        "limits: {low: {at: 4, deadband: 0.9}, high: {at: 6, deadband: 0.9}, high_high: {at: 9, deadband: 3}}",
        "frozen: {}",
        "rate: {per_minute: 1, over_s: 10, direction: falling}",
    ],
)
def test_a_rule_that_can_be_is_taken(read: Callable[[str], object], small: str, rule: str) -> None:
    read(small.replace(BAND, rule))


@pytest.mark.parametrize(
    ("unit", "known", "value", "expected"),
    [
        ("m3/h", FLOWS, 3600.0, 1.0),
        ("l/min", FLOWS, 60_000.0, 1.0),
        ("l/s", FLOWS, 1000.0, 1.0),
        ("l/h", FLOWS, 3_600_000.0, 1.0),
        ("MW", POWERS, 1.0, 1000.0),
        ("W", POWERS, 1000.0, 1.0),
        ("degF", TEMPERATURES, 41.0, 278.15),
        ("°C", TEMPERATURES, 5.0, 278.15),
        ("K", TEMPERATURES, 278.15, 278.15),
    ],
)
def test_units_become_si(unit: str, known: dict[str, object], value: float, expected: float) -> None:
    found = conversion(unit, known)  # type: ignore[arg-type]  # the table's column is wider than each of its rows
    assert found is not None
    assert value * found.factor + found.offset == pytest.approx(expected)


def test_a_unit_that_is_none_of_them_is_none() -> None:
    assert conversion("bar", FLOWS) is None

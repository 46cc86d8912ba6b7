"""Whether the water follows the pump's command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from detectors.detector import Step
from detectors.facts import Facts, Part
from detectors.response import Response

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def scores(pairs: list[tuple[float | None, float | None]]) -> list[float | None]:
    response = Response(command="hx/pump", flow="hx/flow", on_above=10, flow_above=5, delay_s=30)
    found = []
    for i, (command, flow) in enumerate(pairs):
        end_at = T0 + timedelta(seconds=10 * i)
        response.take(Step(tag="hx/flow", end_at=end_at, value=flow, age_s=0.0))
        response.take(Step(tag="hx/pump", end_at=end_at, value=command, age_s=0.0))
        verdict = response.judge()
        found.append(None if verdict is None else verdict.score)
    return found


def test_a_pump_that_makes_no_flow_is_found_after_the_delay() -> None:
    assert scores([(70, 100), *[(70.0, 0.0)] * 5]) == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 4 / 3])


def test_a_flow_without_a_command_is_found_as_well() -> None:
    assert scores([(0, 0), *[(0.0, 80.0)] * 5])[-1] == pytest.approx(4 / 3)


def test_a_new_command_gives_the_pump_its_time_again() -> None:
    assert scores([*[(70.0, 0.0)] * 6, (0, 80), (0, 80)])[5:] == pytest.approx([5 / 3, 0, 1 / 3])


def test_where_either_is_unknown_nothing_is_said() -> None:
    assert scores([(None, 100), (70, None), (70, 100)]) == [None, None, 0.0]


def test_the_sentence_says_both() -> None:
    response = Response(command="hx/pump", flow="hx/flow", on_above=10, flow_above=5, delay_s=30)
    for second in (0, 40):
        for tag, value in (("hx/pump", 70.0), ("hx/flow", 0.4)):
            response.take(Step(tag=tag, end_at=T0 + timedelta(seconds=second), value=value, age_s=0.0))
        verdict = response.judge()
    assert verdict is not None
    assert verdict.facts == Facts(
        code="no_flow", figures=(("lasted_s", 40.0),), parts=(Part(tag="hx/flow", value=0.4, unit=""),)
    )


def test_a_delay_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="delay"):
        Response(command="a/b", flow="a/c", on_above=0, flow_above=0, delay_s=0)

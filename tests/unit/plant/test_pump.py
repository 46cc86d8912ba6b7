"""Three pumps on one variator."""

from __future__ import annotations

import pytest

from plant.pump import PumpGroup


def test_flow_rises_with_the_command() -> None:
    flows = [PumpGroup().flow(command) for command in range(30, 101, 10)]
    assert flows == sorted(flows)
    assert len(set(flows)) == len(flows)


def test_the_flow_is_where_pump_curve_and_circuit_meet() -> None:
    group = PumpGroup()
    flow = group.flow(70.0)
    pump = 0.7**2 * group.shutoff - group.steepness * (flow / 3) ** 2
    assert pump == pytest.approx(group.static + group.friction * flow**2)


def test_without_static_head_the_affinity_law_holds() -> None:
    group = PumpGroup(static=0.0)
    assert group.flow(80.0) / group.flow(40.0) == pytest.approx(2.0)


def test_worn_pumps_move_less_and_a_command_too_low_moves_nothing() -> None:
    assert PumpGroup().flow(70.0, head_lost=0.35) == pytest.approx(0.79 * PumpGroup().flow(70.0), rel=0.02)
    assert PumpGroup().flow(20.0) == 0.0
    assert PumpGroup().flow(130.0) == PumpGroup().flow(100.0)

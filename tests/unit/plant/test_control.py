"""Controller and valve."""

from __future__ import annotations

import pytest

from plant.control import Controller, Valve


def _controller() -> Controller:
    return Controller(setpoint=5.0, gain=0.1, integral_s=20.0, output=0.5)


def test_too_warm_opens_and_too_cold_shuts() -> None:
    assert _controller().step(5.5, 1.0) == pytest.approx(0.5 + 0.05 + 0.0025)
    assert _controller().step(4.5, 1.0) == pytest.approx(0.5 - 0.05 - 0.0025)


def test_the_output_leaves_its_stop_as_soon_as_the_error_turns() -> None:
    controller = _controller()
    for _ in range(3600):
        assert controller.step(8.0, 1.0) <= 1.0
    assert controller.step(4.9, 1.0) < 1.0  # an hour of saturation has not wound it up


def test_the_actuator_takes_its_time() -> None:
    valve = Valve(position=0.2, stroke_s=50.0)
    for _ in range(10):
        valve.move(1.0, 1.0)
    assert valve.position == pytest.approx(0.4)
    valve.move(0.405, 1.0)
    assert valve.position == pytest.approx(0.405)


def test_an_open_valve_passes_its_full_flow_and_less_when_it_shuts() -> None:
    assert Valve(position=1.0).flow() == pytest.approx(260.0)
    flows = [Valve(position=share / 10).flow() for share in range(11)]
    assert flows == sorted(flows)
    assert flows[0] < 0.1 * flows[-1]

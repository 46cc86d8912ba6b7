"""The plant's physics over time."""

from __future__ import annotations

import numpy as np
import pytest

from plant.exchanger import COLD_MASS, NO_WEAR, Exchanger, State, Wear
from plant.heat import GLYCOL, WATER

DAY_S = 86_400


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_healthy_day_stays_inside_five_degrees_plus_minus_two_tenths_with_margin(seed: int) -> None:
    plant = Exchanger(seed=seed)
    water, flow, inlet, power, command = np.array(
        [(s.chilled_water, s.flow, s.inlet, s.power, s.pump_command) for s in (plant.step(1.0) for _ in range(DAY_S))]
    ).T
    assert np.abs(water - 5.0).max() < 0.1
    assert 0.02 < water.std() < 0.05
    assert 100.0 < flow.min() < flow.max() < 170.0
    assert 10.8 < inlet.min() < inlet.max() < 12.2
    assert 700.0 < power.min() < power.max() < 1300.0
    assert 40.0 < command.min() < command.max() < 95.0


@pytest.mark.parametrize("wear", [NO_WEAR, Wear(fouled=0.5, head_lost=0.3, air=0.3, gain_factor=40.0)])
def test_the_energy_balance_closes_on_both_sides(wear: Wear) -> None:
    plant = Exchanger(seed=1)
    before, taken_up, carried_off = plant.stored, 0.0, 0.0
    for _ in range(3600):
        cold_outlet = plant.state.cold_outlet
        state = plant.step(1.0, wear)
        taken_up += state.load
        carried_off += GLYCOL.capacity_rate(state.cold_flow) * (cold_outlet - state.cold_inlet)
    assert plant.stored - before == pytest.approx(taken_up - carried_off, abs=1e-3 * taken_up * 1e-3)
    assert taken_up > 2e6


def test_power_is_what_flow_and_temperatures_say() -> None:
    plant = Exchanger(seed=1)
    ratios = []
    for _ in range(3600):
        state = plant.step(1.0)
        ratios.append(state.power / (WATER.capacity_rate(state.flow) * (state.inlet - state.chilled_water)))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.005)


def test_what_passes_the_plates_warms_the_cold_side() -> None:
    plant = Exchanger(seed=1)
    before = plant.state.cold_outlet
    state = plant.step(1.0)
    gained = state.heat - GLYCOL.capacity_rate(state.cold_flow) * (before - state.cold_inlet)
    assert state.cold_outlet - before == pytest.approx(gained / COLD_MASS)
    assert state.cold_inlet < state.chilled_water < state.cold_outlet < state.inlet


def test_the_pump_command_follows_the_load_and_the_flow_follows_the_command() -> None:
    plant = Exchanger(seed=1, second_of_day=3 * 3600.0)
    night = plant.state
    for _ in range(12 * 3600):
        plant.step(1.0)
    afternoon = plant.state
    assert afternoon.load > night.load + 150.0
    assert afternoon.pump_command > night.pump_command + 5.0
    assert afternoon.flow > night.flow + 8.0
    assert afternoon.inlet == pytest.approx(night.inlet, abs=0.7)


def test_the_same_seed_gives_the_same_plant_and_another_seed_another() -> None:
    def end(seed: int) -> State:
        plant = Exchanger(seed=seed)
        for _ in range(600):
            plant.step(1.0)
        return plant.state

    assert end(7) == end(7)
    assert end(7) != end(8)


def test_a_fault_leaves_the_past_and_the_random_numbers_alone() -> None:
    healthy, faulty = Exchanger(seed=5), Exchanger(seed=5)
    for second in range(1200):
        wear = Wear(head_lost=0.4) if second >= 900 else NO_WEAR
        one, other = healthy.step(1.0), faulty.step(1.0, wear)
        assert (one == other) is (second < 900)
        assert one.load == other.load


def test_a_long_step_is_the_same_as_its_seconds() -> None:
    one, other = Exchanger(seed=1), Exchanger(seed=1)
    for _ in range(10):
        one.step(1.0)
    assert other.step(10.0) == one.state
    assert other.at_s == pytest.approx(10.0)


def test_time_does_not_stand_still_or_run_backwards() -> None:
    with pytest.raises(ValueError, match="dt_s must be above 0, found 0"):
        Exchanger(seed=1).step(0.0)

"""The heat exchanger's own equations."""

from __future__ import annotations

import math

import pytest

from plant.heat import GLYCOL, WATER, Plates, effectiveness


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("units", [0.1, 1.0, 3.0])
def test_effectiveness_agrees_with_the_logarithmic_mean_temperature_difference(units: float, ratio: float) -> None:
    moved = effectiveness(units, ratio)  # per kelvin between the inlets, with Cmin = 1
    one_end = 1.0 - moved
    other_end = 1.0 - ratio * moved
    same = math.isclose(one_end, other_end, rel_tol=1e-9)
    mean = one_end if same else (other_end - one_end) / math.log(other_end / one_end)
    assert moved == pytest.approx(units * mean, rel=1e-6)


def test_effectiveness_is_continuous_where_both_capacities_are_equal() -> None:
    assert effectiveness(1.5, 1.0 - 2e-6) == pytest.approx(effectiveness(1.5, 1.0), abs=1e-5)


def test_a_megawatt_cools_132_cubic_metres_an_hour_by_six_and_a_half_kelvin() -> None:
    assert WATER.capacity_rate(132.0) * 6.5 == pytest.approx(1000.0, rel=0.01)
    assert GLYCOL.capacity_rate(132.0) < WATER.capacity_rate(132.0)


def test_more_flow_on_either_side_conducts_more_and_deposits_conduct_less() -> None:
    plates = Plates()
    clean = plates.conductance(130.0, 130.0)
    assert plates.conductance(160.0, 130.0) > clean
    assert plates.conductance(130.0, 160.0) > clean
    assert plates.conductance(130.0, 130.0, fouled=0.4) == pytest.approx(0.6 * clean)
    assert plates.conductance(0.0, 130.0) == 0.0

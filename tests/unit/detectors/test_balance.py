"""Heat against water: when it is judged, in which units, and who disagrees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from detectors.balance import Balance, HeatBalance, Quantity
from detectors.detector import Step

if TYPE_CHECKING:
    from detectors.records import Verdict

T0 = datetime(2026, 1, 1, tzinfo=UTC)
TRUE = {"power": 908.6, "flow": 120.0, "warm": 11.5, "cold": 5.0}


def rule(*, flow: float = 1 / 3600, power: float = 1.0, warm: tuple[float, float] = (1.0, 273.15)) -> HeatBalance:
    return HeatBalance(
        power=Quantity(tag="hx/power", factor=power, unit="kW"),
        flow=Quantity(tag="hx/flow", factor=flow, unit="m3/h"),
        warm=Quantity(tag="hx/warm", factor=warm[0], offset=warm[1], unit="degC"),
        cold=Quantity(tag="hx/cold", factor=1.0, offset=273.15, unit="degC"),
        volumetric=999.7 * 4.195,
        tolerance=0.1,
        minimum_kw=40,
        min_flow=20 / 3600,
        min_difference=1.0,
        steady_s=60,
    )


class Plant:
    """Four tags with noise, a step every 10 s."""

    def __init__(self, balance: HeatBalance) -> None:
        self.balance = Balance(balance, period_s=10)
        self.step = 0
        self._random = Random(2)

    def run(self, steps: int, **shown: float | None) -> Verdict | None:
        verdict = None
        for _ in range(steps):
            self.step += 1
            for name, true in TRUE.items():
                value = shown.get(name, true)
                noisy = None if value is None else value * (1 + 0.002 * self._random.gauss(0, 1))
                end_at = T0 + timedelta(seconds=10 * self.step)
                self.balance.take(Step(tag=f"hx/{name}", end_at=end_at, value=noisy, age_s=0.0))
            verdict = self.balance.judge()
        return verdict


def test_a_plant_in_balance_is_in_balance() -> None:
    verdict = Plant(rule()).run(50)
    assert verdict is not None
    assert verdict.tag == "hx/power"
    assert verdict.score < 0.2
    assert verdict.facts is None


@pytest.mark.parametrize(
    ("name", "wrong"), [("power", 700.0), ("flow", 80.0), ("warm", 14.0), ("cold", 7.0), ("flow", 170.0)]
)
def test_the_tag_that_disagrees_is_named(name: str, wrong: float) -> None:
    plant = Plant(rule())
    plant.run(60)
    verdict = plant.run(20, **{name: wrong})
    assert verdict is not None
    assert verdict.score > 1
    assert verdict.facts is not None
    (part,) = verdict.facts.parts
    assert part.tag == f"hx/{name}"
    assert (part.value, part.usual) == pytest.approx((wrong, TRUE[name]), rel=0.01)
    assert part.expected == pytest.approx(TRUE[name], rel=0.05)


def test_without_a_history_nobody_is_accused() -> None:
    verdict = Plant(rule()).run(20, flow=80.0)
    assert verdict is not None
    assert verdict.facts is not None
    assert [name for name, _ in verdict.facts.figures] == ["carried"]
    assert verdict.facts.parts == ()


def test_a_fault_does_not_become_what_is_usual() -> None:
    plant = Plant(rule())
    plant.run(60)
    for _ in range(20):
        verdict = plant.run(100, flow=80.0)
        assert verdict is not None
        assert verdict.facts is not None
        assert [part.tag for part in verdict.facts.parts] == ["hx/flow"]


@pytest.mark.parametrize("shown", [{"flow": 10.0, "power": 75.0}, {"warm": 5.5}, {"cold": None}])
def test_nothing_is_said_of_little_flow_little_difference_or_a_hole(shown: dict[str, float | None]) -> None:
    assert Plant(rule()).run(20, **shown) is None


def test_nothing_is_said_while_either_side_moves() -> None:
    plant = Plant(rule())
    plant.run(20)
    assert plant.run(3, power=1200.0) is None
    assert plant.run(9, power=1200.0) is not None


def test_units_are_those_of_the_tags() -> None:
    litres = Plant(rule(flow=1e-3 / 60, power=1e-3, warm=(5 / 9, 459.67 * 5 / 9)))
    verdict = litres.run(20, flow=2000.0, power=908_600.0, warm=52.7)
    assert verdict is not None
    assert verdict.score < 0.2
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low < 908_600 < verdict.high


def test_each_moment_is_judged_once_and_a_tag_that_is_never_heard_of_costs_no_memory() -> None:
    plant = Plant(rule())
    plant.run(20)
    assert plant.balance.judge() is None
    for i in range(5000):
        end_at = T0 + timedelta(days=1, seconds=10 * i)
        plant.balance.take(Step(tag="hx/flow", end_at=end_at, value=1.0, age_s=0.0))
    assert len(plant.balance._awaited) <= 513

"""What the PLC sees: instruments, faults and reports together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from plant.exchanger import State
from plant.faults import Fault, Kind, parse_schedule, tour
from plant.room import PlantRoom, Scan
from plant.sensor import SENSORS, TAGS

BEGIN = 60


def _play(text: str, seconds: int, *, seed: int = 1) -> list[Scan]:
    room = PlantRoom(seed=seed, faults=parse_schedule(text) if text else ())
    return [room.scan() for _ in range(seconds)]


def _shown(scans: list[Scan], tag: str) -> np.ndarray:
    index = TAGS.index(tag)
    return np.array([np.nan if s.readings[index].value is None else s.readings[index].value for s in scans])


def _true(scans: list[Scan], name: str) -> np.ndarray:
    assert name in State.__slots__
    return np.array([getattr(s.state, name) for s in scans])


def _reports(scans: list[Scan], tag: str) -> list[float]:
    return [scan.at_s for scan in scans for report in scan.reports if report.tag == tag]


def _longest(outside: np.ndarray) -> int:
    return max((sum(1 for _ in run) for is_out, run in itertools.groupby(outside) if is_out), default=0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_shown_chilled_water_of_a_quiet_day_never_leaves_its_band(seed: int) -> None:
    room = PlantRoom(seed=seed)
    index = TAGS.index("chilled_water")
    shown = np.array([room.scan().readings[index].value for _ in range(43_200)])
    assert np.abs(shown - 5.0).max() < 0.18
    assert 0.03 < shown.std() < 0.05


def test_instruments_show_their_noise_on_their_resolution() -> None:
    scans = _play("", 1800)
    for sensor in SENSORS:
        shown = _shown(scans, sensor.tag)
        steps = shown / sensor.resolution
        assert np.abs(steps - steps.round()).max() < 1e-6
        error = shown - _true(scans, sensor.tag)
        assert error.mean() == pytest.approx(0.0, abs=0.1 * (sensor.noise + sensor.resolution))
        if sensor.noise:
            assert error.std() == pytest.approx(np.hypot(sensor.noise, sensor.resolution / 12**0.5), rel=0.1)


def test_the_first_scan_reports_every_tag_and_later_ones_what_has_changed() -> None:
    scans = _play("", 600)
    assert scans[0].at_s == 0.0
    assert tuple(report.tag for report in scans[0].reports) == TAGS
    for tag in TAGS:
        times = _reports(scans, tag)
        assert max(b - a for a, b in itertools.pairwise(times)) <= 30.0
        assert len(times) < 300
    assert len(_reports(scans, "pump_command")) < 40


def test_the_same_seed_and_scenario_give_the_same_reports() -> None:
    text = "air_in_loop@50+50,sensor_drift@100+40"
    assert _play(text, 300) == _play(text, 300)
    assert _play(text, 300) != _play(text, 300, seed=2)


def test_a_load_step_pushes_the_chilled_water_out_for_more_than_40_s_and_it_comes_back() -> None:
    scans = _play(f"load_step@{BEGIN}+60", 240)
    water = _true(scans, "chilled_water")
    assert _true(scans, "inlet")[BEGIN + 30] - _true(scans, "inlet")[BEGIN - 1] == pytest.approx(3.8, abs=0.8)
    assert _longest(water > 5.2) > 40
    assert np.abs(water[BEGIN + 140 :] - 5.0).max() < 0.2
    assert np.abs(water[:BEGIN] - 5.0).max() < 0.1


def test_fouling_opens_the_valve_ever_further_and_still_the_water_warms() -> None:
    scans = _play(f"fouling@{BEGIN}+75", 135)
    valve, water = _true(scans, "valve"), _true(scans, "chilled_water")
    assert valve[BEGIN - 1] < 0.85
    assert valve[BEGIN + 74] > 0.9
    assert water[BEGIN + 74] > 5.4
    assert _true(scans, "flow")[-1] == pytest.approx(_true(scans, "flow")[0], rel=0.03)


def test_worn_pumps_move_a_fifth_less_at_the_same_command() -> None:
    scans = _play(f"pump_wear@{BEGIN}+60", 180)
    flow, command = _true(scans, "flow"), _true(scans, "pump_command")
    assert flow[BEGIN + 10] == pytest.approx(0.79 * flow[BEGIN - 1], rel=0.02)
    assert command[BEGIN + 10] == command[BEGIN - 1]
    assert flow[BEGIN + 70] == pytest.approx(flow[BEGIN - 1], rel=0.05)
    assert _longest(_true(scans, "chilled_water")[BEGIN : BEGIN + 60] < 4.8) > 25


def test_a_hunting_valve_swings_the_chilled_water_to_both_sides() -> None:
    scans = _play(f"valve_hunting@{BEGIN}+120", 180)
    valve, water = _true(scans, "valve")[BEGIN:], _true(scans, "chilled_water")[BEGIN:]
    assert valve.max() - valve.min() > 0.3
    assert water.max() > 5.4
    assert water.min() < 4.6
    crossings = np.count_nonzero(np.diff(np.sign(water[30:] - 5.0)))
    assert 2 <= crossings <= 8


def test_air_takes_flow_away_and_makes_it_unsteady() -> None:
    scans = _play(f"air_in_loop@{BEGIN}+60", 120)
    flow = _true(scans, "flow")
    assert flow[BEGIN + 15 : BEGIN + 60].mean() < 0.9 * flow[:BEGIN].mean()
    assert flow[BEGIN + 15 : BEGIN + 60].std() > 10 * flow[:BEGIN].std()


def test_a_drifting_sensor_leaves_the_plant_alone() -> None:
    scans, healthy = _play(f"sensor_drift:inlet=3@{BEGIN}+80", 180), _play("", 180)
    assert [scan.state for scan in scans] == [scan.state for scan in healthy]
    off = _shown(scans, "inlet") - _shown(healthy, "inlet")
    seconds = np.arange(180)
    wanted = np.where((seconds >= BEGIN) & (seconds < BEGIN + 80), 3.0 * (seconds - BEGIN) / 80, 0.0)
    assert off == pytest.approx(wanted, abs=0.011)
    for tag in set(TAGS) - {"inlet"}:
        assert np.array_equal(_shown(scans, tag), _shown(healthy, tag))


def test_a_stuck_sensor_jumps_by_its_size_and_then_stands_still() -> None:
    scans, healthy = _play(f"stuck_sensor:flow=12@{BEGIN}+70", 180), _play("", 180)
    stuck = _shown(scans, "flow")[BEGIN : BEGIN + 70]
    assert np.unique(stuck).size == 1
    assert stuck[0] - _shown(healthy, "flow")[BEGIN] == pytest.approx(12.0, abs=0.11)
    assert np.array_equal(_shown(scans, "flow")[BEGIN + 70 :], _shown(healthy, "flow")[BEGIN + 70 :])
    assert [at for at in _reports(scans, "flow") if BEGIN <= at < BEGIN + 70] == [BEGIN, BEGIN + 30.0, BEGIN + 60.0]


def test_bad_quality_is_a_reason_without_a_value_and_touches_its_tag_alone() -> None:
    scans = _play(f"bad_quality:power@{BEGIN}+70", 140)
    reports = [(s.at_s, r.value, r.reason) for s in scans for r in s.reports if r.tag == "power" and r.value is None]
    assert reports == [(at, None, "BadSensorFailure") for at in (60.0, 90.0, 120.0)]
    assert not np.isnan(_shown(scans, "flow")).any()
    assert next(at for at in _reports(scans, "power") if at >= BEGIN + 70) == BEGIN + 70


def test_a_lost_source_says_nothing_and_then_everything() -> None:
    scans = _play(f"lost_source@{BEGIN}+90", 200)
    silent = scans[BEGIN : BEGIN + 90]
    assert all(scan.reports == () for scan in silent)
    assert all(reading.value is not None for scan in silent for reading in scan.readings)
    assert len(scans[BEGIN + 90].reports) == len(TAGS)


def test_one_lost_tag_leaves_the_others_talking() -> None:
    scans = _play(f"lost_source:inlet@{BEGIN}+90", 200)
    assert not [at for at in _reports(scans, "inlet") if BEGIN <= at < BEGIN + 90]
    assert len([at for at in _reports(scans, "power") if BEGIN <= at < BEGIN + 90]) > 5


@pytest.mark.parametrize(("seed", "second_of_day"), [(1, 0.0), (2, 43_200.0), (3, 61_200.0)])
def test_every_fault_of_the_tour_can_be_seen_and_the_plant_has_recovered_before_the_next(
    seed: int, second_of_day: float
) -> None:
    room = PlantRoom(seed=seed, faults=tour(), second_of_day=second_of_day)
    scans = [room.scan() for _ in range(5 * 1320)]
    water, shown = _true(scans, "chilled_water"), _shown(scans, "chilled_water")
    begun: list[Fault] = [fault for scan in scans for fault in scan.begun]
    assert {fault.kind for fault in begun} == set(Kind)
    for fault, following in itertools.pairwise(begun):
        begin, end, after = int(fault.begin_s), int(fault.end_s), int(following.begin_s)
        assert np.abs(water[begin - 3 : begin] - 5.0).max() < 0.2, fault
        if fault.kind is Kind.BAD_QUALITY:
            assert np.isnan(_shown(scans, fault.tag)[begin:end]).all()
        elif fault.kind is Kind.LOST_SOURCE:
            assert end - begin > 60 + 20
        else:
            outside = np.abs(shown[begin:after] - 5.0) > 0.2
            assert _longest(outside) > (40 if fault.kind is Kind.LOAD_STEP else 20), fault

"""Schedules, and what faults do to the machinery."""

from __future__ import annotations

import itertools

import pytest

from plant.exchanger import NO_WEAR
from plant.faults import Fault, Kind, Schedule, ScheduleError, machine_wear, parse_schedule, scenario, tour


def test_a_fault_is_read_from_text_with_defaults_for_what_is_left_out() -> None:
    assert parse_schedule("load_step@120+60") == [Fault(kind=Kind.LOAD_STEP, begin_s=120.0, end_s=180.0, size=0.5)]


def test_tag_and_size_are_read_and_faults_come_in_the_order_of_their_beginnings() -> None:
    later, sooner = "sensor_drift:inlet=-2.5@300+80.5", "bad_quality:flow@10+5"
    assert parse_schedule(f"{later}, {sooner}") == [
        Fault(kind=Kind.BAD_QUALITY, tag="flow", begin_s=10.0, end_s=15.0, size=0.0),
        Fault(kind=Kind.SENSOR_DRIFT, tag="inlet", begin_s=300.0, end_s=380.5, size=-2.5),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("load_step", r"fault 'load_step': expected kind\[:tag\]\[=size\]@begin\+duration"),
        ("", "fault '': expected kind"),
        ("load_step@120+60,", "fault '': expected kind"),
        ("load_step@120-60", "expected kind"),
        ("earthquake@1+2", "fault 'earthquake@1.2': expected one of the kinds fouling, pump_wear"),
        ("load_step@1.2.3+4", "expected decimal numbers"),
        ("load_step@120+0", "load_step: expected 0 <= begin < end, found 120 and 120"),
        ("load_step=7@1+2", "load_step: expected a size of -0.5 to 1, found 7"),
        ("fouling=1@1+2", "fouling: expected a size of 0 to 0.95, found 1"),
        ("bad_quality=3@1+2", "bad_quality: expected a size of 0 to 0, found 3"),
        ("pump_wear:flow@1+2", "pump_wear: concerns the machinery and takes no tag, found 'flow'"),
        ("stuck_sensor:pressure@1+2", "expected one of the tags flow, .*, found 'pressure'"),
        ("x" * 500, "fault 'x{60}': "),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_its_own_words(text: str, complaint: str) -> None:
    with pytest.raises(ScheduleError, match=complaint):
        parse_schedule(text)


def test_a_fault_of_a_sensor_needs_its_tag() -> None:
    with pytest.raises(ScheduleError, match="sensor_drift: needs a tag"):
        Fault(kind=Kind.SENSOR_DRIFT, begin_s=0.0, end_s=1.0, size=1.0)


def test_a_scenario_is_a_name_or_a_schedule() -> None:
    assert list(scenario("quiet")) == []
    assert next(iter(scenario("tour"))).begin_s == 100.0
    assert list(scenario("fouling@1+2")) == parse_schedule("fouling@1+2")
    with pytest.raises(ScheduleError, match="scenario 'tuor': expected quiet, tour, or a schedule"):
        scenario("tuor")


def test_the_tour_plays_every_kind_for_ever_every_two_to_three_minutes() -> None:
    faults = list(itertools.islice(tour(), 200))
    assert {fault.kind for fault in faults[:10]} == set(Kind)
    spacings = [later.begin_s - sooner.begin_s for sooner, later in itertools.pairwise(faults)]
    assert 100.0 < min(spacings) <= max(spacings) <= 190.0
    assert sum(spacings) / len(spacings) == pytest.approx(144.0, abs=2.0)
    assert all(60.0 <= fault.end_s - fault.begin_s <= 90.0 for fault in faults)
    assert all(sooner.end_s + 30.0 <= later.begin_s for sooner, later in itertools.pairwise(faults))


def test_a_fault_begins_once_and_is_active_up_to_its_end() -> None:
    one, other = parse_schedule("load_step@2+3,air_in_loop@3+1")
    schedule = Schedule([one, other])
    seen = [schedule.advance(float(second)) for second in range(6)]
    assert [begun for begun, _ in seen] == [[], [], [one], [other], [], []]
    assert [list(active) for _, active in seen] == [[], [], [one], [one, other], [one], []]


def test_a_fault_shorter_than_a_scan_still_begins() -> None:
    (fault,) = parse_schedule("load_step@1.2+0.3")
    schedule = Schedule([fault])
    assert schedule.advance(1.0) == ([], [])
    assert schedule.advance(2.0) == ([fault], [])


def test_fouling_grows_and_worn_pumps_give_way_quickly() -> None:
    faults = parse_schedule("fouling=0.6@100+60,pump_wear=0.4@100+60")
    assert machine_wear(faults, 100.0) == NO_WEAR
    half = machine_wear(faults, 130.0)
    assert half.fouled == pytest.approx(0.3)
    assert half.head_lost == pytest.approx(0.4)


def test_of_two_faults_of_one_kind_the_greater_counts() -> None:
    faults = parse_schedule("load_step=0.2@0+9,load_step=-0.4@0+9,valve_hunting=20@0+9,valve_hunting=30@0+9")
    wear = machine_wear(faults, 5.0)
    assert wear.extra_load == -0.4
    assert wear.gain_factor == 30.0

"""From the settings to alarms: every rule of the fast lane, fed by the simulated plant and by hand."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from config.schema import Settings
from detectors.reason.check import unfounded
from detectors.reason.sentence import sentence
from detectors.reason.told import Told
from detectors.records import AlarmState, Alert, Quality, Sample
from plant.faults import parse_schedule
from plant.room import PlantRoom
from stream.assemble import build_lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stream.lane import FastLane

T0 = datetime(2026, 1, 5, tzinfo=UTC)
SAMPLE = Path(__file__).parents[3] / "config" / "heat_exchanger.yaml"


def settings(**changes: Any) -> Settings:
    content = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    for path, value in changes.items():
        place = content["assets"]["exchanger"]
        *way, last = path.split("__")
        for key in way:
            place = place[key]
        place[last] = value
    return Settings.model_validate(content)


def sample(tag: str, seconds: float, value: float | None) -> Sample:
    at = T0 + timedelta(seconds=seconds)
    quality = Quality.BAD if value is None else Quality.GOOD
    return Sample(tag=f"exchanger/{tag}", value=value, source_at=at, arrived_at=at, quality=quality)


def reports(faults: str, seconds: int, *, seed: int = 1) -> Iterator[Sample]:
    room = PlantRoom(seed=seed, faults=parse_schedule(faults) if faults else (), second_of_day=0.0)
    for _ in range(seconds):
        scan = room.scan()
        yield from (sample(reading.tag, scan.at_s, reading.value) for reading in scan.reports)


def judged(lane: FastLane, samples: Iterable[Sample], until_s: float) -> list[Alert]:
    for each in samples:
        lane.offer(each)
    lane.advance(T0 + timedelta(seconds=until_s))
    return [record for record in lane.harvest().records if isinstance(record, Alert)]


def raised(alerts: Iterable[Alert], *, besides: str = "tolerance") -> list[tuple[str, float]]:
    return [
        (alert.alarm, (alert.at - T0).total_seconds())
        for alert in alerts
        if alert.state is AlarmState.UNACKNOWLEDGED and alert.rule != besides
    ]


def test_a_plant_without_faults_gives_no_alarm_in_three_hours() -> None:
    alerts = judged(build_lane(settings(), {}), reports("", 10_800), 10_800)
    assert raised(alerts, besides="") == []


def test_a_stuck_sensor_is_found_and_the_alarm_stays_until_it_moves_again() -> None:
    alerts = judged(build_lane(settings(), {}), reports("stuck_sensor:flow@5400+1800", 7_500), 7_500)
    frozen = [(a.alarm, a.state, (a.at - T0).total_seconds()) for a in alerts if a.rule == "frozen"]
    assert [(name, state) for name, state, _ in frozen] == [
        ("exchanger/flow/frozen", AlarmState.UNACKNOWLEDGED),
        ("exchanger/flow/frozen", AlarmState.RETURNED_UNACKNOWLEDGED),
    ]
    assert 5_430 <= frozen[0][2] <= 5_580
    assert 7_200 <= frozen[1][2] <= 7_280


def test_a_lost_source_is_one_alarm_and_not_one_for_each_tag() -> None:
    alerts = judged(build_lane(settings(), {}), reports("lost_source@3600+900", 4_800), 4_800)
    assert Counter(name for name, _ in raised(alerts)) == {"source/plc/lost": 1, "source/broker/lost": 1}
    assert all(60 <= at - 3600 <= 75 for _, at in raised(alerts))
    over = [a for a in alerts if a.rule == "lost" and not a.state.active]
    assert len(over) == 2
    assert alerts[0].text.startswith("source ")


def test_a_tag_that_falls_silent_alone_is_stale() -> None:
    samples = (s for s in reports("", 1_200) if s.tag != "exchanger/flow" or s.source_at < T0 + timedelta(seconds=600))
    assert [name for name, _ in raised(judged(build_lane(settings(), {}), samples, 1_200))] == ["exchanger/flow/stale"]


def test_a_sensor_that_drifts_breaks_the_balance_and_is_named() -> None:
    alerts = judged(build_lane(settings(), {}), reports("sensor_drift:flow=-40@3600+3600", 7_200), 7_200)
    (alert,) = [a for a in alerts if a.rule == "balance" and a.state is AlarmState.UNACKNOWLEDGED]
    assert alert.tag == "exchanger/power"
    assert "; flow disagrees: " in alert.text


def test_a_pump_that_runs_without_flow_is_found() -> None:
    def no_flow() -> Iterator[Sample]:
        for each in reports("", 1_200):
            stopped = each.tag == "exchanger/flow" and each.source_at >= T0 + timedelta(seconds=600)
            yield sample("flow", (each.source_at - T0).total_seconds(), 0.0) if stopped else each

    found = [name for name, _ in raised(judged(build_lane(settings(), {}), no_flow(), 1_200))]
    assert "exchanger/pump_command/response" in found
    assert "exchanger/flow/frozen" not in found, "a flow meter may show 0 for ever"


def test_levels_and_rate_are_alarms_of_their_own_with_their_own_delay() -> None:
    lane = build_lane(settings(), {})
    samples = [sample("chilled_water", s, 5.0 + 0.01 * (s % 2) if s < 100 else 9.5) for s in range(200)]
    found = dict(raised(judged(lane, samples, 200)))
    assert found["exchanger/chilled_water/high_high"] == 105.0
    assert found["exchanger/chilled_water/rate"] == 112.0
    assert "exchanger/chilled_water/low_low" not in found


def test_the_deadband_of_a_level_is_in_engineering_units() -> None:
    lane = build_lane(settings(), {})
    values = [(0, 9.5), (50, 8.9), (150, 8.75)]
    alerts = judged(lane, [sample("chilled_water", s, v) for s, v in values], 181)
    levels = [(a.state, (a.at - T0).total_seconds()) for a in alerts if a.rule == "high_high"]
    assert levels == [(AlarmState.UNACKNOWLEDGED, 5.0), (AlarmState.RETURNED_UNACKNOWLEDGED, 180.0)]


def test_the_deadband_of_the_band_is_in_engineering_units() -> None:
    lane = build_lane(settings(), {})
    values = [(0, 5.3), (40, 5.18), (90, 5.14)]
    alerts = judged(lane, [sample("chilled_water", s, v) for s, v in values], 111)
    band = [(a.state, (a.at - T0).total_seconds()) for a in alerts if a.rule == "tolerance"]
    assert band == [(AlarmState.UNACKNOWLEDGED, 20.0), (AlarmState.RETURNED_UNACKNOWLEDGED, 110.0)]


def test_after_a_restart_the_rate_is_known_at_once() -> None:
    lane = build_lane(settings(), {})
    past = [sample("chilled_water", s, 5.0) for s in range(0, 101, 10)]
    lane.restore(past, T0 + timedelta(seconds=103))
    found = dict(raised(judged(lane, [sample("chilled_water", s, 8.5) for s in range(104, 130)], 130)))
    assert found["exchanger/chilled_water/rate"] == 122.0


def test_a_band_follows_the_tag_that_tells_its_set_point() -> None:
    band = {"setpoint_tag": "inlet", "tolerance": 0.2, "settle_s": 60}
    lane = build_lane(settings(tags__chilled_water__tolerance=band), {})
    samples = [
        s
        for t in range(300)
        for s in (sample("inlet", t, 5.0 if t < 100 else 7.0), sample("chilled_water", t, 5.0 + 0.001 * t))
    ]
    assert ("exchanger/chilled_water/tolerance", 160.0) in raised(judged(lane, samples, 300), besides="")


@pytest.mark.parametrize("faults", ["stuck_sensor:inlet@3000+600", "lost_source@3000+300"])
def test_however_the_calls_are_cut_the_alerts_are_the_same(faults: str) -> None:
    samples = list(reports(faults, 4_000))
    whole = judged(build_lane(settings(), {}), samples, 4_000)
    lane, cut = build_lane(settings(), {}), []
    for i, each in enumerate(samples):
        if i % 7 == 0:
            lane.advance(each.arrived_at - timedelta(milliseconds=i % 900))
        lane.offer(each)
        if i % 13 == 0:
            cut += [record for record in lane.harvest().records if isinstance(record, Alert)]
    lane.advance(T0 + timedelta(seconds=4_000))
    cut += [record for record in lane.harvest().records if isinstance(record, Alert)]
    assert cut == whole
    assert whole


def test_after_a_restart_a_stuck_sensor_is_still_in_alarm_until_it_moves() -> None:
    samples = list(reports("stuck_sensor:flow@5400+1800", 7_500))
    at = T0 + timedelta(seconds=6_900)
    lane = build_lane(settings(), {})
    for each in samples:
        if each.arrived_at <= at:
            lane.offer(each)
    memories = {name: alarm.memory for name, alarm in lane.alarms.items()}
    assert memories["exchanger/flow/frozen"].state.active
    again = build_lane(settings(), memories)
    reach = at - timedelta(seconds=1_340)
    again.restore((s for s in samples if reach <= s.arrived_at <= at), at)
    alerts = judged(again, (s for s in samples if s.arrived_at > at), 7_500)
    frozen = [(a.alarm, a.state) for a in alerts if a.rule == "frozen"]
    assert frozen == [("exchanger/flow/frozen", AlarmState.RETURNED_UNACKNOWLEDGED)]
    assert 7_200 <= (next(a for a in alerts if a.rule == "frozen").at - T0).total_seconds() <= 7_280


@pytest.mark.parametrize(("language", "expected"), [("en", "; lost since "), ("fr", "; source perdue depuis le ")])
def test_the_language_of_the_plant_is_that_of_its_alerts(language: str, expected: str) -> None:
    chosen = settings().model_copy(update={"language": language})
    lost = judged(build_lane(chosen, {}), [sample("flow", 0, 120.0), sample("flow", 1, 120.0)], 200)
    assert [alert.rule for alert in lost] == ["lost"]
    assert expected in lost[0].text.replace("\N{NARROW NO-BREAK SPACE}", "")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_of_a_bad_day_every_figure_of_every_alert_is_a_fact_and_every_fact_a_number(language: str) -> None:
    faults = "stuck_sensor:flow@1800+900,sensor_drift:flow=-40@3600+1800,lost_source@6000+300"
    faults += ",bad_quality:inlet@7200+300,load_step@7800+600"
    chosen = settings().model_copy(update={"language": language})
    alerts = judged(build_lane(chosen, {}), reports(faults, 9_000), 9_000)
    assert {"tolerance", "frozen", "balance", "lost", "quality"} <= {alert.rule for alert in alerts}
    for alert in alerts:
        told = Told.of(alert)
        assert unfounded(alert.text, told) == []
        assert alert.text == sentence(told, language)
        numbers = [value for _, value in told.facts.figures]
        numbers += [f for p in told.facts.parts for f in (p.value, p.expected, p.usual, p.share) if f is not None]
        assert all(math.isfinite(number) for number in numbers)
        if alert.state.active and alert.rule in {"frozen", "balance", "lost"}:
            assert numbers

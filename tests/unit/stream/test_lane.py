"""The fast lane: what follows from samples, steps, forecasts and time, the same however the calls are cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.alarm import AlarmRule
from detectors.breach import Breach
from detectors.deviation import Deviation
from detectors.limits import Tolerance
from detectors.records import LEVELS, AlarmState, Alert, Forecast, Quality, Sample, Score, Verdict
from detectors.signal import Physical, Soundness, Stale
from detectors.surprise import Surprise
from stream.lane import FastLane
from stream.watch import ModelWatch, Watch
from stream.window import RollingWindow

if TYPE_CHECKING:
    from detectors.records import Record

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def sample(tag: str, seconds: float, value: float | None, source_s: float | None = None) -> Sample:
    quality = Quality.GOOD if value is not None else Quality.BAD
    source_at = at(seconds if source_s is None else source_s)
    return Sample(tag=tag, value=value, source_at=source_at, arrived_at=at(seconds), quality=quality, reason="")


def lane(*tags: str, period_s: float = 10.0) -> FastLane:
    physical = Physical(low=-20, high=60)
    return FastLane(
        [
            Watch(
                window=RollingWindow(tag=tag, period_s=period_s, hold_s=30, length=16, lateness_s=2),
                physical=physical,
                on_report=[(Soundness(), AlarmRule()), (physical, AlarmRule())],
                on_sample=[(Tolerance(setpoint=5, tolerance=0.2), AlarmRule(on_delay_s=20, off_delay_s=20))],
                on_step=[(Stale(hold_s=30), AlarmRule())],
                on_forecast=[(Breach(low=4.8, high=5.2, probability=0.8), AlarmRule())],
                deviation=(Deviation(minimum=0.3), AlarmRule()),
            )
            for tag in tags
        ],
        {},
    )


def alerts(records: list[Record]) -> list[tuple[str, AlarmState, datetime]]:
    return [(r.alarm, r.state, r.at) for r in records if isinstance(r, Alert)]


def test_a_tolerance_alarm_is_raised_when_its_on_delay_runs_out_though_nothing_more_arrives() -> None:
    subject = lane("hx/t")
    subject.offer(sample("hx/t", 0, 5.5))
    subject.advance(at(19))
    assert alerts(subject.harvest().records) == []
    subject.advance(at(25))
    assert alerts(subject.harvest().records) == [("hx/t/tolerance", AlarmState.UNACKNOWLEDGED, at(20))]


def test_an_impossible_value_alarms_as_such_and_never_enters_the_window_or_the_limits() -> None:
    subject = lane("hx/t")
    subject.offer(sample("hx/t", 5, 150.0))
    subject.advance(at(12))
    records = subject.harvest().records
    assert {r.rule for r in records if isinstance(r, Verdict)} == {"quality", "physical"} | {"stale"}
    assert [name for name, *_ in alerts(records)] == ["hx/t/physical"]
    (window,) = subject.windows()
    assert window.values[0] != window.values[0]  # NaN


def test_a_silent_tag_goes_stale_and_comes_back() -> None:
    subject = lane("hx/t")
    subject.offer(sample("hx/t", 0, 5.0))
    subject.advance(at(60))
    subject.offer(sample("hx/t", 61, 5.0))
    subject.advance(at(75))
    stale = [(state, moment) for name, state, moment in alerts(subject.harvest().records) if name == "hx/t/stale"]
    assert stale == [(AlarmState.UNACKNOWLEDGED, at(42)), (AlarmState.RETURNED_UNACKNOWLEDGED, at(72))]


def test_an_old_sample_is_kept_but_never_judged_as_the_present() -> None:
    subject = lane("hx/t")
    assert subject.offer(sample("hx/t", 100, 9.0, source_s=0)) == "old"
    subject.advance(at(140))
    records = subject.harvest().records
    assert [r for r in records if isinstance(r, Sample)] != []
    assert not [r for r in records if isinstance(r, Verdict) and r.rule == "tolerance"]


def leaving(made_s: float) -> Forecast:
    paths = tuple((5.0, 5.1, 5.3, 5.3) for _ in range(8))
    rows = tuple(tuple([x] * len(LEVELS)) for x in (5.0, 5.1, 5.3, 5.3))
    return Forecast(tag="hx/t", forecaster="f", made_at=at(made_s), period_s=10, quantiles=rows, paths=paths)


def breaches(records: list[Record]) -> list[Record]:
    return [r for r in records if isinstance(r, Verdict | Alert) and r.rule == "breach"]


def test_a_forecast_from_next_to_nothing_is_no_reason_for_an_alarm() -> None:
    subject = lane("hx/t")
    first = []
    for step in range(18):
        subject.offer(sample("hx/t", 10 * step, 5.0))
        subject.expect(leaving(10 * step), at(10 * step + 3))
        first += [step] if breaches(subject.harvest().records) else []
    assert first[0] == 14, "nearly all of the sixteen steps that are kept"


def test_behind_a_hole_nothing_is_foretold_until_it_no_longer_counts() -> None:
    subject = lane("hx/t")
    told = []
    for step in range(50):
        if not 20 <= step < 26:
            subject.offer(sample("hx/t", 10 * step, 5.0))
        subject.expect(leaving(10 * step), at(10 * step + 3))
        told += [step] if breaches(subject.harvest().records) else []
    # A value is held for three steps; the tag is back at step 26, and sixteen steps later the hole is nearly out of sight.
    assert told == [*range(14, 23), *range(40, 50)]


def test_while_an_alarm_stands_on_what_was_measured_nothing_is_foretold() -> None:
    subject = lane("hx/t")
    for step in range(8):
        subject.offer(sample("hx/t", 10 * step, 5.0 if step < 3 else 5.5))
        subject.advance(at(10 * step + 3))
    assert alerts(subject.harvest().records)[0][0] == "hx/t/tolerance"
    subject.expect(leaving(70), at(73))
    assert breaches(subject.harvest().records) == []


def test_a_forecast_that_leaves_the_band_alarms_with_its_lead() -> None:
    subject = lane("hx/t")
    for second in range(-160, 10, 10):
        subject.offer(sample("hx/t", second, 5.0))
    subject.harvest()
    subject.expect(leaving(10), at(13))
    (alert,) = [r for r in subject.harvest().records if isinstance(r, Alert)]
    assert alert.text == (
        "t of hx will leave 4.8 to 5.2 degC with a probability of 100 %, in about 30 s: so expected "
        "since 2026-01-01 00:00:13 UTC."
    ).replace(" degC", "")


def test_an_unknown_tag_is_counted_and_changes_nothing() -> None:
    subject = lane("hx/t")
    assert subject.offer(sample("hx/other", 0, 1.0)) == "unknown_tag"
    assert subject.harvest().records == []
    assert subject.placements["hx/other", "unknown_tag"] == 1


def test_windows_are_handed_over_once_per_closed_step() -> None:
    subject = lane("hx/a", "hx/b")
    subject.offer(sample("hx/a", 1, 5.0))
    subject.offer(sample("hx/b", 1, 5.0))
    subject.advance(at(12))
    assert [w.tag for w in subject.windows()] == ["hx/a", "hx/b"]
    assert subject.windows() == []
    subject.advance(at(22))
    assert [w.end_at for w in subject.windows()] == [at(20), at(20)]


def test_the_verdict_of_a_calm_tag_is_kept_once_per_step_and_a_crossing_at_once() -> None:
    subject = lane("hx/t")
    for i in range(10):
        subject.offer(sample("hx/t", 0.5 + i, 5.0 + 0.001 * i))
    crossing = sample("hx/t", 10.5, 5.5)
    subject.offer(crossing)
    kept = [r for r in subject.harvest().records if isinstance(r, Verdict) and r.rule == "tolerance"]
    assert [r.at for r in kept] == [crossing.source_at]
    subject.advance(at(12))
    kept = [r for r in subject.harvest().records if isinstance(r, Verdict) and r.rule == "tolerance"]
    assert kept == []


def test_alarms_survive_a_restart_and_windows_are_filled_without_judging_again() -> None:
    first = lane("hx/t")
    samples = [sample("hx/t", s, 5.5) for s in (0, 10, 20, 30)]
    for s in samples:
        first.offer(s)
    memories = first.harvest().memories
    assert memories["hx/t/tolerance"].state is AlarmState.UNACKNOWLEDGED
    second = FastLane(
        [
            Watch(
                window=RollingWindow(tag="hx/t", period_s=10, hold_s=30, length=16, lateness_s=2),
                on_sample=[(Tolerance(setpoint=5, tolerance=0.2), AlarmRule(on_delay_s=20, off_delay_s=20))],
            )
        ],
        memories,
    )
    second.restore(samples, at(30))
    assert second.harvest().records == []
    second.offer(sample("hx/t", 40, 5.5))
    second.advance(at(52))
    assert alerts(second.harvest().records) == [], "an alarm that stands is not raised again"
    second.offer(sample("hx/t", 53, 5.0))
    second.advance(at(80))
    assert alerts(second.harvest().records) == [("hx/t/tolerance", AlarmState.RETURNED_UNACKNOWLEDGED, at(73))]


def test_a_leap_of_a_year_is_quick_and_keeps_the_grid() -> None:
    subject = lane("hx/t", period_s=1.0)
    subject.offer(sample("hx/t", 0, 5.0))
    subject.advance(at(86_400 * 365))
    (window,) = subject.windows()
    assert window.end_at == at(86_400 * 365 - 2)


arrivals = st.lists(
    st.tuples(
        st.sampled_from(["hx/a", "hx/b"]),
        st.integers(0, 9_000).map(lambda ms: ms / 1000),
        st.sampled_from([0.0, 0.0, -1.0, -15.0, -50.0, 3.0]),
        st.sampled_from([5.0, 5.1, 5.3, 4.6, 150.0, None]),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(arrivals=arrivals, ticks=st.lists(st.floats(0, 600), max_size=30))
@pytest.mark.parametrize("end", [900.0])
def test_however_time_is_cut_the_same_records_come_out(
    arrivals: list[tuple[str, float, float, float | None]], ticks: list[float], end: float
) -> None:
    samples, now = [], 0.0
    for tag, wait, offset, value in arrivals:
        now += wait
        samples.append(sample(tag, now, value, source_s=now + offset))
    plain, cut = lane("hx/a", "hx/b"), lane("hx/a", "hx/b")
    for s in samples:
        plain.offer(s)
    plain.advance(at(end))
    moments = sorted([(s.arrived_at, 1, s) for s in samples] + [(at(t), 0, None) for t in ticks], key=lambda m: m[:2])
    records: list[Record] = []
    for moment, _, s in moments:
        cut.advance(moment)
        if s is not None:
            cut.offer(s)
        records += cut.harvest().records
    cut.advance(at(end))
    records += cut.harvest().records
    assert records == plain.harvest().records


def test_forecasts_that_no_longer_fit_raise_an_alarm_that_says_so_and_the_tag_is_not_learnt_from() -> None:
    window = RollingWindow(tag="hx/out", period_s=10, hold_s=100, length=8, lateness_s=0)
    watched = FastLane(
        [Watch(window=window, surprise=(Surprise(alpha=1e-3), AlarmRule(clear_below=0.75)))],
        {},
    )
    for step in range(20):
        watched.offer(sample("hx/out", 10 * step + 5, 5.0))
        scores = [
            Score(
                tag="hx/out",
                forecaster=forecaster,
                at=at(10 * step),
                value=5.0,
                pit=pit,
                log_score=0.0,
                log_probability=0.0,
            )
            for forecaster, pit in (("language", 0.5), ("panel", 0.999))
        ]
        watched.score(scores)
    harvest = watched.harvest()
    (alert,) = [record for record in harvest.records if isinstance(record, Alert)]
    assert alert.rule == "surprise"
    assert "lies higher in the forecast bands than chance would have it, since" in alert.text
    assert sum(isinstance(record, Score) for record in harvest.records) == 40
    watched.advance(at(300))
    (now,) = watched.windows()
    assert now.normal
    assert not now.normal[-1]


def test_what_the_model_lane_judges_becomes_an_alarm_here_and_its_tag_is_not_learnt_from() -> None:
    window = RollingWindow(tag="hx/out", period_s=10, hold_s=100, length=8, lateness_s=0)
    rules = [
        ModelWatch(tag="hx/out", rule_name="shift", rule=AlarmRule(clear_below=0.5)),
        ModelWatch(tag="asset/hx", rule_name="components", rule=AlarmRule(on_delay_s=20)),
    ]
    watched = FastLane([Watch(window=window)], {}, (), rules)
    for step in range(5):
        watched.offer(sample("hx/out", 10 * step + 5, 5.0))
        moved = Verdict(tag="hx/out", rule="shift", at=at(10 * step), score=3.0)
        strange = Verdict(tag="asset/hx", rule="components", at=at(10 * step), score=1.5)
        unasked = Verdict(tag="hx/out", rule="forest", at=at(10 * step), score=9.0)
        watched.hear([moved, strange, unasked])
    raised = alerts(watched.harvest().records)
    assert [name for name, *_ in raised] == ["hx/out/shift", "asset/hx/components"]
    assert watched.standing == {"hx/out/shift", "asset/hx/components"}
    (now,) = watched.windows()
    assert now.disturbed
    watched.hear([Verdict(tag="hx/out", rule="shift", at=at(50), score=0.4)])
    assert watched.standing == {"asset/hx/components"}

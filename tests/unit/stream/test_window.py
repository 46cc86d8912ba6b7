"""The rolling window: reports by exception in, a regular grid with honest holes out."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.records import Quality, Sample
from stream.window import Placement, RollingWindow

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def sample(source_s: float, value: float | None, arrived_s: float | None = None) -> Sample:
    return Sample(
        tag="hx/t",
        value=value,
        source_at=at(source_s),
        arrived_at=at(source_s if arrived_s is None else arrived_s),
        quality=Quality.GOOD if value is not None else Quality.BAD,
        reason="" if value is not None else "BadSensorFailure",
    )


def window(**changes: float) -> RollingWindow:
    settings_ = {"period_s": 10.0, "hold_s": 30.0, "length": 8, "lateness_s": 2.0} | changes
    return RollingWindow(tag="hx/t", **settings_)  # type: ignore[arg-type]  # length is an int in every call


def play(subject: RollingWindow, *samples: Sample, until: float) -> list[float | None]:
    steps = []
    for s in samples:
        steps += subject.close(s.arrived_at)
        subject.offer(s, s.arrived_at)
    steps += subject.close(at(until))
    return [step.value for step in steps]


def test_a_value_holds_until_the_next_report_and_no_longer_than_it_may() -> None:
    #  report   1        2
    #  time     0 . 10 . 15 . 20 . 30 . 40 . 50 . 60     hold 30 s: stale after 45
    #  steps    1   1         2    2    2    -    -
    assert play(window(), sample(0, 1.0), sample(15, 2.0), until=62) == [1.0, 1.0, 2.0, 2.0, 2.0, None, None]


def test_a_step_closes_only_after_its_lateness() -> None:
    subject = window()
    subject.offer(sample(5, 1.0), at(5))
    assert subject.due_at == at(12)
    assert subject.close(at(11.9)) == []
    assert [step.end_at for step in subject.close(at(12))] == [at(10)]


def test_a_report_at_the_very_end_of_a_step_belongs_to_it() -> None:
    assert play(window(), sample(0, 1.0), sample(10, 2.0), until=12) == [1.0, 2.0]


def test_a_late_report_changes_no_closed_step_but_is_held_from_then_on() -> None:
    subject = window()
    assert play(subject, sample(0, 1.0), until=12) == [1.0, 1.0]
    assert subject.offer(sample(8, 2.0, 13), at(13)) is Placement.LATE_NEWEST
    assert [step.value for step in subject.close(at(22))] == [2.0]


def test_a_late_report_that_is_not_the_newest_is_left_out() -> None:
    subject = window()
    play(subject, sample(0, 1.0), sample(11, 3.0, 11), until=12)
    assert subject.offer(sample(9, 2.0, 13), at(13)) is Placement.LATE
    assert [step.value for step in subject.close(at(22))] == [3.0]


def test_out_of_order_reports_take_their_place_in_an_open_step() -> None:
    subject = window()
    subject.offer(sample(0, 1.0), at(0))
    subject.close(at(9))
    subject.offer(sample(9, 3.0), at(9))
    assert subject.offer(sample(4, 2.0, 9.5), at(9.5)) is Placement.OUT_OF_ORDER
    assert [step.value for step in subject.close(at(12))] == [3.0]


def test_the_first_report_of_a_moment_wins() -> None:
    subject = window()
    subject.offer(sample(5, 1.0), at(5))
    assert subject.offer(sample(5, 9.0, 6), at(6)) is Placement.DUPLICATE
    assert [step.value for step in subject.close(at(12))] == [1.0]


def test_a_report_from_the_future_is_dropped() -> None:
    subject = window()
    assert subject.offer(sample(61, 1.0, 0), at(0)) is Placement.FUTURE
    assert subject.due_at is None


def test_an_old_report_is_the_last_one_known_and_never_the_present_value() -> None:
    subject = window()
    assert subject.offer(sample(-3600, 1.0, 5), at(5)) is Placement.OLD
    steps = subject.close(at(12))
    assert [(step.value, step.reason, step.age_s) for step in steps][-1:] == [(None, "stale", 3610.0)]


def test_a_bad_report_is_a_hole_with_its_reason() -> None:
    subject = window()
    subject.offer(sample(1, 1.0), at(1))
    subject.offer(sample(8, None), at(8))
    (step,) = subject.close(at(12))
    assert (step.value, step.reason) == (None, "BadSensorFailure")


def test_a_hole_stays_a_hole_in_the_snapshot_and_the_axis_is_not_squeezed() -> None:
    subject = window(hold_s=10.0)
    play(subject, sample(0, 1.0), sample(50, 2.0), until=62)
    snapshot = subject.snapshot()
    assert snapshot is not None
    assert snapshot.end_at == at(60)
    assert [None if math.isnan(v) else v for v in snapshot.values] == [1.0, 1.0, None, None, None, 2.0, 2.0]


def test_memory_is_bounded_in_steps_and_in_reports() -> None:
    subject = window(period_s=3600.0, hold_s=7200.0)
    for i in range(20_000):
        subject.offer(sample(i * 0.1, float(i)), at(i * 0.1))
    assert len(subject._reports) <= 257
    subject.close(at(86_400 * 365))
    snapshot = subject.snapshot()
    assert snapshot is not None
    assert len(snapshot.values) == 8


def test_after_a_long_silence_the_grid_is_where_it_belongs() -> None:
    subject = window()
    subject.offer(sample(0, 1.0), at(0))
    steps = subject.close(at(1_000_003))
    assert len(steps) == 8
    assert steps[-1].end_at == at(1_000_000)


reports = st.lists(
    st.tuples(
        st.integers(0, 20_000),  # wait before it arrives, ms
        st.integers(-25_000, 5_000),  # source time against arrival, ms
        st.one_of(st.none(), st.integers(-5, 5).map(float)),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(reports=reports, cuts=st.lists(st.integers(0, 400_000), max_size=10))
def test_the_steps_are_those_of_the_obvious_slow_way(
    reports: list[tuple[int, int, float | None]], cuts: list[int]
) -> None:
    """The twin keeps every report for ever, and asks at each close: which was the newest then known up to the step's end?"""
    subject = window(length=1000)
    now, known, expected, got = 0, [], [], []
    next_end: int | None = None

    def close(now_ms: int) -> None:
        nonlocal next_end
        got.extend((step.end_at, step.value) for step in subject.close(at(now_ms / 1000)))
        while next_end is not None and next_end + 2000 <= now_ms:
            upto = [(source, value) for source, value in known if source <= next_end]
            source, value = max(upto, key=lambda pair: pair[0], default=(None, None))
            fresh = source is not None and next_end - source <= 30_000
            expected.append((at(next_end / 1000), value if fresh else None))
            next_end += 10_000

    for wait, offset, value in reports:
        for cut in sorted(c for c in cuts if now < c < now + wait):
            close(cut)
        now += wait
        close(now)
        source = now + offset
        placement = subject.offer(sample(source / 1000, value, now / 1000), at(now / 1000))
        if next_end is None:
            next_end = -(-source // 10_000) * 10_000
        newest = max((s for s, _ in known), default=None)
        closed = source <= next_end - 10_000
        if not (any(s == source for s, _ in known) or (closed and newest is not None and source < newest)):
            known.append((source, value))
        assert placement.present == (newest is None or source > newest)
    close(now + 100_000)
    assert got == expected


def test_a_period_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 0\.001 s, found 0"):
        window(period_s=0)

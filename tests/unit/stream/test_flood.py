"""More alarms than an operator can take, and those that come again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from detectors.records import AlarmState, Alert, Priority, Status
from stream.flood import CHATTER, FLOOD, FloodWatch, flood_watch
from stream.journal.journal import Journal

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def alert(seconds: float, tag: str = "hx/t", *, raised: bool = True) -> Alert:
    states = (AlarmState.NORMAL, AlarmState.UNACKNOWLEDGED)
    previous, state = states if raised else reversed(states)
    return Alert(
        tag=tag,
        rule="high",
        sequence=1,
        state=state,
        previous=previous,
        at=at(seconds),
        since=at(seconds),
        priority=Priority.LOW,
        text="",
    )


def told(watch: FloodWatch, seconds: float) -> list[tuple[str, bool, str]]:
    return [(status.subject, status.ok, status.detail) for status in watch.news(at(seconds))]


def test_ten_alarms_in_ten_minutes_are_none_and_the_eleventh_makes_a_flood_that_is_told_once() -> None:
    watch = FloodWatch()
    watch.take([alert(60 * i, f"hx/{'a' if i < 4 else i}") for i in range(10)])
    assert told(watch, 599) == []
    watch.take([alert(599, "hx/b")])
    said = (
        "flood: 11 alarms raised since 2026-01-01 00:00:00 UTC; most often: hx/a/high (4), hx/4/high (1), hx/5/high (1)"
    )
    assert told(watch, 599) == [(FLOOD, False, said)]
    watch.take([alert(600, "hx/b")])
    assert told(watch, 600) == []
    assert (watch.floods, watch.recent) == (1, 11)


def test_a_flood_is_over_when_fewer_than_five_are_left_and_its_size_is_told() -> None:
    watch = FloodWatch()
    watch.take([alert(i * 30, f"hx/{i}") for i in range(12)])
    watch.news(at(330))
    assert told(watch, 600 + 7 * 30 - 1) == []
    ((subject, ok, detail),) = told(watch, 600 + 7 * 30)
    assert (subject, ok) == (FLOOD, True)
    assert detail.startswith("over: 12 alarms raised in 14 min; most often: hx/0/high (1), ")
    assert told(watch, 5000) == []
    assert watch.recent == 0


def test_what_clears_or_is_acknowledged_is_no_alarm_raised() -> None:
    watch = FloodWatch()
    watch.take([alert(i, raised=False) for i in range(40)])
    assert told(watch, 41) == []
    assert watch.recent == 0


def test_an_alarm_that_is_raised_three_times_in_a_minute_chatters_until_it_has_not_for_ten_minutes() -> None:
    watch = FloodWatch()
    watch.take([alert(0), alert(30), alert(60)])
    assert told(watch, 60) == []
    watch.take([alert(89)])
    ((subject, ok, detail),) = told(watch, 89)
    assert (subject, ok) == (CHATTER, False)
    assert detail == "raised 3 times a minute: hx/t/high; give them a deadband or delays"
    watch.take([alert(100)])
    assert told(watch, 100) == []
    assert told(watch, 699) == []
    assert told(watch, 700) == [(CHATTER, True, "no alarm chatters")]


def test_after_a_restart_it_goes_on_and_neither_is_told_twice_nor_left_standing(tmp_path) -> None:
    journal = Journal(tmp_path / "journal.sqlite3", max_size_mb=8, keep_days=1)
    before = FloodWatch()
    alerts = [alert(i, f"hx/{i}") for i in range(11)]
    before.take(alerts)
    journal.append([*alerts, *before.news(at(11))])
    soon = flood_watch(journal, at(60))
    assert told(soon, 60) == []
    assert soon.flood is not None
    late = flood_watch(journal, at(86_400))
    assert told(late, 86_400) == [(FLOOD, True, "over")]
    journal.append([Status(subject=FLOOD, ok=True, detail="over", at=at(86_400))])
    assert told(flood_watch(journal, at(86_401)), 86_401) == []
    journal.close()


def test_a_clock_that_is_set_back_leaves_no_flood_that_never_ends() -> None:
    watch = FloodWatch()
    watch.take([alert(10_000 + i, f"hx/{i}") for i in range(11)])
    watch.news(at(10_011))
    ((subject, ok, _),) = told(watch, 0)
    assert (subject, ok) == (FLOOD, True)

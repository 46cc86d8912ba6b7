"""The alarm machine: delays, deadband, ISA-18.2 states, and what survives a restart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.alarm import Alarm, AlarmRule, Memory
from detectors.records import AlarmState, Priority, Verdict

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def verdict(score: float, seconds: float = 0) -> Verdict:
    return Verdict(tag="hx/t", rule="tolerance", at=at(seconds), score=score, value=5 + 0.2 * score, low=4.8, high=5.2)


def alarm(memory: Memory | None = None, **rule: float) -> Alarm:
    made = AlarmRule(priority=Priority.HIGH, unit="degC", **rule)  # type: ignore[arg-type]  # only floats are passed here
    return Alarm(tag="hx/t", rule_name="tolerance", rule=made, memory=memory)


def test_a_violation_raises_at_once_without_a_delay() -> None:
    (alert,) = alarm().judge(verdict(1.5), at(0))
    assert (alert.previous, alert.state, alert.sequence) == (AlarmState.NORMAL, AlarmState.UNACKNOWLEDGED, 1)
    assert alert.at == alert.since == at(0)
    assert alert.text == "t of hx is 5.3 degC, above the allowed 4.8 to 5.2 degC, since 2026-01-01 00:00:00 UTC."


def test_the_edge_itself_is_allowed() -> None:
    assert alarm().judge(verdict(1.0), at(0)) == []


def test_the_on_delay_counts_from_the_first_violation_and_ends_when_it_ends() -> None:
    #  score  1.5            (nothing more arrives)
    #  time   0 . . . . . 20
    subject = alarm(on_delay_s=20)
    assert subject.judge(verdict(1.5), at(0)) == []
    assert subject.due_at == at(20)
    assert subject.advance(at(19.9)) is None
    alert = subject.advance(at(35))
    assert alert is not None
    assert (alert.at, alert.since) == (at(20), at(0))


def test_a_return_within_the_on_delay_starts_the_count_again() -> None:
    subject = alarm(on_delay_s=20)
    subject.judge(verdict(1.5), at(0))
    subject.judge(verdict(0.2), at(10))
    assert subject.due_at is None
    subject.judge(verdict(1.5), at(12))
    assert subject.due_at == at(32)


def test_in_the_deadband_nothing_changes() -> None:
    subject = alarm(clear_below=0.75)
    subject.judge(verdict(1.5), at(0))
    assert subject.judge(verdict(0.9), at(1)) == []
    assert subject.memory.state.active
    (alert,) = subject.judge(verdict(0.75), at(2))
    assert alert.state is AlarmState.RETURNED_UNACKNOWLEDGED
    assert subject.judge(verdict(0.9), at(3)) == []


def test_the_off_delay_holds_the_alarm_until_the_return_has_lasted() -> None:
    subject = alarm(off_delay_s=10)
    subject.judge(verdict(2), at(0))
    subject.judge(verdict(0), at(5))
    subject.judge(verdict(2), at(9))
    assert subject.advance(at(16)) is None
    subject.judge(verdict(0), at(20))
    alert = subject.advance(at(31))
    assert alert is not None
    assert (alert.at, alert.since) == (at(30), at(0))
    assert "over since 2026-01-01 00:00:30 UTC, after 30 s" in alert.text


def test_a_delay_that_ran_out_is_settled_before_a_later_verdict_counts() -> None:
    subject = alarm(on_delay_s=20)
    subject.judge(verdict(1.5), at(0))
    raised, cleared = subject.judge(verdict(0.1), at(50))
    assert (raised.state, raised.at) == (AlarmState.UNACKNOWLEDGED, at(20))
    assert (cleared.state, cleared.at) == (AlarmState.RETURNED_UNACKNOWLEDGED, at(50))


def test_acknowledge_follows_the_states_of_isa_18_2() -> None:
    subject = alarm()
    assert subject.acknowledge(at(0), by="ana") is None
    subject.judge(verdict(2), at(1))
    seen = subject.acknowledge(at(2), by="ana")
    assert seen is not None
    assert (seen.state, seen.by) == (AlarmState.ACKNOWLEDGED, "ana")
    (gone,) = subject.judge(verdict(0), at(3))
    assert gone.state is AlarmState.NORMAL
    subject.judge(verdict(2), at(4))
    subject.judge(verdict(0), at(5))
    assert subject.memory.state is AlarmState.RETURNED_UNACKNOWLEDGED
    late = subject.acknowledge(at(6), by="ana")
    assert late is not None
    assert late.state is AlarmState.NORMAL


def test_an_acknowledgement_does_not_start_the_off_delay_again() -> None:
    subject = alarm(off_delay_s=10)
    subject.judge(verdict(2), at(0))
    subject.judge(verdict(0), at(5))
    subject.acknowledge(at(12), by="ana")
    assert subject.due_at == at(15)


def test_a_clear_edge_above_the_raise_edge_is_refused() -> None:
    with pytest.raises(ValueError, match="clear_below between 0 and 1"):
        AlarmRule(clear_below=1.2)


events = st.lists(st.tuples(st.floats(0, 30), st.one_of(st.floats(0, 3), st.none(), st.just("ack"))), max_size=60)


@given(events=events, on=st.floats(0, 20), off=st.floats(0, 20), clear=st.floats(0, 1))
def test_any_history_is_legal_and_survives_a_restart_at_any_point(
    events: list[tuple[float, float | str | None]], on: float, off: float, clear: float
) -> None:
    legal = {
        (AlarmState.NORMAL, AlarmState.UNACKNOWLEDGED),
        (AlarmState.RETURNED_UNACKNOWLEDGED, AlarmState.UNACKNOWLEDGED),
        (AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED),
        (AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED_UNACKNOWLEDGED),
        (AlarmState.ACKNOWLEDGED, AlarmState.NORMAL),
        (AlarmState.RETURNED_UNACKNOWLEDGED, AlarmState.NORMAL),
    }
    lasting = alarm(on_delay_s=on, off_delay_s=off, clear_below=clear)
    memory = Memory()
    now, seen, moments = 0.0, [], [T0]
    for wait, event in events:
        now += wait
        restarted = alarm(memory=memory, on_delay_s=on, off_delay_s=off, clear_below=clear)
        both = []
        for subject in (lasting, restarted):
            if event is None:
                alert = subject.advance(at(now))
                alerts = [alert] if alert else []
            elif event == "ack":
                before = subject.advance(at(now))
                alert = subject.acknowledge(at(now), by="ana")
                alerts = [a for a in (before, alert) if a]
            else:
                alerts = subject.judge(verdict(float(event)), at(now))
            both.append([(a.previous, a.state, a.sequence, a.at, a.since) for a in alerts])
        assert both[0] == both[1], "a restart from memory changed the outcome"
        memory = restarted.memory
        for previous, state, sequence, moment, since in both[0]:
            assert (previous, state) in legal
            seen.append(sequence)
            assert since <= moment
            assert moment > moments[-1] or len(moments) == 1, "two messages have one time"
            moments.append(moment)
    assert seen == list(range(1, len(seen) + 1)), "a transition was lost or doubled"


def test_what_is_accepted_is_silent_until_it_has_returned_and_comes_again() -> None:
    subject = Alarm(tag="hx/t", rule_name="deviation", rule=AlarmRule())
    subject.judge(verdict(2), at(0))
    accepted = subject.accept(at(1), by="ana")
    assert accepted is not None
    assert (accepted.state, accepted.by) == (AlarmState.NORMAL, "ana")
    assert accepted.text == (
        "t of hx: what the deviation alarm found was accepted as normal by ana at 2026-01-01 00:00:01 UTC."
    )
    assert subject.judge(verdict(3), at(2)) == []
    assert subject.judge(verdict(0.5), at(3)) == []
    assert [a.state for a in subject.judge(verdict(2), at(4))] == [AlarmState.UNACKNOWLEDGED]


def test_a_limit_is_not_accepted() -> None:
    with pytest.raises(ValueError, match="change its limit"):
        alarm().accept(at(0), by="ana")


steps = st.lists(st.tuples(st.floats(0, 30), st.one_of(st.floats(0, 3), st.none(), st.just("silent"))), max_size=40)


@given(events=steps, on=st.floats(0, 20), off=st.floats(0, 20), shelved_s=st.floats(1, 60))
def test_a_silence_hides_what_happens_and_its_end_tells_how_it_stands(
    events: list[tuple[float, float | str | None]], on: float, off: float, shelved_s: float
) -> None:
    subject, twin = (alarm(on_delay_s=on, off_delay_s=off) for _ in range(2))
    now, told, sequence = 0.0, AlarmState.NORMAL, 0
    for wait, event in events:
        now += wait
        alerts = []
        for each in (subject, twin):
            taken = [] if isinstance(event, float) else [each.advance(at(now)) for _ in range(4)]
            if isinstance(event, float):
                taken += each.judge(verdict(event), at(now))
            elif event == "silent" and each is subject:
                taken.append(each.shelve(at(now), until=at(now + shelved_s), by="ana"))
            alerts += [one for one in taken if one is not None and each is subject]
        for alert in alerts:
            sequence += 1
            assert alert.sequence == sequence, "a transition was lost or doubled"
            assert alert.previous is told
            told = alert.state
        assert told is subject.memory.told
        # Nobody acknowledges here, so that the twin that was never shelved is in the same condition underneath.
        assert (subject.memory.state, subject.memory.since) == (twin.memory.state, twin.memory.since)
        if subject.memory.silence is not None:
            assert told is AlarmState.SHELVED

"""Any course of values, commands, jumps of the clock and restarts: the life of an alarm keeps its promises."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from detectors.alarm import AlarmRule
from detectors.limits import Level, Tolerance
from detectors.records import AlarmState, Alert, Sample
from stream.alarm_memory import dump, load
from stream.command import COMMANDS, ask, obey
from stream.lane import FastLane
from stream.set_back import renewed
from stream.watch import Watch
from stream.window import RollingWindow

T0 = datetime(2026, 1, 1, tzinfo=UTC)
CHILD, PARENT = "hx/t/tolerance", "hx/p/high"
NORMAL, RAISED, SEEN, BACK, SHELVED, SUPPRESSED, OUT = (
    AlarmState.NORMAL,
    AlarmState.UNACKNOWLEDGED,
    AlarmState.ACKNOWLEDGED,
    AlarmState.RETURNED_UNACKNOWLEDGED,
    AlarmState.SHELVED,
    AlarmState.SUPPRESSED,
    AlarmState.OUT_OF_SERVICE,
)
SPEAKS = {NORMAL, RAISED, BACK}
"""How an alarm may stand when a silence ends: what stands is to be acknowledged anew."""
LEGAL = {
    NORMAL: {RAISED, SHELVED, OUT},
    RAISED: {SEEN, BACK, SHELVED, SUPPRESSED, OUT},
    SEEN: {NORMAL, SHELVED, SUPPRESSED, OUT},
    BACK: {NORMAL, RAISED, SHELVED, SUPPRESSED, OUT},
    SHELVED: {*SPEAKS, SHELVED, SUPPRESSED, OUT},
    SUPPRESSED: {*SPEAKS, SHELVED, OUT},
    OUT: {*SPEAKS, SUPPRESSED},
}
MALFORMED = (
    "",
    "{}",
    "[]",
    "null",
    '{"command": "acknowledge"}',
    '{"command": 1, "alarm": [], "by": {}}',
    "\x00",
    "9" * 5000,
)


def lane_of(memories) -> FastLane:
    rules = {
        "hx/t": (
            Tolerance(setpoint=5, tolerance=1),
            AlarmRule(on_delay_s=20, off_delay_s=10, clear_below=0.5, suppressed_by=(PARENT,)),
        ),
        "hx/p": (Level(limit=10, reference=0, rule="high"), AlarmRule()),
    }
    return FastLane(
        [
            Watch(window=RollingWindow(tag=tag, period_s=10, hold_s=1e6, length=4, lateness_s=2), on_sample=[judged])
            for tag, judged in rules.items()
        ],
        memories,
    )


class AlarmLife(RuleBasedStateMachine):
    """Two alarms, of which one explains the other, in a service and in its twin that is never stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.lanes = [lane_of({}), lane_of({})]
        self.saved: dict[str, str] = {}
        self.alerts: list[list[Alert]] = [[], []]
        self.set_back = False

    def harvest(self) -> None:
        for number, lane in enumerate(self.lanes):
            harvest = lane.harvest()
            self.alerts[number] += [record for record in harvest.records if isinstance(record, Alert)]
            if number == 0:
                self.saved |= dump(harvest.memories)

    @rule(tag=st.sampled_from(["hx/t", "hx/p"]), value=st.sampled_from([5.0, 5.8, 6.5, 11.0]))
    def a_value_arrives(self, tag: str, value: float) -> None:
        self.now += timedelta(seconds=1)  # two of one moment are one
        for lane in self.lanes:
            lane.offer(Sample(tag=tag, value=value, source_at=self.now, arrived_at=self.now))
        self.harvest()

    @rule(
        command=st.sampled_from(sorted(COMMANDS)),
        alarm=st.sampled_from([CHILD, PARENT, "hx/t/tolerence", ""]),
        for_s=st.sampled_from([1.0, 30.0, 600.0]),
    )
    def an_operator_asks(self, command: str, alarm: str, for_s: float) -> None:
        text = ask(command, alarm, by="ana", for_s=for_s if command == "shelve" else None)
        before = {name: a.memory for name, a in self.lanes[0].alarms.items()}
        replies = [obey(text, lane, lane.mark(self.now, command=text)) for lane in self.lanes]
        assert replies[0] == replies[1]
        changed = {name for name, a in self.lanes[0].alarms.items() if a.memory != before[name]}
        if alarm not in before:
            assert not replies[0].done
            assert changed <= set(before)  # time may have passed, nothing else
        self.harvest()

    @rule(
        text=st.one_of(
            st.sampled_from(MALFORMED),
            st.text(max_size=30),
            st.dictionaries(
                st.sampled_from(["command", "alarm", "by", "for_s", "until", "id"]),
                st.one_of(
                    st.none(), st.integers(), st.floats(), st.text(max_size=10), st.just("acknowledge"), st.just([])
                ),
            ).map(json.dumps),
        )
    )
    def somebody_sends_nonsense(self, text: str) -> None:
        memories = {}
        for lane in self.lanes:
            lane.advance(self.now)
            memories[lane] = {name: a.memory for name, a in lane.alarms.items()}
            assert not obey(text, lane, self.now).done
            assert {name: a.memory for name, a in lane.alarms.items()} == memories[lane]
        self.harvest()

    @rule(seconds=st.sampled_from([0.0, 0.5, 10.0, 20.0, 45.0, 700.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for lane in self.lanes:
            lane.advance(self.now)
        self.harvest()

    @rule()
    def the_service_is_killed_and_started_again(self) -> None:
        self.lanes[0] = lane_of(load(self.saved))
        self.lanes[0].advance(self.now)
        self.harvest()

    @rule(seconds=st.sampled_from([6.0, 60.0, 3600.0]))
    @precondition(lambda self: len(self.alerts[0]) < 20)
    def the_clock_is_set_back(self, seconds: float) -> None:
        back = timedelta(seconds=seconds)
        self.now -= back
        for number, lane in enumerate(self.lanes):
            self.lanes[number], memories = renewed(lane, lane_of, back)
            if number == 0:
                self.saved |= dump(memories)
        self.harvest()

    @invariant()
    def restarted_is_as_never_stopped(self) -> None:
        for name, alarm in self.lanes[0].alarms.items():
            assert alarm.memory == self.lanes[1].alarms[name].memory
        assert [(a.alarm, a.sequence, a.state, a.at) for a in self.alerts[0]] == [
            (a.alarm, a.sequence, a.state, a.at) for a in self.alerts[1]
        ]

    @invariant()
    def every_transition_is_legal_and_told_once(self) -> None:
        for name, alarm in self.lanes[0].alarms.items():
            told = [alert for alert in self.alerts[0] if alert.alarm == name]
            assert [alert.sequence for alert in told] == list(range(1, len(told) + 1))
            state = NORMAL
            for alert in told:
                assert alert.previous is state
                assert alert.state in LEGAL[state], f"{state} to {alert.state}"
                state = alert.state
            # What is published last is how it stands: the retained topic is right.
            assert state is alarm.memory.told
            assert alarm.memory.sequence == len(told)

    @invariant()
    def a_shelving_ends_by_itself_and_nothing_overdue_is_left(self) -> None:
        for alarm in self.lanes[0].alarms.values():
            memory = alarm.memory
            assert (memory.silent_until is not None) is (memory.silence is SHELVED)
            assert (
                memory.silent_until is None
                or memory.silent_until > self.now - timedelta(seconds=1e-9)
                or not self.settled
            )

    @invariant()
    def a_suppressed_alarm_has_a_parent_that_stands(self) -> None:
        child, parent = self.lanes[0].alarms[CHILD].memory, self.lanes[0].alarms[PARENT].memory
        assert child.suppressed is parent.explains or not self.settled
        assert not (child.suppressed and child.told.active)

    @property
    def settled(self) -> bool:
        """Whether time has passed since the last call of a lane that leaves something due."""
        return all(a.due_at is None or a.due_at > self.now for a in self.lanes[0].alarms.values())


TestAlarmLife = AlarmLife.TestCase
TestAlarmLife.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)

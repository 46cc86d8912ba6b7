"""An alarm that another one explains: suppressed while that stands, and raised afterwards if it must be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from detectors.alarm import AlarmRule, Memory
from detectors.limits import Level, Tolerance
from detectors.records import AlarmState, Alert, Sample
from stream.alarm_memory import dump, load
from stream.command import ask, obey
from stream.lane import FastLane
from stream.watch import Watch
from stream.window import RollingWindow

T0 = datetime(2026, 1, 1, tzinfo=UTC)
CHILD, PARENT = "hx/t/tolerance", "hx/p/high"


def watch(tag: str, *rules) -> Watch:
    window = RollingWindow(tag=tag, period_s=10, hold_s=3600, length=16, lateness_s=2)
    return Watch(window=window, on_sample=list(rules))


class Plant:
    """Tag t in a band of 4.8 to 5.2, suppressed while p is above 10."""

    def __init__(self, *, on_delay_s: float = 0, memories: dict[str, Memory] | None = None) -> None:
        child = AlarmRule(on_delay_s=on_delay_s, suppressed_by=(PARENT,))
        self.lane = FastLane(
            [
                watch("hx/t", (Tolerance(setpoint=5, tolerance=0.2), child)),
                watch("hx/p", (Level(limit=10, reference=0, rule="high"), AlarmRule())),
            ],
            memories or {},
        )
        self.memories: dict[str, Memory] = dict(memories or {})
        self.alerts: list[Alert] = []

    def show(self, tag: str, value: float, seconds: float) -> None:
        moment = T0 + timedelta(seconds=seconds)
        self.lane.offer(Sample(tag=tag, value=value, source_at=moment, arrived_at=moment))
        self.pass_to(seconds)

    def pass_to(self, seconds: float) -> None:
        self.lane.advance(T0 + timedelta(seconds=seconds))
        harvest = self.lane.harvest()
        self.alerts += [record for record in harvest.records if isinstance(record, Alert)]
        self.memories |= harvest.memories

    def told(self, name: str = CHILD) -> list[tuple[str, float]]:
        return [(a.state.value, (a.at - T0).total_seconds()) for a in self.alerts if a.alarm == name]

    @property
    def child(self) -> Memory:
        return self.lane.alarms[CHILD].memory


def test_what_arises_while_the_parent_stands_is_not_raised_but_shown() -> None:
    plant = Plant()
    plant.show("hx/p", 11, 0)
    plant.show("hx/t", 6, 5)
    assert plant.told() == []
    assert plant.child.shown is AlarmState.SUPPRESSED
    plant.show("hx/t", 5, 8)
    assert plant.child.shown is AlarmState.NORMAL
    plant.show("hx/p", 1, 10)
    plant.pass_to(100)
    assert plant.told() == []
    assert plant.child == Memory(sequence=0)


@pytest.mark.parametrize(("on_delay_s", "raised_at"), [(0, 10), (20, 30)])
def test_it_is_raised_after_its_on_delay_if_it_still_holds_when_the_parent_clears(
    on_delay_s: float, raised_at: float
) -> None:
    plant = Plant(on_delay_s=on_delay_s)
    plant.show("hx/p", 11, 0)
    plant.show("hx/t", 6, 5)
    plant.show("hx/p", 1, 10)
    plant.pass_to(60)
    assert plant.told() == [("unacknowledged", raised_at)]
    assert plant.alerts[-1].previous is AlarmState.NORMAL


def test_what_was_raised_before_is_told_to_be_suppressed_and_told_again_afterwards() -> None:
    plant = Plant(on_delay_s=20)
    plant.show("hx/t", 6, 0)
    plant.show("hx/p", 11, 30)
    plant.show("hx/p", 1, 40)
    plant.pass_to(100)
    assert plant.told() == [("unacknowledged", 20), ("suppressed", 30), ("normal", 40), ("unacknowledged", 60)]
    suppressed, released = [a for a in plant.alerts if a.alarm == CHILD][1:3]
    assert suppressed.text == (
        "t of hx: tolerance alarm suppressed at 2026-01-01 00:00:30 UTC, while hx/p/high stands."
    )
    assert released.text == "t of hx: tolerance alarm no longer suppressed, ended at 2026-01-01 00:00:40 UTC."
    assert [a.sequence for a in plant.alerts if a.alarm == CHILD] == [1, 2, 3, 4]


def test_what_was_raised_before_and_is_over_by_then_waits_for_its_acknowledgement() -> None:
    plant = Plant()
    plant.show("hx/t", 6, 0)
    plant.show("hx/p", 11, 10)
    plant.show("hx/t", 5, 20)
    plant.show("hx/p", 1, 30)
    assert plant.told() == [("unacknowledged", 0), ("suppressed", 10), ("returned_unacknowledged", 30)]


def test_a_parent_out_of_service_explains_nothing_and_a_shelved_one_does() -> None:
    plant = Plant()
    plant.show("hx/p", 11, 0)
    plant.show("hx/t", 6, 5)
    obey(ask("shelve", PARENT, by="ana", for_s=60), plant.lane, T0 + timedelta(seconds=10))
    plant.pass_to(20)
    assert plant.told() == []
    obey(ask("out_of_service", PARENT, by="ana"), plant.lane, T0 + timedelta(seconds=20))
    plant.pass_to(21)
    assert plant.told() == [("unacknowledged", 20)]


def test_shelved_under_a_standing_parent_it_is_suppressed_when_the_shelving_ends() -> None:
    plant = Plant()
    plant.show("hx/t", 6, 0)
    obey(ask("shelve", CHILD, by="ana", for_s=9), plant.lane, T0 + timedelta(seconds=1))
    plant.show("hx/p", 11, 5)
    plant.pass_to(20)
    plant.show("hx/p", 1, 30)
    plant.pass_to(31)
    assert plant.told() == [("unacknowledged", 0), ("shelved", 1), ("suppressed", 10), ("unacknowledged", 30)]


def test_a_suppressed_alarm_cannot_be_acknowledged() -> None:
    plant = Plant()
    plant.show("hx/t", 6, 0)
    plant.show("hx/p", 11, 5)
    reply = obey(ask("acknowledge", CHILD, by="ana"), plant.lane, T0 + timedelta(seconds=6))
    assert reply.text == f"nothing to acknowledge: {CHILD} is suppressed"


def test_it_survives_a_restart_and_a_parent_that_was_taken_out_of_the_file_no_longer_counts() -> None:
    plant = Plant()
    plant.show("hx/t", 6, 0)
    plant.show("hx/p", 11, 5)
    again = Plant(memories=load(dump(plant.memories)))
    again.show("hx/p", 1, 30)
    assert again.told() == [("unacknowledged", 30)]
    assert again.alerts[-1].sequence == 3

    child = Watch(
        window=RollingWindow(tag="hx/t", period_s=10, hold_s=3600, length=16, lateness_s=2),
        on_sample=[(Tolerance(setpoint=5, tolerance=0.2), AlarmRule())],
    )
    lane = FastLane([child], load(dump(plant.memories)))
    lane.advance(T0 + timedelta(seconds=40))
    (alert,) = [record for record in lane.harvest().records if isinstance(record, Alert)]
    assert (alert.state, alert.previous) == (AlarmState.UNACKNOWLEDGED, AlarmState.SUPPRESSED)


def test_a_chain_is_suppressed_from_its_head() -> None:
    rules = {
        "a": AlarmRule(),
        "b": AlarmRule(suppressed_by=("hx/a/high",)),
        "c": AlarmRule(suppressed_by=("hx/b/high",)),
    }
    lane = FastLane([watch(f"hx/{n}", (Level(limit=10, reference=0, rule="high"), r)) for n, r in rules.items()], {})
    for seconds, (tag, value) in enumerate([("a", 11), ("b", 11), ("c", 11), ("a", 1)]):
        moment = T0 + timedelta(seconds=seconds)
        lane.offer(Sample(tag=f"hx/{tag}", value=value, source_at=moment, arrived_at=moment))
    lane.advance(T0 + timedelta(seconds=10))
    alerts = [record for record in lane.harvest().records if isinstance(record, Alert)]
    assert [(a.tag, a.state.value) for a in alerts][:3] == [
        ("hx/a", "unacknowledged"),
        ("hx/a", "returned_unacknowledged"),
        ("hx/b", "unacknowledged"),
    ]
    assert lane.alarms["hx/c/high"].memory.shown is AlarmState.SUPPRESSED

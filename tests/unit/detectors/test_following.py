"""Detectors that learn step by step get each step once, over windows, alarms and restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from detectors.drift import Drift, Rarity
from detectors.following import Following, StepLearner
from detectors.novelty import Novelty
from detectors.records import Verdict, Window

if TYPE_CHECKING:
    from detectors.detector import Step

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Pupil:
    """Writes down what it is given."""

    taken: list[tuple[float | None, bool]] = field(default_factory=list)
    rule: str = "pupil"

    def judge(self, step: Step) -> Verdict | None:
        return Verdict(tag=step.tag, rule=self.rule, at=step.end_at, score=float(len(self.taken)))

    def learn(self, step: Step, *, normal: bool) -> None:
        self.taken.append((step.value, normal))


def window(values: list[float], end: int, *, normal: tuple[bool, ...] = ()) -> Window:
    at = T0 + timedelta(seconds=10 * end)
    return Window(tag="hx/t", period_s=10.0, end_at=at, values=tuple(values), normal=normal)


def following(make: object = Pupil, *, kept: int = 100, before: int = 0) -> tuple[Following, list[Pupil]]:
    made: list[Pupil] = []

    def recorded() -> StepLearner:
        made.append(make())  # type: ignore[operator] # a class of detectors
        return made[-1]

    return Following(tag="hx/t", period_s=10.0, make=recorded, kept=kept, before=before), made


def test_each_step_is_taken_once_however_the_windows_overlap() -> None:
    subject, made = following()
    subject.take([window([1.0, 2.0], 1)])
    subject.take([window([1.0, 2.0], 1)])
    subject.take([window([2.0, 3.0, math.nan, 5.0], 4)])
    subject.take([window([9.0], 20)])
    assert made[-1].taken == [(1.0, True), (2.0, True), (3.0, True), (None, True), (5.0, True), (9.0, True)]


def test_what_is_in_alarm_is_not_learnt_be_it_the_tags_or_its_own() -> None:
    subject, made = following()
    subject.take([window([1.0, 2.0], 1, normal=(True, False))])
    subject.take([window([3.0], 2)], standing={"hx/t/pupil"})
    subject.take([window([4.0], 3)], standing={"hx/other/pupil"})
    assert [normal for _, normal in made[-1].taken] == [True, False, False, True]


def test_there_is_no_verdict_before_so_much_was_seen() -> None:
    subject, _ = following(before=3)
    said = [subject.take([window([float(i)], i)]) for i in range(6)]
    assert [len(verdicts) for verdicts in said] == [0, 0, 0, 1, 1, 1]
    assert said[-1][0].at == T0 + timedelta(seconds=50)


def test_windows_of_others_are_passed_over_and_a_clock_set_back_begins_anew() -> None:
    subject, made = following()
    other = Window(tag="hx/u", period_s=10.0, end_at=T0, values=(1.0,))
    slower = Window(tag="hx/t", period_s=60.0, end_at=T0, values=(1.0,))
    assert subject.take([other, slower]) == []
    subject.take([window([1.0], 100)])
    subject.take([window([2.0], 10)])
    assert [value for value, _ in made[-1].taken] == [1.0, 2.0]


@pytest.mark.parametrize("make", [partial(Novelty, memory=400), Drift, Rarity], ids=["novelty", "drift", "rarity"])
def test_after_a_restart_it_judges_as_if_it_had_never_stopped(make: object) -> None:
    def value(i: int) -> float:
        return 20 + 3 * math.sin(i / 7) + 0.3 * math.sin(i * 2.1) + (5 if i > 690 else 0)

    whole, _ = following(make, kept=2000)
    stopped, _ = following(make, kept=2000)
    for i in range(650):
        whole.take([window([value(i)], i)])
        stopped.take([window([value(i)], i)])
    again, _ = following(make, kept=2000)
    again.restore(stopped.save())
    for i in range(650, 720):
        assert again.take([window([value(i)], i)]) == whole.take([window([value(i)], i)])
    assert not again.due
    again.refit()


def test_what_was_learnt_of_something_else_is_refused() -> None:
    subject, _ = following()
    subject.take([window([1.0], 1)])
    other = Following(tag="hx/u", period_s=10.0, make=Pupil, kept=10)
    with pytest.raises(ValueError, match="it was learnt of 'hx/t/pupil'"):
        other.restore(subject.save())
    with pytest.raises(ValueError, match="something else"):
        subject.restore(b"no")
    empty, _ = following()
    subject.restore(empty.save())
    assert len(subject.take([window([1.0], 1)])) == 1

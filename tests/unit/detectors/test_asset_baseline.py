"""What is usual for an asset is learnt from its normal operation, and told where it leaves that."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.asset_baseline import AssetBaseline
from detectors.records import Verdict, Window

T0 = datetime(2026, 1, 1, tzinfo=UTC)
TAGS = ("plant/flow", "plant/current", "plant/warmth")
LEARN = 300
HISTORY = 32


def course(steps: int, seed: int = 0) -> np.ndarray:
    """Flow and current belong together, and the warmth drifts with the hours."""
    dice = np.random.default_rng(seed)
    load = dice.normal(0, 1, steps)
    flow = 100 + load + dice.normal(0, 0.2, steps)
    current = 12 + 0.5 * load + dice.normal(0, 0.1, steps)
    warmth = 40 + 5 * np.sin(np.arange(steps) / 60) + dice.normal(0, 0.1, steps)
    return np.column_stack([flow, current, warmth])


def windows(rows: np.ndarray, step: int, *, normal: bool = True) -> list[Window]:
    held = rows[max(step + 1 - HISTORY, 0) : step + 1]
    marks = () if normal else (True,) * (len(held) - 1) + (False,)
    at = T0 + timedelta(seconds=10 * step)
    return [
        Window(tag=tag, period_s=10.0, end_at=at, values=tuple(column), normal=marks)
        for tag, column in zip(TAGS, held.T.tolist(), strict=True)
    ]


def baseline(**changes: object) -> AssetBaseline:
    settings = {"name": "asset/plant", "tags": TAGS, "period_s": 10.0, "learn_steps": LEARN} | changes
    return AssetBaseline(**{"rules": ("shift", "components"), **settings})  # type: ignore[arg-type] # all of them are right


def play(
    judge: AssetBaseline, rows: np.ndarray, first: int, end: int, standing: frozenset[str] = frozenset()
) -> list[list[Verdict]]:
    found = []
    for step in range(first, end):
        found.append(judge.take(windows(rows, step), standing=standing))
        if judge.due:
            judge.refit()
    return found


def test_nothing_is_judged_before_enough_was_learnt() -> None:
    rows = course(LEARN + 20)
    judge = baseline()
    assert not any(play(judge, rows, 0, LEARN))
    assert judge.lacking == 0
    after = play(judge, rows, LEARN, LEARN + 20)
    assert all(after)
    assert {(v.tag, v.rule) for v in after[-1]} == {
        ("plant/flow", "shift"),
        ("plant/current", "shift"),
        ("asset/plant", "components"),
    }, "a tag that drifts is left out"


def test_what_is_normal_stays_below_the_edge_and_a_level_that_moved_is_told_with_its_tag() -> None:
    rows = course(LEARN + 400)
    rows[LEARN + 300 :, 0] -= 4
    judge = baseline()
    play(judge, rows, 0, LEARN)
    quiet = play(judge, rows, LEARN, LEARN + 300)
    assert max(v.score for verdicts in quiet for v in verdicts) < 1.5
    last = play(judge, rows, LEARN + 300, LEARN + 320)[-1]
    scores = {v.rule: v for v in last if v.score > 1}
    assert set(scores) == {"shift", "components"}
    assert scores["shift"].tag == "plant/flow"
    assert scores["components"].facts is not None
    assert "plant/flow" in [part.tag for part in scores["components"].facts.parts]


def test_a_relation_that_breaks_is_told_though_each_tag_is_where_it_was() -> None:
    rows = course(LEARN + 100)
    rows[LEARN + 50 :, 0] += 0.9
    rows[LEARN + 50 :, 1] -= 0.45
    judge = baseline()
    play(judge, rows, 0, LEARN + 50)
    last = play(judge, rows, LEARN + 50, LEARN + 70)[-1]
    assert {v.rule for v in last if v.score > 1} == {"components"}


def test_a_fault_does_not_become_normal_while_its_alarm_stands_and_does_once_it_is_accepted() -> None:
    rows = course(LEARN + 5000)
    rows[LEARN:, 0] -= 8
    judge = baseline()
    play(judge, rows, 0, LEARN)
    standing = frozenset({"plant/flow/shift"})
    far = [v.score for v in play(judge, rows, LEARN + 20, LEARN + 2000, standing)[-1] if v.rule == "shift"]
    assert max(far) > 3
    accepted = [v.score for v in play(judge, rows, LEARN + 2000, LEARN + 4500)[-1] if v.rule == "shift"]
    assert max(accepted) < 1


def test_a_step_in_alarm_is_not_learnt_from() -> None:
    rows = course(LEARN + 10)
    judge = baseline()
    play(judge, rows, 0, 200)
    before = judge.lacking
    for step in range(200, 230):
        judge.take(windows(rows, step, normal=False))
    assert judge.lacking == before


def test_a_moment_whose_tags_come_one_after_the_other_is_judged_once_and_whole() -> None:
    rows = course(LEARN + 30)
    whole, parted = baseline(), baseline()
    play(whole, rows, 0, LEARN)
    play(parted, rows, 0, LEARN)
    for step in range(LEARN, LEARN + 30):
        expected = whole.take(windows(rows, step))
        one, *others = windows(rows, step)
        assert parted.take([one]) == []
        assert parted.take(others) == expected


def test_a_tag_that_is_missing_does_not_silence_the_others() -> None:
    rows = course(LEARN + 60)
    rows[LEARN + 20 :, 1] = math.nan
    judge = baseline()
    play(judge, rows, 0, LEARN + 20)
    last = play(judge, rows, LEARN + 20, LEARN + 50)[-1]
    assert {(v.tag, v.rule) for v in last} == {("plant/flow", "shift"), ("asset/plant", "components")}


def test_steps_that_were_missed_are_made_up_from_the_windows() -> None:
    rows = course(LEARN + 200)
    every, some = baseline(), baseline()
    play(every, rows, 0, LEARN + 200)
    for step in range(4, LEARN + 200, 5):
        last = some.take(windows(rows, step))
        if some.due:
            some.refit()
    assert every.save() == some.save()
    assert last


def test_what_was_learnt_goes_on_after_a_restart() -> None:
    rows = course(LEARN + 100)
    judge, again = baseline(), baseline()
    play(judge, rows, 0, LEARN + 20)
    again.restore(judge.save())
    assert again.due, "the fit follows from what is known"
    again.refit()
    found = again.take(windows(rows, LEARN + 20))
    expected = judge.take(windows(rows, LEARN + 20))
    assert [(v.tag, v.rule) for v in found] == [(v.tag, v.rule) for v in expected]
    assert np.allclose([v.score for v in found], [v.score for v in expected], atol=0.2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"tags": TAGS[:2]}, "other tags"), ({"period_s": 20.0}, "other tags"), ({"learn_steps": 200}, "length")],
)
def test_what_was_learnt_of_something_else_is_refused(changes: dict[str, object], said: str) -> None:
    judge = baseline()
    play(judge, course(250), 0, 250)
    with pytest.raises(ValueError, match=said):
        baseline(**changes).restore(judge.save())
    with pytest.raises(ValueError, match="something else"):
        judge.restore(b"no")


def test_windows_of_other_tags_and_periods_are_passed_over() -> None:
    judge = baseline()
    rows = course(50)
    other = [replace(window, tag="plant/other") for window in windows(rows, 40)]
    slower = [replace(window, period_s=60.0) for window in windows(rows, 40)]
    assert judge.take([*other, *slower]) == []
    assert judge.lacking == LEARN


def test_where_everything_stands_still_nothing_is_judged() -> None:
    rows = np.tile([1.0, 2.0, 3.0], (LEARN + 40, 1))
    judge = baseline()
    assert not any(play(judge, rows, 0, LEARN + 40))


@pytest.mark.parametrize("changes", [{"tags": ()}, {"rules": ()}, {"rules": ("other",)}, {"learn_steps": 20}])
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="baseline of asset/plant: expected"):
        baseline(**changes)


def test_after_the_clock_was_set_back_it_judges_on_and_has_forgotten_nothing() -> None:
    rows = course(LEARN + 100)
    judge = baseline()
    play(judge, rows, 0, LEARN + 50)
    set_back = [replace(window, end_at=window.end_at - timedelta(hours=1)) for window in windows(rows, LEARN + 50)]
    assert judge.lacking == 0
    assert {verdict.at for verdict in judge.take(set_back)} == {set_back[0].end_at}

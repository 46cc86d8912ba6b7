"""What of a history is learnt, what is kept to judge by, and what is said where there is too little of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.evaluation.backtest import Series
from detectors.language.codec import Grid
from detectors.training.dataset import PARTS, DatasetError, Recipe, prepare

T0 = datetime(2026, 1, 1, tzinfo=UTC)
RECIPE = Recipe(context=32, min_context=8)


def series(values: np.ndarray, tag: str = "hx/t") -> Series:
    return Series(tag=tag, period_s=60.0, start_at=T0, values=values)


def wave(steps: int = 4000, seed: int = 0) -> np.ndarray:
    return 20 + np.sin(np.arange(steps) / 5) + np.random.default_rng(seed).normal(0, 0.05, steps)


def test_the_parts_follow_each_other_in_time_with_a_context_between_them() -> None:
    data = prepare([[series(wave())]], RECIPE)
    spans = {
        part: (min(t.begin for t in data.parts[part]), max(t.begin + len(t.cells) for t in data.parts[part]))
        for part in PARTS
    }
    assert spans["learn"][1] + RECIPE.context <= spans["tune"][0]
    assert spans["tune"][1] + RECIPE.context <= spans["judge"][0]
    assert spans["judge"][1] <= 4000
    assert data.tags == ("hx/t",)


def test_each_value_that_judges_does_so_once_and_a_text_says_what_the_values_were() -> None:
    values = wave()
    data = prepare([[series(values)]], RECIPE)
    judged = [text.begin + k for text in data.parts["judge"] for k in range(text.known, len(text.cells))]
    assert len(judged) == len(set(judged))
    for text in (text for part in PARTS for text in data.parts[part]):
        grid = Grid(low=text.low, cell=text.cell)
        found = [grid.decode(cell) for cell in text.cells]
        assert np.allclose(found, values[text.begin : text.begin + len(text.cells)], atol=text.cell)
        assert RECIPE.min_context <= text.known < len(text.cells) <= RECIPE.context


def test_texts_to_learn_share_no_more_than_was_said() -> None:
    data = prepare([[series(wave())]], replace(RECIPE, overlap=0.25))
    begins = sorted(text.begin for text in data.parts["learn"])
    assert min(b - a for a, b in itertools.pairwise(begins) if b > a) >= 0.75 * RECIPE.context - 8
    (share,) = data.shares
    assert share.repeats < 1.4


def test_what_was_in_alarm_or_excluded_or_missing_is_in_no_text() -> None:
    values = wave()
    values[500:520] = np.nan
    out = (T0 + timedelta(minutes=1000), T0 + timedelta(minutes=1300))
    alarm = (T0 + timedelta(minutes=3500), T0 + timedelta(minutes=3600))
    data = prepare([[series(values)]], replace(RECIPE, excluded=(out,), alarms={"hx/t": (alarm,), "hx/u": (out,)}))
    steps = {text.begin + k for part in PARTS for text in data.parts[part] for k in range(len(text.cells))}
    assert not steps & {*range(500, 520), *range(1000, 1300), *range(3500, 3600)}
    (share,) = data.shares
    assert (share.holes, share.left_out) == (20, 400)


def test_tags_that_nothing_can_be_learnt_of_are_named_and_the_others_go_on() -> None:
    constant, empty = np.full(4000, 5.0), np.full(4000, np.nan)
    data = prepare([[series(wave()), series(constant, "hx/c"), series(empty, "hx/e")]], RECIPE)
    assert data.tags == ("hx/t",)
    assert [line.split(":")[0] for line in data.left_out] == ["hx/c", "hx/e"]
    assert "never changes (5)" in data.left_out[0]


@pytest.mark.parametrize(
    ("values", "alarms", "said"),
    [
        (
            np.full(4000, 5.0),
            (),
            "expected at least one tag that can be learnt, found none: hx/t: the value never changes",
        ),
        (wave(200), (), "more steps of each tag are missing"),
        (wave(20), (), "expected at least 16 steps in a row to learn from"),
        (wave(), ((T0, T0 + timedelta(days=9)),), "every step with a value is in alarm or excluded"),
    ],
)
def test_too_little_is_said_with_how_much_is_missing(values: np.ndarray, alarms: tuple, said: str) -> None:
    with pytest.raises(DatasetError, match=r".*") as raised:
        prepare([[series(values)]], replace(RECIPE, alarms={"hx/t": alarms}))
    assert said in str(raised.value)


@pytest.mark.parametrize("changes", [{"min_context": 40}, {"tune": 0.0}, {"tune": 0.5, "judge": 0.5}, {"overlap": 1.0}])
def test_recipes_that_make_no_sense_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match="recipe: expected"):
        replace(RECIPE, **changes)

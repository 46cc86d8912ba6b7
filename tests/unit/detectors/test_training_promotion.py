"""A challenger is promoted only if it is better for sure, and on no tag worse than the margin."""

from __future__ import annotations

import re

import numpy as np
import pytest

from detectors.training.promotion import Block, Margins, judge


def blocks(tag: str, gain: float, *, count: int = 20, spread: float = 0.05, seed: int = 0) -> list[Block]:
    dice = np.random.default_rng([seed, len(tag)])
    champion = 5 + dice.normal(0, 0.3, count)
    gains = gain + dice.normal(0, spread, count)
    return [
        Block(tag=tag, values=90, champion=float(c), challenger=float(c - g))
        for c, g in zip(champion, gains, strict=True)
    ]


def test_one_that_is_better_on_every_tag_is_promoted() -> None:
    trial = judge([*blocks("a", 0.3), *blocks("bb", 0.1)], {"a": (1.0, 0.9), "bb": (2.0, 1.9)})
    assert trial.promoted
    assert trial.gain == pytest.approx(0.2, abs=0.03)
    assert trial.chance < 0.001
    assert trial.pinball == pytest.approx(np.sqrt(0.9 * 0.95))


def test_one_that_wins_on_the_mean_and_loses_on_a_tag_is_refused_with_that_tag() -> None:
    trial = judge([*blocks("a", 0.5), *blocks("bb", 0.4), *blocks("ccc", -0.1)])
    assert trial.gain > 0.2
    assert trial.chance < 0.001
    (objection,) = trial.objections
    assert re.fullmatch(r"it loses 0\.(09|10|11)\d nats per value on ccc \(0\.02 allowed\)", objection)


def test_one_that_is_worse_is_refused_and_by_how_much_is_said() -> None:
    trial = judge([*blocks("a", -0.2), *blocks("bb", 0.01)])
    assert not trial.promoted
    assert trial.objections[0].startswith("it is worse on the held-out values: by 0.09")


def test_a_gain_that_may_be_chance_is_no_gain() -> None:
    trial = judge(blocks("a", 0.02, count=8, spread=0.5, seed=3))
    assert trial.gain > 0
    assert len(trial.objections) == 1
    assert "may be chance" in trial.objections[0]


def test_better_odds_with_worse_forecasts_are_refused() -> None:
    both = [*blocks("a", 0.3), *blocks("bb", 0.3)]
    trial = judge(both, {"a": (1.0, 0.7), "bb": (1.0, 1.2)})
    assert [one.split(" is ")[0] for one in trial.objections] == ["its pinball loss on bb"]
    trial = judge(both, {"a": (1.0, 1.04), "bb": (1.0, 1.04)})
    assert "its forecasts are worse" in trial.objections[0]
    assert judge(both, {"a": (1.0, 1.04), "bb": (1.0, 1.04)}, Margins(whole=1.1)).promoted


def test_the_chance_of_a_gain_is_what_it_says() -> None:
    """Where the two are alike, a chance below a tenth comes up in a tenth of the trials."""
    chances = [judge(blocks("a", 0.0, count=12, seed=seed)).chance for seed in range(120)]
    assert 0.03 < np.mean(np.array(chances) < 0.1) < 0.2


def test_one_block_is_no_trial() -> None:
    with pytest.raises(ValueError, match="at least 2 blocks"):
        judge(blocks("a", 1.0, count=1))

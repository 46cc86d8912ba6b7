"""Who can be named, and that nobody who is named looks ahead."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from detectors.evaluation.backtest import Plan, Series, backtest
from stream.meter import ProcessMeter
from stream.roster import Roster, RosterError

START = datetime(2026, 1, 1, tzinfo=UTC)
PAST, FUTURE = 120, 24


def test_every_member_has_the_name_it_is_called_by_or_none_other_than_its_own() -> None:
    roster = Roster()
    made = [roster.make(name) for name in (*roster.members, "panel")]
    assert len({one.name for one in made}) == len(made)
    assert set(roster.quick) <= set(roster.names)


def test_a_name_that_nobody_has_is_answered_with_all_that_there_are() -> None:
    with pytest.raises(RosterError, match=r"expected one of persistence, .*, found 'oracle'"):
        Roster().make("oracle")


@pytest.mark.parametrize("name", [*Roster().members, "panel"])
def test_another_future_changes_no_forecast_made_before_it(name: str) -> None:
    random = np.random.default_rng(3)
    steps = np.arange(PAST + FUTURE)
    values = 20 + 5 * np.sin(2 * np.pi * steps / 24) + random.normal(0, 0.3, len(steps))
    shuffled = np.concatenate([values[:PAST], random.permutation(values[PAST:]) * 10])
    plan = Plan(horizon=4, first=PAST, stride=4, warm_up=12, refit_every=3)
    first, second = (
        backtest(
            [Series(tag="plant/outlet", period_s=3600.0, start_at=START, values=one)],
            Roster().make(name),
            plan,
            meter=ProcessMeter(),
        )[0].quantiles
        for one in (values, shuffled)
    )
    assert np.array_equal(first[0], second[0]), "made before anything of the future was known"
    assert not np.array_equal(first[1], second[1]), "made when some of it was"

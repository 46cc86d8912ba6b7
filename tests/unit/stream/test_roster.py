"""Who can be named, and that nobody who is named looks ahead."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from detectors.evaluation.backtest import Plan, Series, backtest
from stream.meter import ProcessMeter
from stream.model.roster import Roster, RosterError

if TYPE_CHECKING:
    from detectors.forecasters.forecaster import Forecaster

START = datetime(2026, 1, 1, tzinfo=UTC)
PAST, FUTURE = 120, 24


def quick(name: str) -> Forecaster:
    """A forecaster by name, the panel without those members that take seconds to fit."""
    roster = Roster()
    if name != "panel":
        return roster.make(name)
    return roster.panel([roster.make(other) for other in roster.quick if other != "panel"])


def test_every_member_has_the_name_it_is_called_by_or_none_other_than_its_own() -> None:
    roster = Roster()
    made = [roster.make(name) for name in (*roster.members, "panel")]
    assert len({one.name for one in made}) == len(made)
    assert set(roster.quick) <= set(roster.names)


def test_what_is_not_installed_is_no_member_and_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(RosterError, match=r"expected the package statsforecast, found none .* 'givre\[panel\]'"):
        Roster().make("arima")
    monkeypatch.setattr("stream.extra.find_spec", lambda _name: None)
    assert "arima" not in Roster().members


def test_a_name_that_nobody_has_is_answered_with_all_that_there_are() -> None:
    with pytest.raises(RosterError, match=r"expected one of persistence, .*, found 'oracle'"):
        Roster().make("oracle")


@pytest.mark.parametrize("name", Roster().quick)
def test_another_future_changes_no_forecast_made_before_it(name: str) -> None:
    random = np.random.default_rng(3)
    steps = np.arange(PAST + FUTURE)
    values = 20 + 5 * np.sin(2 * np.pi * steps / 24) + random.normal(0, 0.3, len(steps))
    shuffled = np.concatenate([values[:PAST], random.permutation(values[PAST:]) * 10])
    plan = Plan(horizon=4, first=PAST, stride=4, warm_up=12, refit_every=3)
    first, second = (
        backtest(
            [Series(tag="plant/outlet", period_s=3600.0, start_at=START, values=one)],
            quick(name),
            plan,
            meter=ProcessMeter(),
        )[0].quantiles
        for one in (values, shuffled)
    )
    assert np.array_equal(first[0], second[0]), "made before anything of the future was known"
    assert not np.array_equal(first[1], second[1]), "made when some of it was"

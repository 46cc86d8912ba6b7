from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from detectors.evaluation.backtest import Cost, Plan, Series, backtest
from detectors.forecasters.persistence import Persistence
from detectors.records import LEVELS, Forecast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detectors.records import Window

START = datetime(2026, 1, 1, tzinfo=UTC)


class FreeMeter:
    def measure(self, call: Callable[[], Any]) -> tuple[Any, Cost]:
        return call(), Cost(seconds=0.5, memory_bytes=3)


class Pupil:
    """Says the sum of all it was ever taught, and writes down what it was asked."""

    name = "pupil"

    def __init__(self) -> None:
        self.taught: dict[str, list[float]] = {}
        self.ends: dict[str, Any] = {}
        self.fits: list[tuple[str, int]] = []
        self.asked: list[int] = []

    def learn(self, windows: Sequence[Window]) -> None:
        for window in windows:
            known = self.taught.setdefault(window.tag, [])
            end = self.ends.get(window.tag)
            new = len(window.values) if end is None else round((window.end_at - end).total_seconds() / window.period_s)
            assert new <= len(window.values), "a gap between two lessons"
            known.extend(window.values[len(window.values) - new :])
            self.ends[window.tag] = window.end_at

    def refit(self, tag: str) -> None:
        self.fits.append((tag, len(self.taught[tag])))

    @property
    def due(self) -> tuple[str, ...]:
        """Wants to be fitted once eight values are new."""
        fitted = dict(self.fits)
        return tuple(tag for tag, known in self.taught.items() if len(known) - fitted.get(tag, 0) >= 8)

    def save(self) -> bytes:
        return b""

    def restore(self, saved: bytes) -> None:
        pass

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        self.asked.append(len(windows[0].values))
        return [
            Forecast(
                tag=window.tag,
                forecaster=self.name,
                made_at=window.end_at,
                period_s=window.period_s,
                quantiles=((float(np.nansum(self.taught[window.tag])),) * len(LEVELS),) * horizon,
            )
            for window in windows
        ]


def series(values: Sequence[float], tag: str = "cooler/outlet") -> Series:
    return Series(tag=tag, period_s=60.0, start_at=START, values=np.array(values, dtype=np.float64))


def test_forecasts_stand_against_what_came_after_them() -> None:
    (run,) = backtest([series(range(10))], Persistence(), Plan(horizon=3, first=5, stride=2), meter=FreeMeter())
    assert run.origins == (4, 6)
    assert run.measured.tolist() == [[5, 6, 7], [7, 8, 9]]
    assert run.quantiles.shape == (2, 3, len(LEVELS))
    assert run.given == 2
    assert run.costs == (Cost(seconds=0.5, memory_bytes=3),) * 2


def test_one_shot_is_one_origin_at_the_end_of_what_is_known() -> None:
    plan = Plan(horizon=4, first=6, one_shot=True)
    (run,) = backtest([series(range(10))], Persistence(), plan, meter=FreeMeter())
    assert run.origins == (5,)
    assert run.measured.tolist() == [[6, 7, 8, 9]]


@pytest.mark.parametrize("make", [Persistence, Pupil])
@pytest.mark.parametrize("context", [0, 7])
def test_another_future_changes_no_forecast_made_before_it(make: type, context: int) -> None:
    random = np.random.default_rng(1)
    past, future = random.normal(size=60).cumsum(), random.normal(size=40).cumsum()
    shuffled = random.permutation(future) * 100
    plan = Plan(horizon=6, first=60, stride=3, warm_up=12, refit_every=2, context=context)
    told = [
        backtest([series([*past, *then])], make(), plan, meter=FreeMeter())[0].quantiles for then in (future, shuffled)
    ]
    assert np.array_equal(told[0][0], told[1][0]), "the first origin knows of the past alone"
    # Each later origin knows the future up to itself and no further.
    for nth in range(1, len(told[0])):
        known = 3 * nth
        mixed = [*past, *future[:known], *shuffled[known:]]
        again = backtest([series(mixed)], make(), plan, meter=FreeMeter())[0].quantiles
        assert np.array_equal(again[: nth + 1], told[0][: nth + 1])
        assert not np.array_equal(again[nth + 1 :], told[0][nth + 1 :]) or nth + 1 == len(again)


def test_a_learner_is_taught_every_value_once_and_fitted_when_it_is_time() -> None:
    pupil = Pupil()
    plan = Plan(horizon=1, first=20, stride=3, warm_up=6, refit_every=2, context=2)
    backtest([series(range(30))], pupil, plan, meter=FreeMeter())
    # Origins 13 and 16 warm it up; 19, 22, 25, 28 are scored.
    assert pupil.taught["cooler/outlet"] == list(range(29))
    assert [count for _, count in pupil.fits] == [14, 20, 26]
    assert set(pupil.asked) == {2}


def test_a_learner_is_fitted_when_it_is_due_as_it_would_be_live() -> None:
    pupil = Pupil()
    backtest([series(range(40))], pupil, Plan(horizon=1, first=20, stride=3, refit_every=None), meter=FreeMeter())
    assert [count for _, count in pupil.fits] == [20, 29, 38]


def test_no_lesson_has_more_new_steps_than_a_horizon() -> None:
    class Counting(Pupil):
        def learn(self, windows: Sequence[Window]) -> None:
            before = len(self.taught.get("cooler/outlet", ()))
            super().learn(windows)
            lessons.append(len(self.taught["cooler/outlet"]) - before)

    lessons: list[int] = []
    pupil = Counting()
    backtest([series(range(100))], pupil, Plan(horizon=4, first=60, stride=10), meter=FreeMeter())
    assert lessons == [60, *(4, 4, 2) * 3]


def test_warming_up_is_not_scored() -> None:
    (run,) = backtest([series(range(30))], Pupil(), Plan(horizon=1, first=20, warm_up=6), meter=FreeMeter())
    assert run.origins[0] == 19


def test_series_on_one_grid_are_asked_of_together() -> None:
    group = [series(range(12), "a/x"), series(range(12, 24), "a/y")]
    runs = backtest(group, Persistence(), Plan(horizon=2, first=8), meter=FreeMeter())
    assert [run.series.tag for run in runs] == ["a/x", "a/y"]
    assert runs[1].measured[0].tolist() == [20, 21]


def test_series_on_different_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="one grid"):
        backtest(
            [series(range(12), "a/x"), series(range(11), "a/y")],
            Persistence(),
            Plan(horizon=2, first=8),
            meter=FreeMeter(),
        )


@pytest.mark.parametrize(
    "plan",
    [
        Plan(horizon=0, first=5),
        Plan(horizon=6, first=5),
        Plan(horizon=1, first=0),
        Plan(horizon=1, first=11),
        Plan(horizon=1, first=5, stride=0),
    ],
)
def test_a_plan_without_an_origin_is_refused(plan: Plan) -> None:
    with pytest.raises(ValueError, match="backtest: expected a horizon"):
        backtest([series(range(10))], Persistence(), plan, meter=FreeMeter())


def test_no_forecast_is_a_row_of_nothing() -> None:
    values = [np.nan] * 8 + [1.0, 2.0, 3.0, 4.0]
    (run,) = backtest([series(values)], Persistence(), Plan(horizon=1, first=6), meter=FreeMeter())
    assert run.given == 3
    assert np.isnan(run.quantiles[:3]).all()
    assert np.isnan(run.measured[0, 0])


def test_progress_ends_at_one() -> None:
    shares: list[float] = []
    backtest([series(range(12))], Persistence(), Plan(horizon=2, first=8), meter=FreeMeter(), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0

"""What is read and forecast now? A model lane of known costs, followed through many steps."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.records import Window
from stream.model.schedule import TURN_S, Schedule, Spent, Turn

T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Plant:
    """Tags whose steps close in time, and a model lane whose turns take what they cost."""

    def __init__(
        self,
        periods: dict[str, float],
        *,
        score_s: float,
        forecast_s: float,
        begin_s: float = 0.0,
        step_s: float = 1e-6,
        horizon: int = 12,
        reads: bool = True,
    ) -> None:
        self.now = 0.0
        self.periods = periods
        self.cost = [score_s, forecast_s, begin_s, step_s]
        self.schedule = Schedule(rank={tag: i for i, tag in enumerate(periods)}, horizon=horizon, reads=reads)
        self.closed: dict[str, int] = dict.fromkeys(periods, 0)
        self.scored: Counter[str] = Counter()
        self.forecast: Counter[str] = Counter()
        self.stepped: Counter[str] = Counter()
        self.read_at: dict[str, int] = {}
        self.late: float = 0.0
        self.longest_turn = 0.0

    def close(self) -> list[Window]:
        out = []
        for tag, period in self.periods.items():
            step = math.floor(self.now / period + 1e-9)
            if step > self.closed[tag]:
                self.closed[tag] = step
                out.append(
                    Window(tag=tag, period_s=period, end_at=T0 + timedelta(seconds=step * period), values=(1.0,))
                )
        return out

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.schedule.offer(self.close())
            turn = self.schedule.turn(self.now)
            if turn:
                self.take(turn)
            else:
                self.now += 0.01

    def take(self, turn: Turn) -> None:
        begun = [w.tag for w in turn.read if w.tag not in self.read_at]
        scored = 0
        for window in turn.read:
            step = round((window.end_at - T0).total_seconds() / window.period_s)
            if window.tag in self.read_at:
                scored += step - self.read_at[window.tag]
                self.scored[window.tag] += step - self.read_at[window.tag]
            self.read_at[window.tag] = step
        read_s = scored * self.cost[0] + len(begun) * self.cost[2]
        forecast_s = len(turn.forecast) * self.cost[1]
        step_s = len(turn.step) * self.cost[3]
        self.now += read_s + forecast_s + step_s + 1e-4
        self.longest_turn = max(self.longest_turn, read_s + forecast_s + step_s)
        self.forecast.update(w.tag for w in turn.forecast)
        self.stepped.update(w.tag for w in turn.step)
        assert {w.tag for w in turn.forecast} <= {w.tag for w in turn.step}, "what the model says reaches the panel"
        assert {w.tag for w in turn.forecast} <= self.read_at.keys(), "nothing is forecast that was not read"
        self.schedule.done(turn, Spent(read_s, forecast_s, step_s, scored, len(turn.forecast), len(turn.step)))


def tags(count: int, period_s: float = 1.0) -> dict[str, float]:
    return {f"x/{i:03d}": period_s for i in range(count)}


def test_with_time_enough_every_tag_is_read_and_forecast_at_every_step() -> None:
    plant = Plant(tags(5), score_s=0.005, forecast_s=0.05, begin_s=0.2)
    plant.run(100)
    assert min(plant.scored.values()) >= 95
    assert min(plant.forecast.values()) >= 90
    assert (plant.schedule.unscored, plant.schedule.thinned) <= (10, 30)
    assert plant.schedule.pace(plant.now) == (True, "every tag is read and forecast at every step")


def test_forecasts_are_thinned_before_a_single_value_goes_unscored() -> None:
    plant = Plant(tags(5), score_s=0.014, forecast_s=0.7, begin_s=0.3)
    plant.run(300)
    assert min(plant.scored.values()) >= 290
    assert plant.schedule.unscored <= 15, "while the texts are begun"
    counts = plant.forecast.values()
    assert max(counts) - min(counts) <= 2, "they take turns"
    assert 40 <= min(counts) <= 90
    assert plant.schedule.thinned >= 5 * 300 - sum(counts) - 30
    assert plant.longest_turn <= TURN_S + 0.5, "and what waited to be read meanwhile"
    ok, said = plant.schedule.pace(plant.now)
    assert ok
    assert (
        said
        == "every tag is read at every step and forecast by the language model about every 4 steps: that takes 0.7 s a tag"
    )


def test_forecasts_that_do_not_reach_from_one_to_the_next_are_a_fault() -> None:
    plant = Plant(tags(5), score_s=0.014, forecast_s=0.7, begin_s=0.3, horizon=3)
    plant.run(100)
    assert not plant.schedule.pace(plant.now)[0]


def test_where_not_even_reading_fits_the_lowest_priorities_go_first() -> None:
    plant = Plant(tags(100), score_s=0.02, forecast_s=0.7, begin_s=0.3)
    plant.run(400)
    scored = [plant.scored[tag] for tag in plant.periods]
    assert min(scored[:32]) >= 250, "the first 32 fit, and are all read once they are begun"
    assert max(scored[50:]) <= 60, "the last ones are left out once it is known what a value costs"
    assert min(plant.stepped[tag] for tag in list(plant.periods)[50:]) >= 300, "but the panel forecasts them"
    ok, said = plant.schedule.pace(plant.now)
    assert not ok
    assert (
        "of 100 tags are scored, those of the highest priority; the language model has no part in the forecasts of the others"
        in said
    )
    assert plant.schedule.unscored > 50 * 300


def test_when_it_catches_up_the_tags_that_were_left_out_are_read_again() -> None:
    plant = Plant(tags(60), score_s=0.03, forecast_s=0.1, begin_s=0.3)
    plant.run(200)
    assert not plant.schedule.pace(plant.now)[0]
    plant.cost[0] = 0.002
    plant.run(300)
    before = Counter(plant.scored)
    plant.run(50)
    assert all(plant.scored[tag] - before[tag] >= 45 for tag in plant.periods)
    assert plant.schedule.pace(plant.now)[0]


@pytest.mark.parametrize("count", [1, 3])
def test_a_machine_that_was_too_slow_to_read_at_all_is_noticed_to_be_fast_again(count: int) -> None:
    plant = Plant(tags(count, 0.5), score_s=0.02, forecast_s=0.1, begin_s=0.1)
    plant.run(20)
    plant.cost[:2] = [0.9, 0.7]
    before = plant.forecast["x/000"]
    plant.run(60)
    assert plant.forecast["x/000"] > before, "forecasts keep a share of the time even then"
    assert not plant.schedule.pace(plant.now)[0] or count == 1
    plant.cost[:2] = [0.02, 0.1]
    plant.run(60)
    scored = Counter(plant.scored)
    plant.run(20)
    assert all(plant.scored[tag] - scored[tag] >= 38 for tag in plant.periods)
    assert plant.schedule.pace(plant.now)[0]


def test_a_slow_tag_beside_fast_ones_is_forecast_soon_after_the_start() -> None:
    plant = Plant({**tags(4), "x/slow": 900.0}, score_s=0.01, forecast_s=0.5, begin_s=0.3)
    plant.now = 900.0
    plant.run(60)
    assert plant.forecast["x/slow"] == 1


def test_a_lost_process_has_read_nothing_and_every_tag_is_still_to_be_forecast() -> None:
    plant = Plant(tags(3), score_s=0.01, forecast_s=0.1, begin_s=0.1)
    plant.run(20)
    plant.now = 21.0
    plant.schedule.offer(plant.close())
    turn = plant.schedule.turn(plant.now, up=False)
    assert (turn.read, turn.forecast) == ((), ())
    assert [w.tag for w in turn.step] == list(plant.periods)
    assert not plant.schedule.turn(plant.now, up=False)
    plant.read_at.clear()
    before = Counter(plant.forecast)
    plant.run(20)
    assert all(plant.forecast[tag] - before[tag] >= 15 for tag in plant.periods)


def test_tags_that_the_model_has_no_room_for_are_the_panels() -> None:
    subject = Schedule(rank={"a": 0, "b": 1}, horizon=3)

    def offer(step: int) -> Turn:
        at = T0 + timedelta(seconds=step)
        subject.offer([Window(tag=tag, period_s=1.0, end_at=at, values=(1.0,)) for tag in "ab"])
        return subject.turn(float(step))

    turn = offer(1)
    subject.done(turn, Spent(0.1, 0.1, 0.001, 0, 1, 2), refused=["b"])
    turn = offer(2)
    assert [w.tag for w in turn.step] == ["a", "b"]
    assert [w.tag for w in turn.read] == ["a"]
    assert subject.pace(2.0) == (
        False,
        "1 of 2 tags are scored, those of the highest priority; the language model has no part in the forecasts of the others",
    )  # fmt: skip


def test_a_replay_has_all_the_time_it_wants() -> None:
    subject = Schedule(rank={}, horizon=3, hurried=False)
    for step in range(1, 5):
        at = T0 + timedelta(seconds=step)
        windows = [Window(tag=tag, period_s=1.0, end_at=at, values=(1.0,)) for tag in ("a", "b")]
        subject.offer(windows)
        turn = subject.turn(0.0)
        assert turn.step == turn.read == turn.forecast == tuple(windows)
        subject.done(turn, Spent(1000.0, 1000.0, 10.0, 2, 2, 2))
        assert subject.idle
        assert not subject.turn(0.0)


def test_the_pace_is_not_said_anew_with_every_breath() -> None:
    plant = Plant(tags(5), score_s=0.01, forecast_s=0.3, begin_s=0.1)
    said = []
    for i in range(300):
        plant.cost[1] = 0.4 + 0.2 * math.sin(i)
        plant.run(1)
        said.append(plant.schedule.pace(plant.now))
    assert sum(a != b for a, b in itertools.pairwise(said)) <= plant.now / 30 + 2


def test_without_a_language_model_the_panel_forecasts_every_step() -> None:
    plant = Plant(tags(20), score_s=0.0, forecast_s=0.0, step_s=0.001, reads=False)
    plant.run(60)
    assert min(plant.stepped.values()) >= 58
    assert not plant.scored
    assert not plant.forecast
    assert plant.schedule.pace(plant.now) == (True, "every tag is forecast at every step")
    assert (plant.schedule.unscored, plant.schedule.thinned, plant.schedule.skipped) == (0, 0, 0)


def test_a_panel_of_too_many_tags_takes_them_in_turns_and_says_so() -> None:
    plant = Plant(tags(3000), score_s=0.0, forecast_s=0.0, step_s=0.001, reads=False)
    plant.run(60)
    counts = plant.stepped.values()
    assert min(counts) >= 18
    assert max(counts) - min(counts) <= 2
    assert plant.schedule.skipped > 3000 * 30
    ok, said = plant.schedule.pace(plant.now)
    assert ok
    assert said == "every tag is forecast about every 4 steps: a step of the panel takes 0.001 s a tag"


def test_the_panel_goes_before_the_language_model() -> None:
    plant = Plant(tags(50), score_s=0.02, forecast_s=0.5, begin_s=0.1, step_s=0.008)
    plant.run(200)
    assert min(plant.stepped.values()) >= 150
    assert min(plant.scored[f"x/{i:03d}"] for i in range(10)) >= 150
    assert plant.scored["x/049"] <= 60
    assert plant.forecast["x/000"] >= 3


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(1, 30),
    score_s=st.floats(0.0001, 0.2),
    forecast_s=st.floats(0.001, 3),
    begin_s=st.floats(0.001, 1),
    period_s=st.sampled_from([0.5, 1.0, 5.0]),
)
def test_whatever_it_costs_the_most_important_tag_is_followed(
    count: int, score_s: float, forecast_s: float, begin_s: float, period_s: float
) -> None:
    plant = Plant(tags(count, period_s), score_s=score_s, forecast_s=forecast_s, begin_s=begin_s)
    plant.run(60 * period_s + 60)
    steps = plant.closed["x/000"]
    if score_s < 0.6 * period_s:
        assert plant.scored["x/000"] >= 0.5 * steps - 20
    assert plant.forecast["x/000"] >= 1
    for tag in plant.periods:
        assert plant.stepped[tag] >= 1


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_a_plant_that_runs_faster_leaves_less_time(speed: float) -> None:
    subject = Schedule(rank={}, horizon=100, speed=speed)
    for step in range(1, 30):
        at = T0 + timedelta(seconds=10 * step)
        subject.offer([Window(tag="a", period_s=10.0, end_at=at, values=(1.0,))])
        for now in (step * 10 / speed, step * 10 / speed + 0.1):
            turn = subject.turn(now)
            subject.done(turn, Spent(0.01, 2.0 * len(turn.forecast), 1e-4, 1, len(turn.forecast), len(turn.step)))
    assert ("every step" in subject.pace(1e9)[1]) == (speed == 1.0) or subject.pace(1e9)[1].endswith("2 s a tag")
    assert (subject.thinned > 5) == (speed == 10.0)

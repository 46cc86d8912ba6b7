"""Which forecaster is to be believed, for this tag and this lead?"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.forecasters.distribution import log_probability
from detectors.forecasters.memory import pack, unpack
from detectors.forecasters.panel import CELL, DOUBT, Panel
from detectors.forecasters.persistence import Persistence
from detectors.forecasters.resolution import spread_and_step
from detectors.forecasters.weighting import bound
from detectors.records import LEVELS, Forecast, Window

START = datetime(2026, 1, 1, tzinfo=UTC)
NORMAL = np.array([-1.6449, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.6449])
MEDIAN = LEVELS.index(0.5)


class Fixed:
    """Expects the last value plus `shift`, give or take `width`; with futures that keep their distance."""

    def __init__(self, name: str, *, shift: float = 0.0, width: float = 1.0, paths: bool = True) -> None:
        self.name = name
        self.shift = shift
        self.width = width
        self.paths = paths
        self.works = True
        self.answers = True
        self.wrong: list[float] | None = None

    def forecast(self, windows, *, horizon: int) -> list[Forecast]:
        if not self.works:
            raise RuntimeError("out of memory")
        if not self.answers:
            return []
        return [self.one(w, horizon) for w in windows if math.isfinite(w.values[-1])]

    def one(self, w: Window, horizon: int) -> Forecast:
        middle = w.values[-1] + self.shift
        row = self.wrong or (middle + self.width * NORMAL).tolist()
        offsets = middle + self.width * np.linspace(-2, 2, 20)
        return Forecast(
            tag=w.tag,
            forecaster=self.name,
            made_at=w.end_at,
            period_s=w.period_s,
            quantiles=(tuple(row),) * horizon,
            paths=tuple((float(x),) * horizon for x in offsets) if self.paths else (),
        )


class Pupil(Fixed):
    """A learner that counts."""

    def __init__(self, name: str, **settings: float) -> None:
        super().__init__(name, **settings)
        self.learnt: list[int] = []
        self.fitted: list[str] = []
        self.due: tuple[str, ...] = ()
        self.fails = False

    def learn(self, windows) -> None:
        if self.fails:
            raise ValueError("no room")
        self.learnt.append(len(windows))

    def refit(self, tag: str) -> None:
        if self.fails:
            raise ArithmeticError("no convergence")
        self.fitted.append(tag)

    def save(self) -> bytes:
        return json.dumps(self.learnt).encode()

    def restore(self, saved: bytes) -> None:
        if saved == b"[]":
            raise ValueError("of another version")
        self.learnt = json.loads(saved)


def window(values, end: int, *, tag: str = "x/a", length: int = 64, normal=()) -> Window:
    """The window of `values` that ends at step `end`."""
    part = values[max(0, end - length + 1) : end + 1]
    at = START + timedelta(minutes=end)
    return Window(tag=tag, period_s=60.0, end_at=at, values=tuple(map(float, part)), normal=tuple(normal))


def run(panel: Panel, values, *, first: int = 10, horizon: int = 3, last: int | None = None) -> list[Forecast]:
    """The panel's forecast at each step."""
    made = []
    for end in range(first, len(values) if last is None else last):
        w = [window(values, end)]
        panel.learn(w)
        made += panel.forecast(w, horizon=horizon)
    return made


def quantiles(made: Forecast) -> np.ndarray:
    return np.array(made.quantiles)


def test_the_panel_comes_to_follow_the_member_that_is_right_for_each_tag() -> None:
    rng = np.random.default_rng(0)
    still, rising = rng.normal(size=80) * 0.1, np.arange(80) + rng.normal(size=80) * 0.1
    panel = Panel([Fixed("still", width=0.1), Fixed("rising", shift=1.0, width=0.1)])
    for end in range(10, 80):
        windows = [window(still, end, tag="x/still"), window(rising, end, tag="x/rising")]
        panel.learn(windows)
        made = panel.forecast(windows, horizon=1)
    assert panel.weights("x/still")["still"][0] > 0.95
    assert panel.weights("x/rising")["rising"][0] > 0.95
    assert quantiles(made[1])[0, MEDIAN] == pytest.approx(rising[-1] + 1, abs=0.05)


def test_each_lead_has_weights_of_its_own() -> None:
    # The value swings with a period of two steps: at lead 2 the last value is right, at lead 1 its opposite.
    values = np.where(np.arange(100) % 2, 5.0, 0.0) + np.random.default_rng(1).normal(size=100) * 0.05

    class Opposite(Fixed):
        def one(self, w, horizon):
            self.shift = 5.0 if w.values[-1] < 2.5 else -5.0
            return super().one(w, horizon)

    panel = Panel([Fixed("same", width=0.2), Opposite("opposite", width=0.2)])
    run(panel, values, horizon=2)
    weights = panel.weights("x/a")
    assert weights["opposite"][0] > 0.95
    assert weights["same"][1] > 0.95


def test_where_forecasts_overlap_each_counts_for_less() -> None:
    panel = Panel([Fixed("a", width=0.5), Fixed("b", width=50.0)], share=1e-9)
    values = np.random.default_rng(20).normal(size=15) * 0.1
    run(panel, values, last=11, horizon=4)
    panel.learn([window(values, 14)])
    odds = [a / b for a, b in zip(*panel.weights("x/a").values(), strict=True)]
    # Four values as likely as each other, one for each lead.
    assert np.log(odds) == pytest.approx(np.log(odds[0]) / np.arange(1, 5), rel=0.1)


def test_the_share_that_is_spread_is_less_where_forecasts_overlap() -> None:
    panel = Panel([Fixed("right"), Fixed("wrong", shift=1e6)], share=0.02)
    run(panel, np.random.default_rng(21).normal(size=120), horizon=4)
    held = np.array(panel.weights("x/a")["wrong"])
    assert held == pytest.approx(0.02 / 2 / np.arange(1, 5), rel=0.3)


@settings(max_examples=25)
@given(
    hnp.arrays(np.float64, st.integers(5, 25), elements=st.floats(-100, 100)),
    st.sampled_from([0.001, 0.05]),
    st.integers(1, 3),
)
def test_on_any_sequence_the_log_loss_is_within_the_bound_of_the_best_member(values, share, lead) -> None:
    """Of the weights as they are on the eve of each value, at each lead: what `weighting` promises, through the whole panel."""
    members = [Fixed("narrow", width=0.5), Fixed("wide", width=30.0), Fixed("rising", shift=2.0)]
    panel = Panel(members, share=share, rate=0.0)
    own, theirs, count = 0.0, np.zeros(3), 0
    for end in range(len(values)):
        w = window(values, end)
        weights = [panel.weights("x/a")[m.name] for m in members]
        panel.learn([w])
        if end >= lead:
            spread, step = spread_and_step([w])[0]
            half = max(CELL * spread, step, abs(values[end]) * 1e-15) / 2
            before = window(values, end - lead)
            rows = np.array([m.one(before, 1).quantiles[0] for m in members])
            logs = log_probability(rows, values[end] - half, values[end] + half, broad=DOUBT)
            own -= float(np.logaddexp.reduce(np.log([held[lead - 1] for held in weights]) + logs))
            theirs -= logs
            count += 1
        panel.forecast([w], horizon=3)
    assert own <= theirs.min() + bound(3, count, share=share / lead, rate=1 / lead) + 1e-6


def test_weights_turn_when_the_plant_does() -> None:
    values = np.concatenate((np.zeros(150), np.arange(1, 31))) + np.random.default_rng(2).normal(size=180) * 0.1
    panel = Panel([Fixed("still", width=0.3), Fixed("rising", shift=1.0, width=0.3)])
    run(panel, values, last=150)
    assert panel.weights("x/a")["still"][0] > 0.95
    run(panel, values, first=150, last=158)
    assert panel.weights("x/a")["rising"][0] > 0.9


def test_a_member_that_takes_turns_is_represented_by_its_later_leads() -> None:
    class Staircase(Fixed):
        def one(self, w, horizon):
            rows = tuple(tuple((w.values[-1] + lead + 0.01 * NORMAL).tolist()) for lead in range(1, horizon + 1))
            return Forecast(tag=w.tag, forecaster=self.name, made_at=w.end_at, period_s=w.period_s, quantiles=rows)

    slow = Staircase("slow")
    panel = Panel([slow], rate=0.0)
    values = [5.0] * 10 + [100.0] * 10
    windows = [window(values, end) for end in range(20)]
    panel.learn(windows[9:10])
    panel.forecast(windows[9:10], horizon=4)
    slow.answers = False
    for later, end in ((1, 10), (2, 11)):
        panel.learn([windows[end]])
        row, step = panel._ledger.locate(windows[end])
        moved = panel._ledger.stand_in(np.array([row]), np.array([step]), 0)[0]
        assert moved[: 4 - later, MEDIAN] == pytest.approx(5.0 + np.arange(later + 1, 5))
        assert np.isnan(moved[4 - later :]).all(), "beyond its last lead it has nothing to say"
        assert panel.forecast([windows[end]], horizon=4) == [], "and alone it cannot speak for all leads"
        [made] = panel.forecast([windows[end]], horizon=4 - later)
        assert quantiles(made)[:, MEDIAN] == pytest.approx(5.0 + np.arange(later + 1, 5), abs=0.01)


def test_while_a_member_sleeps_the_others_speak_and_its_weight_stays() -> None:
    values = np.random.default_rng(3).normal(size=60)
    members = [Fixed("a"), Fixed("b", width=2.0), Fixed("sleeper", width=1.1)]
    panel = Panel(members, share=1e-6)
    run(panel, values, last=30, horizon=2)
    before = panel.weights("x/a")
    members[2].answers = False
    run(panel, values, first=30, last=32, horizon=2)
    asleep = panel.weights("x/a")["sleeper"][0]
    made = run(panel, values, first=32, horizon=2)
    assert panel.weights("x/a")["sleeper"][0] == pytest.approx(asleep, abs=1e-4)
    assert before["sleeper"][0] > 0.1
    assert len(made) == 28


def test_a_member_that_raises_is_left_out_and_named_until_it_works_again() -> None:
    values = np.random.default_rng(4).normal(size=60)
    bad, good = Fixed("bad", shift=50.0), Fixed("good")
    panel = Panel([bad, good])
    bad.works = False
    [made] = run(panel, values, last=11)
    assert panel.faults == {"bad": "forecast: RuntimeError: out of memory"}
    assert quantiles(made)[0, MEDIAN] == pytest.approx(values[10]), "no trace of it"
    bad.works = True
    run(panel, values, first=11, last=12)
    assert panel.faults == {}


@pytest.mark.parametrize(
    "row", [[math.nan] * 7, [math.inf] * 7, [1.0] * 6, [0.0, 1.0, 2.0, math.nan, 4.0, 5.0, 6.0], [1.0] * 8]
)
def test_what_is_no_forecast_is_left_out_and_named(row) -> None:
    bad = Fixed("bad")
    bad.wrong = row
    panel = Panel([bad, Fixed("good")])
    [made] = run(panel, np.arange(12.0), last=11)
    assert quantiles(made)[0, MEDIAN] == pytest.approx(10.0)
    assert panel.faults["bad"].startswith("forecast: expected 3 steps of finite quantiles")


def test_where_all_fail_there_is_no_forecast_and_no_error() -> None:
    members = [Fixed("a"), Fixed("b")]
    panel = Panel(members)
    for member in members:
        member.works = False
    assert run(panel, np.zeros(12)) == []
    assert set(panel.faults) == {"a", "b"}
    assert panel.forecast([], horizon=3) == []


def test_steps_that_are_not_normal_judge_nobody() -> None:
    values = np.random.default_rng(5).normal(size=60)
    with_fault = values.copy()
    with_fault[40:45] = 1000.0
    panels = [Panel([Fixed("a"), Fixed("b", width=3.0)]) for _ in range(2)]
    for panel, series in zip(panels, (values, with_fault), strict=True):
        for end in range(10, 60):
            part = range(max(0, end - 63), end + 1)
            w = [window(series, end, normal=[not 40 <= i < 45 for i in part])]
            panel.learn(w)
            if not 40 <= end < 45:
                panel.forecast(w, horizon=1)
        assert panel.standing("x/a")[0].steps == 43
    # Nobody forecast the first step behind the fault.
    assert panels[0].standing("x/a") == panels[1].standing("x/a")


def test_steps_that_come_together_are_judged_as_one_by_one() -> None:
    values = np.cumsum(np.random.default_rng(6).normal(size=60))
    one, many = (Panel([Fixed("a"), Fixed("b", shift=1.0)]) for _ in range(2))
    for panel, learns in ((one, (30, 31, 32, 33)), (many, (30, 33))):
        for end in learns:
            panel.learn([window(values, end)])
            if end == 30:
                panel.forecast([window(values, end)], horizon=3)
    assert [s.steps for s in one.standing("x/a")] == [s.steps for s in many.standing("x/a")] == [1, 1, 1]
    assert one.weights("x/a")["a"] == pytest.approx(many.weights("x/a")["a"], rel=0.05)


def test_bands_come_to_hold_where_all_members_are_too_sure() -> None:
    values = np.random.default_rng(7).normal(size=900)

    class Zero(Fixed):
        def one(self, w, horizon):
            self.shift = -w.values[-1]
            return super().one(w, horizon)

    panel = Panel([Zero("sure", width=0.3), Zero("surer", width=0.2)])
    made = run(panel, values, horizon=2, last=899)
    for lead in (1, 2):
        rows = np.array([quantiles(m)[lead - 1] for m in made[300 : len(made) - lead]])
        later = values[10 + 300 + lead : 10 + 300 + lead + len(rows)]
        inside80 = ((rows[:, 1] <= later) & (later <= rows[:, 5])).mean()
        assert inside80 == pytest.approx(0.8, abs=0.04)
        assert panel.coverage("x/a")[lead - 1][0] == pytest.approx(inside80, abs=0.05)


def test_coverage_skill_and_weights_are_told_as_plain_records() -> None:
    values = np.arange(60.0) * 3 + np.random.default_rng(8).normal(size=60) * 0.1
    panel = Panel([Persistence(samples=32), Fixed("right", shift=3.0, width=0.1)])
    assert panel.standing("x/a") == ()
    run(panel, values, horizon=2)
    first, second = panel.standing("x/a")
    assert (first.lead, second.lead_s, first.steps, second.steps) == (1, 120.0, 49, 48)
    assert first.at == START + timedelta(minutes=59)
    assert dict(first.weights)["right"] > 0.9
    assert sum(dict(first.weights).values()) == pytest.approx(1.0)
    assert first.skill is not None
    assert 0.8 < first.skill < 1.0
    assert panel.skill("x/a") == (first.skill, second.skill)
    nobody = Panel([Fixed("right", shift=3.0)])
    run(nobody, values, horizon=1)
    assert nobody.skill("x/a") == (None,), "without a yardstick there is no skill"


def test_paths_have_the_published_quantiles_and_the_members_course() -> None:
    panel = Panel([Fixed("low", shift=-1.0, width=0.5), Fixed("high", shift=1.0, width=0.5)], paths=200)
    [made] = run(panel, np.zeros(12), last=11, horizon=4)
    paths = np.array(made.paths)
    assert paths.shape == (200, 4)
    np.testing.assert_allclose(np.quantile(paths, LEVELS, axis=0).T, quantiles(made), atol=0.1)
    assert (np.ptp(paths, axis=1) < 1e-9).all(), "the members' futures hold their level, so do these"


def test_paths_cross_as_those_of_the_members_do() -> None:
    class Crossing(Fixed):
        def one(self, w, horizon):
            offsets = np.linspace(-2, 2, 20)
            paths = tuple((float(x), float(-x), float(x)) for x in offsets)
            return replace(super().one(w, horizon), paths=paths)

    panel = Panel([Crossing("crossing")], paths=50)
    [made] = run(panel, np.zeros(12), last=11)
    first, second, third = np.array(made.paths).T
    assert np.corrcoef(first, second)[0, 1] < -0.95
    assert np.corrcoef(first, third)[0, 1] > 0.95


def test_members_without_paths_take_no_part_in_them() -> None:
    panel = Panel([Fixed("bare", shift=9.0, paths=False), Fixed("drawn")], paths=32)
    [made] = run(panel, np.zeros(12), last=11)
    assert np.array(made.paths).shape == (32, 3)
    [made] = run(Panel([Fixed("bare", paths=False)]), np.zeros(12), last=11)
    assert made.paths == ()


def test_learners_learn_at_each_step_and_are_fitted_when_due() -> None:
    eager, calm = Pupil("eager"), Pupil("calm")
    panel = Panel([eager, calm, Fixed("plain")])
    run(panel, np.zeros(15))
    assert eager.learnt == [1] * 5
    eager.due = ("x/a",)
    assert panel.due == ("x/a",)
    panel.refit("x/a")
    assert (eager.fitted, calm.fitted) == (["x/a"], [])
    panel.refit("x/b")
    assert calm.fitted == ["x/b"], "where none is due, all are meant"


def test_a_learner_that_fails_is_named_and_takes_nothing_down() -> None:
    pupil = Pupil("pupil")
    panel = Panel([pupil, Fixed("good")])
    pupil.fails = True
    assert len(run(panel, np.zeros(12))) == 2
    assert panel.faults == {"pupil": "learn: ValueError: no room"}
    panel.refit("x/a")
    assert "no convergence" in panel.faults["pupil"]
    pupil.fails = False
    panel.refit("x/a")
    run(panel, np.zeros(13), first=12)
    assert panel.faults == {}


def test_a_panel_that_was_saved_goes_on_as_if_nothing_had_been() -> None:
    values = np.cumsum(np.random.default_rng(9).normal(size=80))
    panels = [Panel([Fixed("a", width=0.7), Pupil("b", width=1.5), Persistence(samples=16)]) for _ in range(2)]
    run(panels[0], values, last=60)
    panels[1].restore(panels[0].save())
    assert run(panels[1], values, first=60) == run(panels[0], values, first=60)
    assert panels[0].standing("x/a") == panels[1].standing("x/a")
    assert panels[0].save() == panels[1].save()


def test_members_come_and_go_across_a_restart() -> None:
    values = np.random.default_rng(10).normal(size=60)
    old = Panel([Fixed("gone"), Fixed("kept", width=1.2), Fixed("poor", width=40.0)])
    run(old, values)
    new = Panel([Fixed("poor", width=40.0), Fixed("challenger"), Fixed("kept", width=1.2)])
    new.restore(old.save())
    weights = {name: held[0] for name, held in new.weights("x/a").items()}
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["poor"] < 0.05 < weights["kept"]
    assert weights["challenger"] > 0.2, "it begins with an even weight"
    assert len(run(new, np.concatenate((values, values)), first=60)) == 60


def test_a_member_that_refuses_what_it_saved_begins_anew_and_is_named() -> None:
    panel, other = Panel([Pupil("pupil")]), Panel([Pupil("pupil")])
    other.restore(panel.save())
    assert other.faults == {"pupil": "restore: ValueError: of another version"}


def damaged(change) -> bytes:
    panel = Panel([Fixed("a")])
    run(panel, np.zeros(12))
    about, arrays = unpack("givre panel", 1, panel.save())
    change(about, arrays)
    return pack("givre panel", 1, about, arrays)


@pytest.mark.parametrize(
    "saved",
    [
        b"",
        b"PK nonsense",
        pack("givre panel", 2, {}, {}),
        damaged(lambda about, _: about.pop("names")),
        damaged(lambda about, _: about["tags"][0].update(row=7)),
        damaged(lambda _, arrays: arrays.pop("weights")),
        damaged(lambda _, arrays: arrays.update(weights=np.zeros((1, 9, 9)))),
    ],
)
def test_what_no_panel_saved_is_refused_and_changes_nothing(saved: bytes) -> None:
    panel = Panel([Fixed("a"), Fixed("b", width=3.0)])
    run(panel, np.random.default_rng(11).normal(size=40))
    before = panel.save()
    with pytest.raises(ValueError, match="givre panel: expected"):
        panel.restore(saved)
    assert panel.save() == before


def test_its_memory_does_not_grow() -> None:
    values = np.random.default_rng(12).normal(size=400)
    panel = Panel([Fixed("a"), Fixed("b", width=2.0)])
    run(panel, values, last=40)
    small = len(panel.save())
    run(panel, values, first=40)
    # The number of the last step is written in digits.
    assert len(panel.save()) <= small + 4


def test_a_gap_gives_up_what_was_forecast_and_keeps_whom_to_trust() -> None:
    values = np.random.default_rng(13).normal(size=80)
    panel = Panel([Fixed("a"), Fixed("b", width=30.0)])
    run(panel, values, last=50)
    before, steps = panel.weights("x/a"), panel.standing("x/a")[0].steps
    later = Window(tag="x/a", period_s=60.0, end_at=START + timedelta(days=9, seconds=7), values=(1.0, 2.0, 3.0))
    panel.learn([later])
    assert panel.weights("x/a") == before
    assert panel.standing("x/a")[0].steps == steps
    assert len(panel.forecast([later], horizon=3)) == 1


def test_a_longer_horizon_than_before_keeps_what_was_learnt() -> None:
    values = np.random.default_rng(14).normal(size=80)
    panel = Panel([Fixed("a"), Fixed("b", width=30.0)])
    run(panel, values, last=50, horizon=2)
    [made] = run(panel, values, first=50, last=51, horizon=40)
    assert made.horizon == 40
    assert min(panel.weights("x/a")["a"]) > 0.9
    run(panel, values, first=51, horizon=1)
    assert panel.standing("x/a")[0].steps > 60


def test_a_constant_stays_certain() -> None:
    [*_, made] = run(Panel([Persistence(samples=16), Fixed("exact", width=0.0)]), np.full(60, 5.0))
    assert quantiles(made).tolist() == [[5.0] * 7] * 3
    assert set(np.array(made.paths).ravel().tolist()) == {5.0}


@pytest.mark.parametrize(
    ("members", "settings"), [([], {}), ([Fixed("a"), Fixed("a")], {}), ([Fixed("a")], {"share": 1.0})]
)
def test_impossible_panels_are_refused(members, settings) -> None:
    with pytest.raises(ValueError, match="panel: expected"):
        Panel(members, **settings)


def test_each_value_is_scored_by_what_was_published_one_step_before() -> None:
    rng = np.random.default_rng(7)
    panel = Panel([Fixed("right"), Fixed("off", shift=3.0)], paths=0)
    values = np.cumsum(rng.normal(size=401))
    pits, nats = [], []
    for end in range(1, 401):
        normal = tuple(i % 50 != 0 for i in range(max(end - 20, 0), end))
        latest = tuple(values[max(end - 20, 0) : end])
        window = Window(tag="a", period_s=60.0, end_at=START + timedelta(minutes=end), values=latest, normal=normal)
        panel.learn([window])
        assert len(panel.scores) == (end > 1), "steps that may not be learnt from are scored all the same"
        for score in panel.scores:
            assert (score.tag, score.forecaster, score.at, score.value) == (
                "a",
                "panel",
                window.end_at,
                values[end - 1],
            )
            pits.append(score.pit)
            nats.append(-score.log_score)
        panel.forecast([window], horizon=3)
    assert abs(np.mean(pits[50:]) - 0.5) < 0.05
    assert np.mean(np.array(pits[50:]) < 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(nats[50:]) == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=0.15), (
        "those of a normal density"
    )
    panel.learn([])
    assert panel.scores == ()


def test_several_new_steps_at_once_are_each_scored_if_a_forecast_of_one_step_before_was_published() -> None:
    panel = Panel([Fixed("right")], paths=0)
    first = Window(tag="a", period_s=1.0, end_at=START, values=(0.0, 1.0, 0.0))
    panel.learn([first])
    panel.forecast([first], horizon=3)
    later = Window(tag="a", period_s=1.0, end_at=START + timedelta(seconds=2), values=(0.0, 1.0, 0.0, 1.0, 0.5))
    panel.learn([later])
    assert [(s.at, s.value) for s in panel.scores] == [(START + timedelta(seconds=1), 1.0)]

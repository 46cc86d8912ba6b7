"""A network learns what there is, goes on where it was killed, never sees what judges it, and a harmful one is refused."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from detectors.evaluation.backtest import Series
from detectors.forecasters.persistence import Persistence
from detectors.forecasters.seasonal import SeasonalNaive
from detectors.forecasters.trained import WEIGHTS, Circle, Trained, made_network
from detectors.language.error import ModelError
from detectors.records import LEVELS, Window
from detectors.training import rivalry
from detectors.training.course import courses
from detectors.training.dataset import Dataset, DatasetError, Recipe, prepare
from detectors.training.network import NetworkSettings, NetworkTraining
from detectors.training.promotion import judge
from detectors.training.pupil import Pupil
from detectors.training.rivalry import contend

if TYPE_CHECKING:
    from pathlib import Path

    from detectors.forecasters.trained import Kind

T0 = datetime(2026, 1, 1, tzinfo=UTC)
STEPS, CONTEXT, LEADS = 3000, 32, 12
SETTINGS = NetworkSettings(batch=64, most=60, look_every=20)
MEDIAN = LEVELS.index(0.5)


def plant(*, seed: int = 0) -> list[list[Series]]:
    """A flow that goes its own way, and a temperature that follows it three steps later."""
    random = np.random.default_rng(seed)
    flow = np.repeat(random.normal(5, 1, STEPS // 10), 10) + random.normal(0, 0.02, STEPS)
    temperature = 40 + 3 * np.concatenate((np.full(3, 5.0), flow[:-3])) + random.normal(0, 0.02, STEPS)
    return [
        [
            Series(tag=tag, period_s=60.0, start_at=T0, values=values)
            for tag, values in (("hx/flow", flow), ("hx/t", temperature))
        ]
    ]


def dataset(groups: list[list[Series]], **changes: object) -> Dataset:
    return prepare(groups, Recipe(context=CONTEXT, min_context=8, **changes))  # type: ignore[arg-type] # a test's own


def training(kind: Kind, settings: NetworkSettings = SETTINGS, **changes: object) -> NetworkTraining:
    groups = plant()
    found = courses(kind, groups, dataset(groups), context=CONTEXT, leads=LEADS)
    return NetworkTraining(kind, found, settings, clock=time.monotonic, **changes)  # type: ignore[arg-type] # the same


def windows(groups: list[list[Series]], origin: int) -> list[Window]:
    return [series.window(origin, context=CONTEXT) for group in groups for series in group]


@pytest.fixture(scope="module")
def taught() -> Trained:
    """A graph that has learnt the plant."""
    one = training("graph", replace(SETTINGS, most=250, batch=128))
    for _ in one.run(show=lambda _: None):
        pass
    return one.take_best()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial over fewer steps."""
    monkeypatch.setattr(rivalry, "WARM_UP", 60)
    monkeypatch.setattr(rivalry, "MOST_STEPS", 260)
    monkeypatch.setattr(rivalry, "BLOCK", 32)


@pytest.mark.parametrize("kind", ["recurrent", "graph"])
def test_killed_at_any_step_it_ends_with_the_same_loss(kind: Kind) -> None:
    whole = training(kind)
    for _ in whole.run(show=lambda _: None):
        pass
    assert whole.looks[-1][1] < 0.9 * whole.looks[0][1]
    for killed in (1, 37):
        first, second = training(kind), training(kind)
        for _ in itertools.islice(first.run(show=lambda _: None), killed):
            pass
        second.restore(*first.state())
        assert second.step == killed
        for _ in second.run(show=lambda _: None):
            pass
        assert second.looks[-1] == pytest.approx(whole.looks[-1], abs=1e-6)


def test_a_checkpoint_of_another_training_is_refused() -> None:
    one = training("graph")
    with pytest.raises(ValueError, match="found one of other kind"):
        training("recurrent").restore(*one.state())


def test_the_time_that_there_is_decides_how_many_steps_are_made() -> None:
    ticks = itertools.count()
    groups = plant()
    found = courses("recurrent", groups, dataset(groups), context=CONTEXT, leads=LEADS)
    # Each look at the clock is a second: a step is one, as is the first look.
    one = NetworkTraining("recurrent", found, SETTINGS, clock=lambda: float(next(ticks)), budget_s=30.0)
    assert 20 <= sum(1 for _ in one.run(show=lambda _: None)) <= 31


@pytest.mark.parametrize("kind", ["recurrent", "graph"])
def test_nothing_of_the_part_that_judges_is_learnt(kind: Kind) -> None:
    """Two histories that differ from the part that judges on teach the same, and nothing reaches from a part into another."""
    groups = plant()
    judged = round(0.8 * STEPS)
    for series in groups[0]:
        series.values[judged:] += 1e3
    ours, other = (courses(kind, g, dataset(g), context=CONTEXT, leads=LEADS) for g in (plant(), groups))
    for course, changed in zip(ours, other, strict=True):
        for part in ("learn", "tune"):
            places = np.arange(len(course.origins[part]))
            mine, its = course.rows(part, places), changed.rows(part, places)
            assert np.array_equal(mine.inputs, its.inputs)
            assert np.array_equal(mine.targets, its.targets, equal_nan=True)
            assert np.isfinite(mine.targets).any(axis=(1, 2)).all()


def test_what_is_excluded_or_in_alarm_is_neither_asked_for_nor_forecast_from() -> None:
    groups = plant()
    span = (T0 + timedelta(minutes=500), T0 + timedelta(minutes=600))
    [course] = courses(
        "graph", groups, dataset(groups, alarms={"hx/t": [span]}, excluded=[span]), context=CONTEXT, leads=LEADS
    )
    origins = course.origins["learn"]
    assert not ((origins >= 500) & (origins < 600)).any()
    assert np.isnan(course.targets["learn"][:, 500:600]).all()


def test_too_little_for_a_network_is_said() -> None:
    groups = plant()
    found = dataset(groups)
    with pytest.raises(DatasetError, match="at least 16 values"):
        courses("graph", groups, found, context=15, leads=LEADS)
    for series in groups[0]:
        series.values[np.arange(STEPS) % 2 == 0] = np.nan
    with pytest.raises(DatasetError, match="expected at least 64 steps to learn from with 32 values before them"):
        courses("graph", groups, found, context=CONTEXT, leads=LEADS)


def test_what_follows_another_tag_is_foretold_from_it(taught: Trained) -> None:
    groups = plant(seed=1)
    errors: dict[str, list[float]] = {"graph": [], "held": []}
    for origin in range(CONTEXT, 1000, 7):
        own = windows(groups, origin)
        made = {one.tag: one for one in taught.forecast(own, horizon=3)}["hx/t"]
        happened = groups[0][1].values[origin + 3]
        errors["graph"].append(abs(made.quantiles[2][MEDIAN] - happened))
        errors["held"].append(abs(own[1].values[-1] - happened))
    assert np.mean(errors["graph"]) < 0.5 * np.mean(errors["held"])


def test_of_tags_and_periods_it_was_not_trained_on_it_says_nothing(taught: Trained) -> None:
    flow, temperature = windows(plant(), 200)
    strangers = [replace(flow, tag="hx/other"), replace(temperature, period_s=10.0)]
    young = replace(flow, values=flow.values[-3:])
    assert taught.forecast([*strangers, young], horizon=3) == []
    # One alone is foretold too: the other is seen as one that stands still.
    assert [one.tag for one in taught.forecast([temperature], horizon=3)] == ["hx/t"]


def test_beyond_its_leads_the_band_goes_on_widening(taught: Trained) -> None:
    [made] = taught.forecast(windows(plant(), 200)[:1], horizon=4 * LEADS)
    widths = [row[-1] - row[0] for row in made.quantiles]
    assert widths[-1] == pytest.approx(2 * widths[LEADS - 1], rel=1e-6)
    for lead in (0, LEADS, 4 * LEADS - 1):
        values = [path[lead] for path in made.paths]
        low, _, high = np.quantile(values, (0.05, 0.5, 0.95))
        assert made.quantiles[lead][0] - 0.1 * widths[lead] < low
        assert high < made.quantiles[lead][-1] + 0.1 * widths[lead]


def test_what_is_on_the_shelf_foretells_the_same_and_weights_that_were_changed_are_refused(
    tmp_path: Path, brief: None
) -> None:
    groups = plant()
    data = dataset(groups)
    course = courses("recurrent", groups, data, context=CONTEXT, leads=LEADS)
    pupil = Pupil("recurrent", course, data, replace(SETTINGS, most=12), clock=time.monotonic)
    lesson = pupil.work(tmp_path, show=lambda _: None)
    found = contend(
        groups,
        data,
        without=lambda: [Persistence()],
        challenger=lambda: [Persistence(), lesson.trained],
        context=CONTEXT,
    )
    pupil.write_card(tmp_path, lesson, judge(found.blocks, found.pinball), told={})
    read = Trained.read(tmp_path)
    asked = windows(groups, 1000)
    assert read.forecast(asked, horizon=5) == lesson.trained.forecast(asked, horizon=5)
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["base"], card["kind"]) == ("none", "recurrent")
    assert {tag["tag"] for tag in card["tags"]} == {"hx/flow", "hx/t"}
    weights = bytearray((tmp_path / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(weights)
    with pytest.raises(ModelError, match="expected weights with sha256"):
        Trained.read(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"half")
    with pytest.raises(ModelError, match="of a trained network"):
        Trained.read(tmp_path)
    (tmp_path / "card.json").unlink()
    with pytest.raises(ModelError, match="of a trained network"):
        Trained.read(tmp_path)


def test_one_that_helps_the_panel_is_promoted_and_a_harmful_one_is_refused(taught: Trained, brief: None) -> None:
    groups = plant()
    data = dataset(groups)
    circle = Circle(tags=("hx/flow", "hx/t"), periods_s=(60.0, 60.0), spreads=(1.0, 3.0), steps=(STEPS, STEPS))
    network = made_network("graph", 2, CONTEXT, LEADS, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        network.get_parameter("path").uniform_(-1, 1)
    harmful = Trained("graph", [circle], [network], context=CONTEXT, leads=LEADS)

    def trial(one: Trained):
        found = contend(
            groups,
            data,
            without=lambda: [Persistence(), SeasonalNaive()],
            challenger=lambda: [Persistence(), SeasonalNaive(), one],
            context=CONTEXT,
        )
        return judge(found.blocks, found.pinball)

    good, bad = trial(taught), trial(harmful)
    assert good.promoted, good.objections
    assert good.gain > 0.1
    assert not bad.promoted
    assert bad.gain <= 0.01

"""An adapter learns what there is to learn, goes on where it was killed, and a harmful one is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from detectors.evaluation.backtest import Series
from detectors.language.adapter import CARD
from detectors.language.error import ModelError
from detectors.language.plan import Shape
from detectors.training import apprentice as module
from detectors.training.apprentice import Apprentice
from detectors.training.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from detectors.training.dataset import Dataset, Recipe, prepare
from detectors.training.lora import PRESETS, Settings, trained_numbers
from detectors.training.plan import plan_training
from detectors.training.promotion import judge

if TYPE_CHECKING:
    from collections.abc import Callable

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings(rank=8, alpha=16, rate=2e-2, batch=8, epochs=4, look_every=5, patience=20)


def dataset(*, shuffled: bool = False) -> Dataset:
    """A square wave: after a few values anybody knows what comes next."""
    steps = np.arange(3000)
    values = np.where(steps % 8 < 4, 5.0, 7.0) + np.where(steps % 2, 0.2, 0.0)
    found = prepare(
        [[Series(tag="hx/t", period_s=60.0, start_at=T0, values=values)]], Recipe(context=24, min_context=8)
    )
    if not shuffled:
        return found
    dice = random.Random(1)
    learn = [replace(t, cells=tuple(dice.sample(t.cells, len(t.cells)))) for t in found.parts["learn"]]
    tune = [replace(t, cells=tuple(dice.sample(t.cells, len(t.cells)))) for t in found.parts["tune"]]
    return replace(found, parts={**found.parts, "learn": tuple(learn), "tune": tuple(tune)})


def train(model: Path, folder: Path, data: Dataset, champion: Path | None = None, settings: Settings = SETTINGS):
    one = Apprentice(model, data, settings, champion=champion, clock=time.monotonic, device="cpu", threads=1)
    return one, one.work(folder, show=lambda _: None)


@pytest.fixture(scope="module")
def trained(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("good")
    one, lesson = train(tiny_model(), folder, dataset())
    one.write_card(folder, lesson, judge(lesson.blocks), told={})
    return folder, lesson


def test_what_there_is_to_learn_is_learnt_and_the_card_says_from_what(trained, tiny_model) -> None:
    folder, lesson = trained
    trial = judge(lesson.blocks)
    assert trial.promoted, trial.objections
    assert trial.gain > 0.25
    assert lesson.finished
    card = json.loads((folder / CARD).read_text())
    assert card["promoted"] is True
    assert card["tags"][0]["tag"] == "hx/t"
    assert card["settings"]["rank"] == 8


def test_the_service_reads_the_adapter_and_its_forecasts_are_no_worse(trained, tiny_model) -> None:
    folder, _ = trained
    data = dataset()
    steps = np.arange(3000)
    values = np.where(steps % 8 < 4, 5.0, 7.0) + np.where(steps % 2, 0.2, 0.0)
    series = Series(tag="hx/t", period_s=60.0, start_at=T0, values=values)
    one = Apprentice(tiny_model(), data, SETTINGS, clock=time.monotonic, device="cpu", threads=1)
    (losses,) = one.contest(folder, [(series, 2500, 3000)]).values()
    assert losses[1] < losses[0]


def test_a_harmful_adapter_is_refused(trained, tiny_model, tmp_path: Path) -> None:
    champion, _ = trained
    _, lesson = train(tiny_model(), tmp_path, dataset(shuffled=True), champion=champion)
    trial = judge(lesson.blocks)
    assert not trial.promoted
    assert trial.objections[0].startswith("it is worse on the held-out values: by ")


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_training import SETTINGS, dataset
import time
from detectors.training import apprentice
apprentice.SAVED_EVERY_S = 0.0
one = apprentice.Apprentice(Path({model!r}), dataset(), SETTINGS, clock=time.monotonic, device="cpu", threads=1)
def show(progress):
    print(progress.step, flush=True)
one.work(Path({folder!r}), show=show)
"""


def test_killed_at_any_step_it_goes_on_and_ends_where_it_would_have(trained, tiny_model, tmp_path: Path) -> None:
    _, whole = trained
    script = SCRIPT.format(here=str(Path(__file__).parent), model=str(tiny_model()), folder=str(tmp_path))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    reached = next(int(line) for line in process.stdout if int(line) >= 7)
    time.sleep(0.003)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait(20)
    steps = []
    one = Apprentice(tiny_model(), dataset(), SETTINGS, clock=time.monotonic, device="cpu", threads=1)
    lesson = one.work(tmp_path, show=lambda progress: steps.append(progress.step))
    assert steps[0] in {reached, reached + 1, reached + 2}, "what was done is not done again"
    assert lesson.tuned == pytest.approx(whole.tuned, abs=0.01)


def test_it_stops_when_it_is_told_to_and_goes_on_from_there(trained, tiny_model, tmp_path: Path) -> None:
    _, whole = trained
    calls = []

    def stop() -> bool:
        calls.append(1)
        return len(calls) > 4

    first = Apprentice(tiny_model(), dataset(), SETTINGS, clock=time.monotonic, device="cpu", threads=1).work(
        tmp_path, show=lambda _: None, stop=stop
    )
    assert (first.finished, first.steps) == (False, 4)
    _, rest = train(tiny_model(), tmp_path, dataset())
    assert rest.finished
    assert rest.tuned == pytest.approx(whole.tuned, abs=0.01)


def test_a_checkpoint_of_other_settings_or_another_history_is_refused(tiny_model, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=1)
    train(tiny_model(), tmp_path, dataset(), settings=settings)
    with pytest.raises(ValueError, match=r"expected to go on with .* found one of other settings$"):
        train(tiny_model(), tmp_path, dataset(), settings=replace(settings, batch=4))
    # As many texts of the same tag, and other values in them.
    with pytest.raises(ValueError, match=r"found one of other texts$"):
        train(tiny_model(), tmp_path, dataset(shuffled=True), settings=settings)


def test_a_checkpoint_appears_whole_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) is None
    write_checkpoint(tmp_path, {"step": 1}, {"a": torch.ones(3)})
    write_checkpoint(tmp_path, {"step": 2}, {"a": torch.zeros(3)})
    state, numbers = read_checkpoint(tmp_path) or ({}, {})
    assert (state, numbers["a"].tolist()) == ({"step": 2}, [0.0, 0.0, 0.0])
    (tmp_path / "checkpoint" / "numbers.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="Remove the folder to begin anew"):
        read_checkpoint(tmp_path)


def test_a_full_disk_is_said_beforehand(tiny_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match="free for checkpoints"):
        train(tiny_model(), tmp_path, dataset())


def test_a_time_budget_ends_it(tiny_model, tmp_path: Path) -> None:
    one = Apprentice(
        tiny_model(),
        dataset(),
        replace(SETTINGS, epochs=100),
        clock=time.monotonic,
        device="cpu",
        budget_s=1.0,
        threads=1,
    )
    begun = time.monotonic()
    lesson = one.work(tmp_path, show=lambda _: None)
    assert lesson.finished
    assert lesson.steps < 1000
    assert time.monotonic() - begun < 15


SMALL = Shape(
    layers=30, heads=9, kv_heads=3, head_size=64, hidden=576, intermediate=1536, longest=8192,
    weights_bytes=269_000_000, stored_bytes=2,
)  # fmt: skip


def test_memory_is_planned_from_the_shape_and_too_little_is_said_with_what_would_fit() -> None:
    trained = trained_numbers(SMALL, PRESETS["ours"])
    assert trained == 4_884_480, "as peft counts them"
    ask = {"trained": trained, "tokens": 513, "batch": 8, "where": "cuda", "number_bytes": 2, "weight_bytes": 2}
    roomy = plan_training(SMALL, available=1 << 40, **ask)
    assert (roomy.together, roomy.times, roomy.checkpointing) == (8, 1, False)
    tight = plan_training(SMALL, available=roomy.total - 1, **ask)
    assert (tight.together, tight.times, tight.checkpointing) == (7, 2, False)
    lean = plan_training(SMALL, available=roomy.total - roomy.activations + roomy.activations // 16, **ask)
    assert lean.checkpointing
    with pytest.raises(ModelError, match=r"Ways out: a shorter `--context` \(\d+ values would fit\)"):
        plan_training(SMALL, available=roomy.total - roomy.activations + (10 << 20), **ask)
    with pytest.raises(ModelError, match="the model alone takes more"):
        plan_training(SMALL, available=1 << 20, **ask)

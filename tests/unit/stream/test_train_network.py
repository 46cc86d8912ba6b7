"""`givre train --kind`, from a file of history to a network that the service's panel takes, and back."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from config.load import load
from detectors.forecasters.persistence import Persistence
from detectors.training import network, rivalry
from stream.assemble import build_forecasting
from stream.cli.app import app
from stream.cli.train import train
from stream.cli.training_request import TrainingRequest
from stream.model.networks import Networks
from stream.model.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SAMPLE = Path(__file__).parents[3] / "config" / "heat_exchanger.yaml"


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A temperature that follows a flow four steps later."""
    random = np.random.default_rng(3)
    flow = np.repeat(random.normal(5, 1, 300), 8) + random.normal(0, 0.02, 2400)
    follows = 40 + 3 * np.roll(flow, 4)
    rows = [
        f"{NOW + timedelta(minutes=i):%Y-%m-%dT%H:%M:%SZ},{a:.3f},{b:.3f}"
        for i, (a, b) in enumerate(zip(flow, follows, strict=True))
    ]
    path = tmp_path / "h.csv"
    path.write_text("\n".join(["time,hx/flow,hx/t", *rows]) + "\n")
    return path


@pytest.fixture
def ask(tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch):
    quick = partial(network.NetworkSettings, batch=128, most=400, look_every=40)
    monkeypatch.setattr(network, "NetworkSettings", quick)
    for name, value in (("WARM_UP", 60), ("MOST_STEPS", 360), ("BLOCK", 32)):
        monkeypatch.setattr(rivalry, name, value)

    def run(*, stop: Callable[[], bool] = lambda: False, **changes: object) -> tuple[str | None, str]:
        said = io.StringIO()
        request = TrainingRequest(
            **{
                "history": history,
                "model": None,
                "shelf": tmp_path / "state" / "adapters",
                "context": 32,
                "min_context": 8,
                "kind": "graph",
                "name": "first",
                "members": lambda: [Persistence()],
                **changes,
            }  # type: ignore[arg-type] # all of them are right
        )
        quiet = Console(file=io.StringIO())
        problem = train(request, console=Console(file=said, width=120), complaints=quiet, stop=stop, now=NOW)
        return problem, said.getvalue()

    return run


def test_a_network_that_helps_is_promoted_taken_by_the_panel_and_rolled_back(ask, tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(f"state_folder: {tmp_path / 'state'}\n" + SAMPLE.read_text(encoding="utf-8"))
    loaded = load(path)
    loaded = replace(loaded, settings=loaded.settings.model_copy(update={"model": None}))
    running = build_forecasting(loaded, patient=False)
    assert running.outdated is not None
    assert not running.outdated()

    # Stopped half way, the same command goes on.
    calls = iter(range(1000))
    problem, said = ask(stop=lambda: next(calls) > 30)
    assert problem is None
    assert "stopped, and saved" in said
    assert Shelf(tmp_path / "state" / "adapters", "graph").names == ()
    problem, said = ask()
    assert problem is None
    assert "promoted: first is used from now on; `givre adapter roll-back --kind graph` takes it back" in said

    assert running.outdated()
    anew = build_forecasting(loaded, patient=False)
    assert anew.panel.names[-1] == "trained-graph"
    assert "trained-graph" in anew.description
    runner = CliRunner()
    listed = runner.invoke(app, ["adapter", "list", str(path)]).output
    assert "first" in listed
    assert "graph" in listed
    assert "*" in listed
    back = runner.invoke(app, ["adapter", "roll-back", str(path), "--kind", "graph"])
    assert "no graph network is used from now on" in back.output
    assert anew.outdated is not None
    assert anew.outdated()
    assert "trained-graph" not in build_forecasting(loaded, patient=False).panel.names
    assert runner.invoke(app, ["adapter", "promote", str(path), "first"]).exit_code == 0
    assert Shelf(tmp_path / "state" / "adapters", "graph").current is not None
    assert Shelf(tmp_path / "state" / "adapters").current is None
    assert runner.invoke(app, ["adapter", "roll-back", str(path), "--kind", "tree"]).exit_code == 1


def test_one_that_does_not_help_stays_on_the_shelf(ask, tmp_path: Path) -> None:
    # Of a random walk nobody foretells more than its last value.
    values = 50 + np.random.default_rng(4).normal(size=2400).cumsum()
    rows = [f"{NOW + timedelta(minutes=i):%Y-%m-%dT%H:%M:%SZ},{value:.3f}" for i, value in enumerate(values)]
    (tmp_path / "walk.csv").write_text("\n".join(["time,hx/flow", *rows]) + "\n")
    problem, said = ask(kind="recurrent", history=tmp_path / "walk.csv", epochs=1)
    assert problem is None
    assert "refused: first stays on the shelf" in said
    shelf = Shelf(tmp_path / "state" / "adapters", "recurrent")
    assert shelf.names == ("first",)
    assert shelf.current is None
    assert Networks(shelf.folder).members() == ([], "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "tree"}, "--kind: expected one of language, recurrent, graph, found 'tree'"),
        ({"kind": "language"}, "expected a section `model` in the configuration"),
        ({"context": 14}, "context: expected at least 16 values"),
        ({"tags": ("hx/pump",)}, "hx/pump"),
    ],
)
def test_what_will_not_do_is_said(ask, changes: dict, said: str) -> None:
    problem, _ = ask(**changes)
    assert problem is not None
    assert said in problem


def test_a_checkpoint_of_other_settings_is_said_with_its_folder(ask) -> None:
    calls = iter(range(1000))
    ask(stop=lambda: next(calls) > 20)
    problem, _ = ask(epochs=2)
    assert problem is not None
    assert "unfinished-graph to begin anew" in problem


def test_a_network_that_cannot_be_used_costs_itself_alone(tmp_path: Path) -> None:
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps({"kind": "graph", "sha256": "0"}))
    Shelf(tmp_path, "graph").promote("first")
    members, doubts = Networks(tmp_path).members()
    assert members == []
    assert "network first is not used: network" in doubts
    (tmp_path / "current-graph.json").write_text("{")
    assert Networks(tmp_path).members() == ([], "")

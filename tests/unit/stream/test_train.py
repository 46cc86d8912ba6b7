"""`givre train`, from a file of history to an adapter in use, and what it says of a history that will not do."""

from __future__ import annotations

import hashlib
import io
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet
from rich.console import Console
from typer.testing import CliRunner

from detectors.records import AlarmState, Alert, Priority
from detectors.training import lora
from stream.cli.app import app
from stream.cli.train import spans_in_alarm, train
from stream.cli.training_request import TrainingRequest
from stream.model.shelf import Shelf
from stream.recording import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 3, 1, tzinfo=UTC)
QUICK = lora.Settings(rank=8, alpha=16, rate=2e-2, batch=8, epochs=4, look_every=5, patience=20)


def recorded(path: Path, steps: int = 3000, value: Callable[[int], float] | None = None) -> Path:
    course = value or (lambda i: (5.0 if i % 8 < 4 else 7.0) + (0.2 if i % 2 else 0.0))
    rows = [f"{NOW + timedelta(minutes=i):%Y-%m-%dT%H:%M:%SZ},{course(i):.3f}" for i in range(steps)]
    path.write_text("\n".join(["time,hx/t", *rows]) + "\n")
    return path


@pytest.fixture
def ask(tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(lora.PRESETS, "ours", QUICK)

    def run(history: Path, **changes: object) -> tuple[str | None, str]:
        said = io.StringIO()
        request = TrainingRequest(
            **{
                "history": history,
                "model": tiny_model,
                "shelf": tmp_path / "adapters",
                "context": 24,
                "min_context": 8,
                "device": "cpu",
                "name": "first",
                **changes,
            }  # type: ignore[arg-type] # all of them are right
        )
        console = Console(file=said, width=120)
        problem = train(request, console=console, complaints=Console(file=io.StringIO()), stop=lambda: False, now=NOW)
        return problem, said.getvalue()

    return run


def test_an_adapter_that_proves_better_is_promoted_and_its_texts_can_be_read_by_others(ask, tmp_path: Path) -> None:
    problem, said = ask(recorded(tmp_path / "h.csv"))
    assert problem is None
    assert "promoted: first is used from now on" in said
    shelf = Shelf(tmp_path / "adapters")
    assert shelf.current == tmp_path / "adapters" / "first"
    card = shelf.card("first")
    assert card["gain_nats"] > 0.2
    assert card["history"] == "h.csv"
    assert not shelf.unfinished.exists()
    texts = parquet.read_table(tmp_path / "adapters" / "first" / "texts.parquet").to_pylist()
    assert {row["part"] for row in texts} == {"learn", "tune", "judge"}
    assert all(len(row["prompt"]) % 4 == 0 and row["response"].endswith(",") for row in texts)


@pytest.mark.parametrize(
    ("steps", "value", "changes", "said"),
    [
        (100, None, {}, "more steps of each tag are missing"),
        (3000, lambda _: 5.0, {}, "the value never changes (5)"),
        (3000, None, {"excluded": ("2026-01-01/2027-01-01",)}, "every step with a value is in alarm or excluded"),
        (3000, None, {"excluded": ("2026-13-01/2027-01-01",)}, "--exclude: expected FROM/TO"),
        (3000, None, {"excluded": ("2027-01-01/2026-01-01",)}, "--exclude: expected FROM before TO"),
        (3000, None, {"preset": "best"}, "--preset: expected one of ours, study, found 'best'"),
        (3000, None, {"name": "a/b"}, "expected a name of letters"),
        (3000, None, {"tags": ("nope",)}, "nope"),
    ],
)
def test_what_will_not_do_is_said_and_nothing_is_left_in_use(  # noqa: PLR0917 - the table's columns and two fixtures
    ask, tmp_path: Path, steps: int, value: Callable[[int], float] | None, changes: dict, said: str
) -> None:
    problem, _ = ask(recorded(tmp_path / "h.csv", steps, value), **changes)
    assert problem is not None
    assert said in problem
    assert Shelf(tmp_path / "adapters").current is None


def test_it_learns_the_tags_of_the_configuration_as_the_service_will_read_them(ask, tmp_path: Path) -> None:
    path = recorded(tmp_path / "h.csv")
    text = path.read_text().replace("time,hx/t", "time,t,stranger").splitlines()
    path.write_text("\n".join([text[0], *(f"{line},1.5" for line in text[1:])]) + "\n")
    changes = {"texts": tmp_path / "t.parquet", "model": None}
    problem, said = ask(path, paces={"hx/t": Pace(120.0, 180.0)}, **changes)
    assert problem is None
    assert "left out: stranger: no tag of the configuration" in said
    assert ["hx/t", "2", "minutes"] in [line.split()[:3] for line in said.splitlines()]
    problem, said = ask(path, paces={"hx/t": Pace(10.0, 30.0)}, **changes)
    assert problem is None
    assert "hx/t: a value every 1 minute is learnt, while the service reads one every 10 s" in said
    problem, _ = ask(path, paces={"hx/other": Pace(10.0, 30.0)}, **changes)
    assert problem == "h.csv: expected values of at least one tag of the configuration, found none of the configuration"
    problem, _ = ask(path, paces={"hx/t": Pace(10.0, 30.0)}, tags=("hx/u",), **changes)
    assert problem == "h.csv: expected values of hx/u, found hx/t"


@pytest.mark.parametrize("style", ["digits", "json", "role"])
def test_texts_are_written_for_other_tools_in_each_style_and_nothing_is_trained(
    ask, tmp_path: Path, style: str
) -> None:
    path = tmp_path / "texts.parquet"
    problem, said = ask(recorded(tmp_path / "h.csv"), texts=path, style=style, horizon=4, model=None)
    assert problem is None
    assert "nothing was trained" in said
    assert not (tmp_path / "adapters").exists()
    rows = parquet.read_table(path).to_pylist()
    assert {row["part"] for row in rows} == {"learn", "tune", "judge"}
    if style == "digits":
        assert all(
            row["prompt"].endswith(",") and row["low"] < 5.0 and row["low"] + 1000 * row["cell"] > 7.2 for row in rows
        )
        return
    course = {
        f"{NOW + timedelta(minutes=i):%Y-%m-%d %H:%M}": (5.0 if i % 8 < 4 else 7.0) + i % 2 / 5 for i in range(3000)
    }
    for row in rows:
        answer = json.loads(row["response"])
        past = json.loads(row["prompt"][row["prompt"].index("[") : row["prompt"].index("]") + 1])
        assert len(answer) == 4
        assert all(entry["value"] == pytest.approx(course[entry["date"]]) for entry in past + answer)
        assert past[-1]["date"] < answer[0]["date"]
        assert bool(row["system"]) == (style == "role")


def test_training_itself_is_in_digits_alone(ask, tmp_path: Path) -> None:
    problem, _ = ask(recorded(tmp_path / "h.csv"), style="json")
    assert problem is not None
    assert "--style: expected digits, found 'json'" in problem
    problem, _ = ask(recorded(tmp_path / "h.csv"), style="xml", texts=tmp_path / "t.parquet")
    assert problem is not None
    assert "expected one of digits, json, role" in problem


def test_an_interrupted_folder_that_is_damaged_is_said(ask, tmp_path: Path) -> None:
    left = tmp_path / "adapters" / "unfinished" / "checkpoint"
    left.mkdir(parents=True)
    (left / "state.json").write_text("{}")
    (left / "numbers.safetensors").write_bytes(b"half")
    problem, _ = ask(recorded(tmp_path / "h.csv"))
    assert problem is not None
    assert "Remove the folder to begin anew" in problem


def test_what_stood_in_alarm_is_left_out_from_its_begin_to_its_end() -> None:
    def alert(state: AlarmState, previous: AlarmState, minute: float, rule: str = "tolerance") -> Alert:
        at = NOW + timedelta(minutes=minute)
        return Alert(
            tag="hx/t", rule=rule, sequence=1, state=state, previous=previous, at=at,
            since=at - timedelta(minutes=1), priority=Priority.LOW, text="",
        )  # fmt: skip

    told = [
        alert(AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL, 10),
        alert(AlarmState.ACKNOWLEDGED, AlarmState.UNACKNOWLEDGED, 12),
        alert(AlarmState.NORMAL, AlarmState.ACKNOWLEDGED, 20),
        alert(AlarmState.UNACKNOWLEDGED, AlarmState.NORMAL, 30, "stale"),
    ]
    found = spans_in_alarm(told, now=NOW + timedelta(hours=1))
    minutes = [tuple((at - NOW).total_seconds() / 60 for at in span) for span in found["hx/t"]]
    assert minutes == [(9, 20), (29, 60)]


def test_the_command_line_lists_promotes_and_rolls_back(tmp_path: Path, tiny_model: Callable[..., Path]) -> None:
    sample = (Path(__file__).parents[3] / "config" / "heat_exchanger.yaml").read_text(encoding="utf-8")
    path = tmp_path / "plant.yaml"
    assert "\n  path: default" in sample
    sample = sample.replace("\n  path: default", f"\n  path: {tiny_model()}")
    path.write_text(f"state_folder: {tmp_path / 'state'}\n" + sample)
    sha256 = hashlib.sha256((tiny_model() / "model.safetensors").read_bytes()).hexdigest()
    runner = CliRunner()
    assert "givre train" in runner.invoke(app, ["adapter", "list", str(path)]).output
    for name, gain, base in (("spring", 0.2, "0" * 64), ("summer", math.pi / 10, sha256)):
        folder = tmp_path / "state" / "adapters" / name
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
        (folder / "adapter_model.safetensors").touch()
        card = {"gain_nats": gain, "chance": 0.001, "scores": [1], "promoted": True, "base_sha256": base}
        (folder / "card.json").write_text(json.dumps(card))
    assert runner.invoke(app, ["adapter", "promote", str(path), "summer"]).exit_code == 0
    said = runner.invoke(app, ["adapter", "list", str(path)]).output
    assert "+0.314" in said
    assert "*" in said
    other = runner.invoke(app, ["adapter", "promote", str(path), "spring"])
    assert other.exit_code == 1
    assert "expected base model weights with sha256 000" in other.output.replace("\n", " ")
    (tmp_path / "state" / "adapters" / "summer" / "adapter_model.safetensors").unlink()
    half = runner.invoke(app, ["adapter", "promote", str(path), "summer"])
    assert half.exit_code == 1
    assert "expected adapter_model.safetensors, found none" in half.output.replace("\n", " ")
    assert Shelf(tmp_path / "state" / "adapters").current == tmp_path / "state" / "adapters" / "summer"
    assert "the model as it came" in runner.invoke(app, ["adapter", "roll-back", str(path)]).output
    assert runner.invoke(app, ["adapter", "roll-back", str(path)]).exit_code == 1
    assert runner.invoke(app, ["train", str(path), str(tmp_path / "h.csv"), "--for", "soon"]).exit_code == 1

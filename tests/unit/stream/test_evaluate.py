"""`givre evaluate`: what comes out of good history, and that bad history costs a clear sentence and never a traceback."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from stream.cli.app import app
from stream.cli.evaluation import EvaluationError, Question
from stream.model.roster import Roster, RosterError
from stream.recording import read_recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2014, 1, 1, tzinfo=UTC)


@pytest.fixture
def history(tmp_path: Path) -> Callable[..., Path]:
    """Call it with (date, value) rows to get a CSV file with a column `load`."""

    def write(rows: Any, header: str = "date;load") -> Path:
        path = tmp_path / "history.csv"
        path.write_text(header + "\n" + "".join(f"{date};{value}\n" for date, value in rows))
        return path

    return write


def days(count: int, value: Callable[[int], float] = lambda i: 100 + 10 * math.sin(i / 3)) -> list[tuple[str, float]]:
    return [(f"{START + timedelta(days=i):%Y-%m-%d}", value(i)) for i in range(count)]


def run(*words: object) -> tuple[int, str]:
    who = () if "--forecaster" in words else ("--forecaster", "persistence")
    result = CliRunner().invoke(app, ["evaluate", *map(str, (*words, *who))], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_a_history_gives_a_table_a_page_and_every_forecast(history, tmp_path: Path) -> None:
    code, said = run(history(days(100)), "--horizon", 5, "--out", tmp_path / "out")
    assert code == 0
    assert "persistence" in said
    page = (tmp_path / "out" / "report.html").read_text()
    assert "5 steps ahead, from 16 origins, one every 1 step" in page
    table = parquet.read_table(tmp_path / "out" / "forecasts.parquet").to_pydict()
    assert len(table["lead"]) == 16 * 5
    first = {name: column[0] for name, column in table.items()}
    assert (first["tag"], first["forecaster"], first["lead"]) == ("load", "persistence", 1)
    assert first["made_at"] == START + timedelta(days=79)
    assert first["at"] == START + timedelta(days=80)
    assert first["measured"] == pytest.approx(100 + 10 * math.sin(80 / 3))
    assert first["q05"] <= first["q50"] <= first["q95"]


def test_the_same_question_of_the_same_history_has_the_same_answer(history, tmp_path: Path) -> None:
    path = history(days(60))
    for name in "ab":
        run(path, "--out", tmp_path / name)
    a, b = (parquet.read_table(tmp_path / name / "forecasts.parquet") for name in "ab")
    assert a.equals(b)


def test_one_shot_from_a_date_in_the_files_own_time_zone(history, tmp_path: Path) -> None:
    words = ("--held-out", "2014-03-01", "--one-shot", "--timezone", "Europe/Paris", "--out", tmp_path / "out")
    assert run(history(days(70)), *words)[0] == 0
    table = parquet.read_table(tmp_path / "out" / "forecasts.parquet").to_pydict()
    assert table["at"][0] == datetime(2014, 2, 28, 23, tzinfo=UTC)
    assert len(table["at"]) == 70 - 59


@pytest.mark.parametrize(
    ("rows", "words", "expected"),
    [
        (days(1), (), "load: expected at least two values at different moments, found 1."),
        (
            days(100),
            ("--held-out", "2016-01-01"),
            "expected at least 2 steps before it and 1 in it, found a history of 100",
        ),
        (days(100), ("--held-out", "31/02/2014"), "--held-out: expected a share (0.2, 20 %) or a date"),
        (days(100), ("--held-out", "1.5"), "--held-out: expected a share between 0 and 1"),
        (days(100), ("--horizon", 50), "horizon: expected at most the 20 steps of the held-out part of 20%, found 50"),
        (days(100), ("--forecaster", "oracle"), "forecaster: expected one of persistence,"),
        (days(100), ("--tag", "flow"), "expected a column of a configured tag (flow), found 'date;load"),
        (days(100), ("--timezone", "Paris"), "expected a name such as Europe/Paris, found 'Paris'"),
        (days(100), ("--period", 0.01), "expected at most 2,000,000 steps"),
        ([], (), "expected values of at least one tag"),
        ([("31/02/2014", 1.0)] * 3, (), "31/02/2014"),
        ([("2014-01-01", "on"), ("2014-01-02", "off")], (), "unparsable"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_in_a_sentence(history, rows, words, expected) -> None:
    code, said = run(history(rows), *words)
    assert code == 1
    assert said.startswith("givre: ")
    assert expected in said


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    assert run(tmp_path / "none.csv")[1].endswith("expected a file that can be read, found: No such file or directory")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    assert "expected a Parquet file that can be read" in run(tmp_path / "torn.parquet")[1]
    assert "--query: expected Flux or InfluxQL" in run("http://127.0.0.1:1/")[1]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (days(13), "hold no season twice"),
        (days(60, lambda _: 7.0), "The value never changes (7)"),
        (days(40) + days(110)[70:], "30 of 110 steps (27.3%) have no value"),
        (days(60) + days(60)[5:6], "1 date occurs more than once"),
        ([*days(60)[:30], ("2014-02-31", 1.0), *days(60)[30:]], "1 row or cell left out (impossible date)"),
        (days(60, lambda i: (100 + i) * (1000 if i > 30 else 1)), "perhaps two units"),
        ([(f"{START + timedelta(seconds=i * i * 60):%Y-%m-%d %H:%M}", i) for i in range(80)], "irregular moments"),
    ],
)
def test_what_is_wrong_with_a_history_is_said_beside_the_figures(history, tmp_path: Path, rows, told) -> None:
    code, said = run(history(rows), "--horizon", 1, "--out", tmp_path / "out")
    assert code == 0, said
    assert told in said
    assert told in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("timezone", ["Europe/Paris", "UTC"])
def test_a_clock_change_breaks_nothing(history, timezone: str) -> None:
    """Local hours over both changes: one hour that is not there, one that is there twice."""
    local = [START + timedelta(hours=i) for i in range(24 * 365)]
    rows = [(f"{at:%d/%m/%Y %H:%M}", at.hour) for at in local if at.replace(tzinfo=None) != datetime(2014, 3, 30, 2)]
    doubled = next(i for i, (date, _) in enumerate(rows) if date == "26/10/2014 03:00")
    rows.insert(doubled, ("26/10/2014 02:00", 2))
    code, said = run(history(rows), "--timezone", timezone, "--stride", 500)
    assert code == 0
    assert "1 date occurs more than once" in said
    assert "name the time zone" in said


def test_a_tag_that_cannot_be_evaluated_is_left_out_and_the_others_are_not(history) -> None:
    rows = [(date, f"{value};{1 if i == 3 else ''}") for i, (date, value) in enumerate(days(60))]
    code, said = run(history(rows, "date;load;spare"))
    assert code == 0
    assert "left out: spare: expected at least two values" in said


def test_tags_of_different_periods_are_laid_on_grids_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    lines = [f"{START + timedelta(minutes=i):%Y-%m-%d %H:%M};flow;{i}" for i in range(300)]
    lines += [f"{START + timedelta(hours=i):%Y-%m-%d %H:%M};heat;{i}" for i in range(30)]
    path.write_text("date;tag;value\n" + "\n".join(lines) + "\n")
    groups, left_out = read_recording(path).lay()
    assert {(group[0].tag, group[0].period_s) for group in groups} == {("flow", 60.0), ("heat", 3600.0)}
    assert left_out == []


def test_a_forecaster_that_fails_costs_no_other(history, monkeypatch: pytest.MonkeyPatch) -> None:
    from detectors.forecasters.panel import Panel

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(Panel, "forecast", fail)
    code, said = run(history(days(60)), "--forecaster", "panel,persistence")
    assert code == 0
    assert "left out: panel, on load: it failed with ZeroDivisionError: by nothing." in said
    assert said.startswith("load")


def test_a_history_may_begin_before_1970(history) -> None:
    rows = [(f"{1949 + i // 365}-01-{i % 28 + 1:02d}", 100 + i % 7) for i in range(28)]
    code, said = run(history(rows), "--horizon", 2)
    assert code == 0
    assert "left out" not in said


def test_origins_are_spread_so_that_a_long_history_takes_bounded_time() -> None:
    from detectors.evaluation.backtest import Series

    series = Series(tag="t", period_s=60.0, start_at=START, values=np.zeros(100_000))
    plan = Question(forecasters=("persistence",)).plan(series)
    assert len(plan.origins(100_000)) <= 200
    assert plan.first == 80_000
    with pytest.raises(EvaluationError, match="expected at least 2 steps before it"):
        Question(forecasters=("persistence",), held_out=START).plan(series)


def test_a_panel_is_warmed_up_where_nothing_is_said(history, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Roster, "members", ("persistence", "seasonal"))
    assert (
        run(history(days(300)), "--forecaster", "panel,persistence", "--horizon", 2, "--out", tmp_path / "out")[0] == 0
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "judged its members before the held-out part, from 100 origins that are not scored" in page
    assert run(history(days(300)), "--forecaster", "panel", "--warm-up", 0, "--out", tmp_path / "out")[0] == 0
    assert "judged its members" not in (tmp_path / "out" / "report.html").read_text()


METERED = """
import numpy as np
from stream.meter import ProcessMeter

# More than the allocator keeps for later: it comes from the system, and goes back.
result, cost = ProcessMeter().measure(lambda: int(np.ones(200_000_000 // 8).sum()))
print(result, cost.seconds, cost.memory_bytes, ProcessMeter().measure(lambda: None)[1].memory_bytes)
"""


def test_the_meter_sees_the_memory_that_a_call_takes_and_gives_back() -> None:
    """In a process of its own: in this one other tests have left memory that is free and still counted."""
    said = subprocess.run([sys.executable, "-c", METERED], capture_output=True, text=True, timeout=60, check=True)
    result, seconds, taken, left = map(float, said.stdout.split())
    assert result == 200_000_000 // 8
    assert seconds > 0
    assert 150e6 < taken < 500e6
    assert left < 10e6


def test_a_folder_that_cannot_be_written_is_named(history, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = run(history(days(60)), "--out", tmp_path / "file" / "out")
    assert code == 1
    assert "expected a folder that can be written, found: Not a directory" in said


def test_the_default_model_is_not_fetched_behind_the_users_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIVRE_CACHE", str(tmp_path))
    with pytest.raises(RosterError, match="Run `givre model fetch`"):
        Roster().make("language")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (days(13), "hold no season twice"),
        (days(60, lambda _: 7.0), "The value never changes (7)"),
        (days(60) + days(110)[90:], "30 of 110 steps (27.3%) have no value"),
        (days(90, lambda i: (100 + i) * (1000 if i > 45 else 1)), "perhaps two units"),
        ([(f"{START + timedelta(seconds=i * i * 60):%Y-%m-%d %H:%M}", i) for i in range(16)], "irregular moments"),
    ],
)
def test_no_forecaster_fails_on_a_history_that_is_not_as_it_should_be(history, rows, told) -> None:
    everyone = [name for name in Roster().quick if name != "panel"]
    code, said = run(history(rows), "--horizon", 1, "--one-shot", "--forecaster", ",".join(everyone))
    assert code == 0, said
    assert told in said
    assert "failed" not in said
    assert [name for name in everyone if name not in said] == [], said

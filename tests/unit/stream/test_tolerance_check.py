"""`givre check --history`: whether a tolerance means anything, with the figures."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from stream.check import check
from stream.tolerance_check import Asked, check_tolerances

SAMPLE = Path(__file__).parents[3] / "config" / "heat_exchanger.yaml"
T0 = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A water temperature every 15 min that wanders by 1.4 C from one to the next."""
    random = Random(1)
    path = tmp_path / "history.csv"
    rows = ["time,chilled_water,other"]
    rows += [f"{T0 + timedelta(minutes=15 * i):%Y-%m-%dT%H:%M:%SZ},{random.gauss(5, 1.4):.2f},1" for i in range(1000)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def asked(tolerance: float) -> dict[str, Asked]:
    return {"exchanger/chilled_water": Asked(tolerance, "degC", 10.0, 60.0)}


def test_a_tolerance_that_means_nothing_is_warned_of_with_figures(history: Path) -> None:
    warnings, _ = check_tolerances(history, asked(0.2))
    (warning,) = warnings
    assert warning.startswith(
        "exchanger/chilled_water: tolerance 0.2 degC is less than 3 standard deviations of its noise"
    )
    assert "from one sample to the next, 15 minutes later" in warning
    least = float(warning.rpartition("from ")[2].split()[0])
    assert 3.5 < least < 5.0
    warnings, notes = check_tolerances(history, asked(least))
    assert warnings == []
    assert notes[-1].startswith(f"exchanger/chilled_water: tolerance {least:g} degC means something: noise at most 1.")


def test_a_tag_that_the_file_lacks_is_named_with_what_it_has(history: Path) -> None:
    warnings, _ = check_tolerances(history, {"hx/water": Asked(0.2, "degC", 10.0, 60.0)})
    assert warnings == ["hx/water: not in history.csv, which has chilled_water, other"]


def test_the_report_has_it_and_a_file_that_cannot_be_read_is_a_problem(history: Path) -> None:
    report = check(SAMPLE, connect=False, history=history)
    assert report.ok
    assert any("tolerance 0.2 degC is less than" in line for line in report.warnings)
    missing = check(SAMPLE, connect=False, history=history.with_name("none.csv"))
    assert not missing.ok
    assert "none.csv: expected a file that can be read" in missing.problems[0]


def test_the_command_says_it(history: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stream", "check", str(SAMPLE), "--history", str(history)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "a tolerance means something from" in done.stdout

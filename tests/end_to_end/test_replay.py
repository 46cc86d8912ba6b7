"""Recorded history through the live path, from the command line."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
site: test
sources:
  plc: {type: opcua, endpoint: "opc.tcp://127.0.0.1:1/x", namespace: "urn:x"}
assets:
  hx:
    tags:
      water:
        unit: degC
        period_s: 10
        hold_s: 3600
        tolerance: {setpoint: 5, tolerance: 0.2, deadband: 0.05, on_delay_s: 20, off_delay_s: 20}
        breach: {probability: 0.8}
        deviation: {minimum: 0.3}
        source: {name: plc, node: s=water}
      flow:
        unit: m3/h
        period_s: 10
        hold_s: 3600
        source: {name: plc, node: s=flow}
"""
# 5.0 for ten minutes, then out for two, then back; a row per change, French dates and decimal commas.
LONG = "Date;Nom;Ancienne valeur;Nouvelle valeur\n" + "".join(
    f"01/02/2024 10:{i // 6:02d}:{i % 6 * 10:02d};{name};;{value}\n"
    for i in range(90)
    for name, value in (("water", "5,6" if 60 <= i < 72 else f"5,0{i % 5}"), ("flow", f"120,{i % 7}"))
)
WIDE = "time,water,flow\n" + "".join(
    f"2024-02-01T10:{i // 6:02d}:{i % 6 * 10:02d}Z,{'5.6' if 60 <= i < 72 else f'5.0{i % 5}'},{f'120.{i % 7}' if i % 3 else ''}\n"
    for i in range(90)
)


def replay(folder: Path, text: str, *more: str, state: str = "state") -> subprocess.CompletedProcess[str]:
    (folder / "c.yaml").write_text(CONFIG)
    (folder / "h.csv").write_text(text)
    command = [sys.executable, "-m", "stream", "replay", str(folder / "c.yaml"), "--from", str(folder / "h.csv")]
    return subprocess.run(
        [*command, "--state", str(folder / state), *more], capture_output=True, text=True, timeout=60, check=False
    )


def alerts(folder: Path, state: str = "state") -> list[str]:
    (folder / "c2.yaml").write_text(f"state_folder: {state}\n{CONFIG}")
    done = subprocess.run(
        [sys.executable, "-m", "stream", "history", str(folder / "c2.yaml"), "--json", "--kind", "alert"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("text", [LONG, WIDE], ids=["a row per change", "a column per tag"])
def test_a_recorded_excursion_gives_its_alarm_at_its_time(tmp_path: Path, text: str) -> None:
    done = replay(tmp_path, text)
    assert done.returncode == 0, done.stderr
    tolerance = [a for a in map(json.loads, alerts(tmp_path)) if a["rule"] == "tolerance"]
    assert [(a["state"], a["at"], a["since"]) for a in tolerance] == [
        ("unacknowledged", "2024-02-01T10:10:20+00:00", "2024-02-01T10:10:00+00:00"),
        ("returned_unacknowledged", "2024-02-01T10:12:20+00:00", "2024-02-01T10:10:00+00:00"),
    ]
    assert "is 5.6 degC, above the allowed 4.8 to 5.2 degC" in done.stdout


def test_the_same_history_gives_the_same_alerts_to_the_byte(tmp_path: Path) -> None:
    assert replay(tmp_path, WIDE, state="a").returncode == 0
    assert replay(tmp_path, WIDE, state="b").returncode == 0
    assert alerts(tmp_path, "a") == alerts(tmp_path, "b") != []


def test_forecasts_are_made_at_every_step(tmp_path: Path) -> None:
    done = replay(tmp_path, WIDE)
    (line,) = [line for line in done.stdout.splitlines() if "samples" in line]
    forecasts = int(line.split(" forecasts")[0].rsplit(" ", 1)[1])
    assert forecasts >= 2 * 85


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a header and rows, found an empty file"),
        ("a;b;c\n1;2;3\n", "line 1: expected a header with a date column"),
        ("date;pressure\n01/02/2024 10:00;1\n", "expected a column of a configured tag (flow, hx/flow, hx/water, water)"),
        ("date;water\n31/02/2024 10:00;5\n", "line 2: expected a date (2014-12-31 23:00 or 31/12/2014 23:00), found '31/02/2024"),
    ],
    ids=["empty", "no date", "no tag", "31 February"],
)  # fmt: skip
def test_what_is_no_history_is_one_clear_sentence(tmp_path: Path, text: str, expected: str) -> None:
    done = replay(tmp_path, text)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_torn_last_line_and_a_bad_cell_cost_themselves_alone(tmp_path: Path) -> None:
    done = replay(tmp_path, LONG + "01/02/2024 11:00:00;water;;cinq\n01/02/2024 11:00:10;wat")
    assert done.returncode == 0
    assert "180 samples" in done.stdout
    assert "2 inputs rejected" in done.stdout


def test_a_second_replay_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    assert replay(tmp_path, WIDE).returncode == 0
    again = replay(tmp_path, WIDE)
    assert again.returncode == 1
    assert "expected a folder without a journal; give another --state" in again.stderr


def test_an_hour_of_noise_around_a_limit_is_at_most_one_alarm(tmp_path: Path) -> None:
    # Six sigma of the noise are the deadband and more: what is smaller than that is no return.
    dice = random.Random(28)
    text = "time,water\n" + "".join(
        f"2024-02-01T10:{i // 60:02d}:{i % 60:02d}Z,{5.2 + dice.gauss(0, 0.008):.4f}\n" for i in range(3600)
    )
    done = replay(tmp_path, text, "--no-model")
    assert done.returncode == 0, done.stderr
    raised = [a for a in map(json.loads, alerts(tmp_path)) if a["rule"] == "tolerance"]
    assert [a["state"] for a in raised] in ([], ["unacknowledged"])

"""The demo as a newcomer runs it: the simulated plant, the real model, real protocols, and a report that is checked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stream", "demo", "--folder", str(folder / "run"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )


@pytest.mark.model
@pytest.mark.slow
def test_a_minute_of_it_loses_nothing_forecasts_with_the_model_and_alarms_the_fault(tmp_path: Path) -> None:
    demo = start(tmp_path, "--for", "35", "--report", str(tmp_path / "out.json"), "--scenario", "load_step@100+60")
    out, err = demo.communicate(timeout=100)
    assert demo.returncode == 0, err
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["samples"] > 150
    assert report["samples_lost"] == 0
    assert report["samples_rejected"] == 0
    assert report["forecasts"]["panel"] > 50
    assert report["forecasts"]["language"] > 2
    assert report["scores"] > 20
    assert report["faults_played"] == report["faults_alarmed"] == 1
    assert report["speed"] == 10
    assert report["latency_verdict_ms"]["p99"] < 200
    assert "Traceback" not in out + err
    alerts = subprocess.run(
        [sys.executable, "-m", "stream", "history", str(tmp_path / "run/demo.yaml"), "--kind", "alert"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert "exchanger/chilled_water/tolerance  unacknowledged" in alerts


def test_ctrl_c_ends_it_cleanly_with_its_figures_and_leaves_no_process_behind(tmp_path: Path) -> None:
    demo = start(tmp_path)
    assert demo.stdout is not None
    # The first line comes when both programs run.
    assert "samples" in demo.stdout.readline()
    time.sleep(3)
    # As a terminal does it: to every process of the group.
    os.killpg(demo.pid, signal.SIGINT)
    out, err = demo.communicate(timeout=30)
    assert demo.returncode == 0, err
    assert '"samples_lost": 0' in out
    assert "Traceback" not in out + err
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_what_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    demo = start(tmp_path, "--for", "5", "--scenario", "meteor@10+5")
    _, err = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert "the plant did not start: " in err
    assert "meteor" in err
    assert "Traceback" not in err

"""The unit file as systemd's own analyser reads it; `tests/faults/test_unit.py` starts it for real."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEMD = Path(__file__).parents[3] / "deploy/systemd"
EXPOSURE = 25
"""Tenths: what `--threshold` counts in."""


@pytest.fixture(params=["plain", "gpu", "credentials"])
def root(request: pytest.FixtureRequest, tmp_path: Path, require: Callable[[str], str]) -> Path:
    """A root folder with the unit, its drop-in and a program where the unit expects one."""
    require("systemd-analyze")
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    shutil.copy(SYSTEMD / "givre.service", units)
    if request.param != "plain":
        (units / "givre.service.d").mkdir()
        shutil.copy(SYSTEMD / f"{request.param}.conf", units / "givre.service.d")
    for program in ("opt/givre/bin/givre", "bin/kill", "usr/bin/nsenter", "usr/bin/nvidia-modprobe"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).touch(mode=0o755)
    return tmp_path


def analyze(verb: str, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", verb, f"--root={root}", *options], capture_output=True, text=True, check=False, timeout=20
    )


def test_systemd_finds_nothing_to_say(root: Path) -> None:
    # Of the units of the system that ours names, none is in this root: --recursive-errors=no leaves them out.
    said = analyze("verify", root, "--recursive-errors=no", "--man=no", "givre.service")
    assert (said.returncode, said.stderr) == (0, "")


def test_systemd_would_say_it_if_there_were_a_fault(root: Path) -> None:
    unit = root / "etc/systemd/system/givre.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=30", "WatchdogSecs=30"))
    assert "WatchdogSecs" in analyze("verify", root, "--recursive-errors=no", "--man=no", "givre.service").stderr


def test_exposure_is_at_most_2_5(root: Path) -> None:
    said = analyze("security", root, "--offline=true", f"--threshold={EXPOSURE}", "givre.service")
    assert said.returncode == 0, said.stdout[-2000:] + said.stderr


def test_what_the_language_model_needs_is_not_forbidden() -> None:
    """Measured with torch 2.13: see the comment in the unit."""
    lines = (SYSTEMD / "givre.service").read_text().splitlines()
    forbidden = {line for line in lines if line.startswith(("MemoryDenyWriteExecute=", "ProcSubset="))}
    assert forbidden == set()
    assert not any(line.startswith("SystemCallFilter=~") and "@resources" in line for line in lines)

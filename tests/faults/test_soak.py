"""The soak, for two minutes and with a fault every ten seconds: it is run for hours by `make soak`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.slow_fault
@pytest.mark.timeout(400)
def test_faults_at_random_break_no_invariant(
    require: Callable[[str], str], record_property: Callable[[str, object], None]
) -> None:
    require("mosquitto")
    require("influxd")
    command = [
        sys.executable,
        str(Path(__file__).parent / "soak.py"),
        "--hours",
        "0.033",
        "--every",
        "10",
        "--seed",
        "11",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=380)
    assert done.stdout, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    figure = (
        f"{said['faults']} faults in two minutes, {said['samples']} samples and {said['transitions']} transitions whole"
    )
    record_property("figure", f"{figure}, well again after {said['well_after_s']['most']} s at most")
    assert said["broken"] == [], done.stdout[-3000:]
    assert done.returncode == 0

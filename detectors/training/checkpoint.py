"""Where does a training go on that was interrupted? A folder with all that it needs, which appears whole or not at all.

Numbers are kept as safetensors and the rest as JSON: nothing that could run. A new checkpoint is written beside the old one,
brought to disk, and takes its place by a rename.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

__all__ = ["CheckpointError", "read_checkpoint", "require_same", "write_checkpoint"]

_NAME, _STATE, _NUMBERS = "checkpoint", "state.json", "numbers.safetensors"


class CheckpointError(Exception):
    """A checkpoint that cannot be gone on from: subject, what was expected, what was found, what to do."""


def write_checkpoint(folder: Path, state: Mapping[str, Any], numbers: Mapping[str, Tensor]) -> None:
    """Takes the place of the former one; raises OSError where it cannot be written, and the former one stays."""
    fresh, old = folder / f"{_NAME}.new", folder / f"{_NAME}.old"
    for path in (fresh, old):
        shutil.rmtree(path, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in numbers.items()}, fresh / _NUMBERS)
        (fresh / _STATE).write_text(json.dumps(state), encoding="utf-8")
        for path in (fresh / _NUMBERS, fresh / _STATE):
            with path.open("rb") as file:
                os.fsync(file.fileno())
    except (OSError, SafetensorError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise OSError(f"checkpoint {folder}: it cannot be written: {error}") from error
    if (folder / _NAME).exists():
        (folder / _NAME).rename(old)
    fresh.rename(folder / _NAME)
    shutil.rmtree(old, ignore_errors=True)


def read_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """State and numbers of the last whole checkpoint, None if there is none; raises CheckpointError for a damaged one."""
    # Killed between the two renames, the old one is the last whole one.
    path = next((folder / name for name in (_NAME, f"{_NAME}.old") if (folder / name / _STATE).is_file()), None)
    if path is None:
        return None
    try:
        state = json.loads((path / _STATE).read_text(encoding="utf-8"))
        numbers = load_file(path / _NUMBERS)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"checkpoint {path}: expected what an interrupted training left, found a damaged one ({error}). "
            "Remove the folder to begin anew"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"checkpoint {path}: expected a JSON object in {_STATE}, found {type(state).__name__}")
    return state, numbers


def require_same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raises ValueError, with what differs, where a checkpoint is of a training of other settings or another history."""
    other = [key for key, value in expected.items() if found.get(key) != value]
    if other:
        words = ", ".join(f"{key} {found.get(key)!r:.80}" if key == "tags" else key for key in other)
        raise ValueError(f"training: expected to go on with the one that was interrupted, found one of other {words}")

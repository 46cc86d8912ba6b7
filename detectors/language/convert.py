"""How does a GGUF file become a folder that loads in seconds? By de-quantising it once.

Run as a program of its own (``python -m detectors.language.convert SOURCE FOLDER``), so that whoever waits for it need not
carry torch, and an interruption leaves nothing half done: the folder appears whole, by a rename.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from detectors.language.error import ModelError
from detectors.language.model import sha256_of, silence

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["convert_gguf"]

DTYPE = torch.bfloat16
"""The quantised weights have 4 to 6 bits: bfloat16 keeps what is in them, at half the reading of float32."""


def convert_gguf(source: Path, folder: Path, show: Callable[[str, float], None] = lambda _what, _share: None) -> None:
    """Makes `folder` (Hugging Face layout, with model.safetensors.sha256) out of a GGUF file; replaces what is there.

    `show` is told what is going on and the share that is done. Raises ModelError for a file that is no GGUF, or of a model
    that transformers does not know.
    """
    subject = f"model {source}"
    try:
        with source.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(subject, expected="a GGUF file that can be read", found=error.strerror or str(error)) from None
    if magic != b"GGUF":
        raise ModelError(subject, expected="a GGUF file", found=f"one that begins with {magic!r}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        show("reading the quantised weights", 0.1)
        local: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True, "trust_remote_code": False}
        try:
            model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=DTYPE, **local)
            show("reading the tokenizer", 0.7)
            tokenizer = AutoTokenizer.from_pretrained(source.parent, **local)
        except Exception as error:
            # The library raises whatever its parsers raise.
            found = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ModelError(
                subject, expected="a language model as GGUF that transformers knows", found=found
            ) from error
        show("writing the converted model", 0.8)
        tokenizer.save_pretrained(made)
        _save(model, made)
        # A folder cannot be renamed over a full one.
        shutil.rmtree(folder, ignore_errors=True)
        made.chmod(0o755)
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    show("model converted", 1.0)


def _save(model: Any, made: Path) -> None:
    """By hand: a model that was loaded from GGUF refuses save_pretrained."""
    config = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        config.pop(key, None)
    config["architectures"] = [type(model).__name__]
    config["dtype"] = str(DTYPE).removeprefix("torch.")
    (made / "config.json").write_text(json.dumps(config, indent=2, default=str), encoding="utf-8")
    state, seen = {}, set()
    for name, tensor in model.state_dict().items():
        # Tied weights are one tensor under two names; the loader ties them again.
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            state[name] = tensor.to(DTYPE).contiguous()
    weights = made / "model.safetensors"
    save_file(state, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    (made / "model.safetensors.sha256").write_text(f"{sha256_of(weights)}\n", encoding="ascii")


def _main() -> int:
    silence()
    warnings.simplefilter("ignore")
    source, folder = map(Path, sys.argv[1:3])
    try:
        convert_gguf(source, folder, lambda what, share: print(f"{share:.2f} {what}", flush=True))  # noqa: T201 - read by the caller
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())

"""Does an adapter belong to this model? Looked at before anything of it is loaded; then merged into the weights.

An adapter is the difference that fine-tuning made (LoRA, Hu et al. 2021), in the layout of the peft library: adapter_config.json
and adapter_model.safetensors. Put on another base model it does not fail, it makes nonsense; so the base is proven, by the
checksum on the adapter's card where Givre trained it, else by name and by the sizes of every matrix.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from detectors.language.error import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["CARD", "examine_adapter", "examine_context", "merge_adapter"]

CARD = "card.json"
"""Beside the adapter: what it was trained on, with `base_sha256`, the checksum of the base model's weights."""
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_ADVICE = "An adapter works with the base model it was trained on alone: choose that one, or train anew"


def examine_adapter(adapter: Path, *, base: str, sha256: Callable[[], str]) -> dict[str, Any]:
    """The adapter's configuration; raises ModelError unless it is a LoRA adapter of the model called `base`.

    `sha256` computes the checksum of the base model's weights; it is called only if the adapter has a card.
    """
    subject = f"adapter {adapter}"
    config = _read(adapter / _CONFIG, subject)
    if not (adapter / _WEIGHTS).is_file():
        raise ModelError(
            subject,
            expected=_WEIGHTS,
            found="none",
            advice="Pickled weights (.bin) are never loaded: convert them to safetensors",
        )
    if config.get("peft_type") != "LORA":
        raise ModelError(subject, expected="a LoRA adapter", found=str(config.get("peft_type")))
    if (adapter / CARD).is_file():
        wanted = str(_read(adapter / CARD, subject).get("base_sha256"))
        if (found := sha256()) != wanted:
            raise ModelError(
                subject, expected=f"base model weights with sha256 {wanted}", found=f"{found} ({base})", advice=_ADVICE
            )
        return config
    wanted = str(config.get("base_model_name_or_path") or "").rstrip("/").rpartition("/")[2]
    if wanted.casefold() != base.casefold():
        raise ModelError(subject, expected=f"the base model {wanted or 'that it names'}", found=base, advice=_ADVICE)
    return config


def examine_context(adapter: Path, context: int) -> None:
    """Raises ModelError where the model would read more values at once than the adapter was trained and judged on.

    What it does there nobody has looked at: on the study's series an adapter that gained 0.3 nats per value on texts of 96 days
    made the forecast from 365 days worse by half (docs/study.md).
    """
    if (adapter / CARD).is_file():
        judged = _read(adapter / CARD, f"adapter {adapter}").get("context")
        if isinstance(judged, int) and context > judged:
            raise ModelError(
                f"adapter {adapter.name}",
                expected=f"one that was judged on texts of {context} values, as `model.context` says",
                found=f"one judged on {judged}",
                advice="Train anew, or set `model.context` back",
            )


def merge_adapter(whole: Any, adapter: Path, *, base: str, sha256: Callable[[], str]) -> Any:
    """The model with the adapter's difference added to its weights, in float32; raises ModelError if it does not fit."""
    examine_adapter(adapter, base=base, sha256=sha256)
    _fit(whole, adapter)
    from peft import PeftModel  # noqa: PLC0415 - only who has an adapter waits for it

    tuned = PeftModel.from_pretrained(whole, str(adapter), local_files_only=True)
    return tuned.merge_and_unload(safe_merge=True)


def _fit(whole: Any, adapter: Path) -> None:
    """Every matrix of the adapter must have its layer, in its size."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - a check of names needs none of it

    subject = f"adapter {adapter}"
    layers = dict(whole.named_modules())
    try:
        with safe_open(adapter / _WEIGHTS, framework="pt") as file:
            sizes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError) as error:
        raise ModelError(subject, expected=f"{_WEIGHTS} that can be read", found=str(error)) from None
    for name, size in sorted(sizes.items()):
        path = name.removeprefix("base_model.model.")
        where, _, kind = path.partition(".lora_")
        layer = layers.get(where)
        features = getattr(layer, "in_features", None) if kind.startswith("A") else getattr(layer, "out_features", None)
        held = size[1] if kind.startswith("A") else size[0]
        if features != held:
            raise ModelError(
                subject,
                expected=f"{where} with {held} {'inputs' if kind.startswith('A') else 'outputs'}",
                found="no such layer in the base model" if features is None else f"one with {features}",
                advice=_ADVICE,
            )


def _read(file: Path, subject: str) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(subject, expected=f"a folder with {_CONFIG} and {_WEIGHTS}", found=f"no {file.name}") from None
    except (OSError, ValueError) as error:
        raise ModelError(subject, expected=f"{file.name} that can be read", found=str(error)) from None
    if not isinstance(read, dict):
        raise ModelError(subject, expected=f"a JSON object in {file.name}", found=type(read).__name__)
    return read

"""How much memory will the model take? Computed from its config before anything is allocated, and without torch.

Bytes of one token: layers x key-value heads x head size x 2 (keys and values) x bytes of a number. A tag takes its context;
the futures that are drawn share it, and take only the steps ahead. Besides, there are the weights and one pass of
activations.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detectors.language.codec import DIGITS
from detectors.language.error import ModelError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORK_BYTES", "PASS_TOKENS", "MemoryPlan", "Shape", "plan_memory", "read_shape"]

TOKENS_PER_VALUE = DIGITS + 1
"""Three digits and a separator; a tokenizer with three-digit groups takes half, so the plan is an upper bound."""
PASS_TOKENS = 1024
"""Tokens that go through the model in one pass at most: what is more is cut into several, which takes no longer."""
FORK_BYTES = 256 * 2**20
"""Keys and values of drawn futures that are held at once, the texts they share aside: what is more is drawn in turns."""

LIBRARY_BYTES = 128 * 2**20
"""Tokenizer, code and buffers that come with the first model, whatever its size: measured on a processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a model, from its config.json and its weights files."""

    layers: int
    heads: int
    kv_heads: int
    head_size: int
    hidden: int
    intermediate: int
    longest: int
    weights_bytes: int
    stored_bytes: int

    def token_bytes(self, number_bytes: int) -> int:
        """Bytes of the keys and values of one token."""
        return self.layers * self.kv_heads * self.head_size * 2 * number_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What will be taken, in bytes."""

    weights: int
    per_tag: int
    tags: int
    forks: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.tags * self.per_tag + self._besides

    @property
    def mib(self) -> str:
        """All of it, as people read it."""
        return _mib(self.total)

    def tags_in(self, available: int) -> int:
        """How many tags fit in so many bytes, beside all the rest."""
        return max((available - self._besides) // self.per_tag, 0)

    @property
    def _besides(self) -> int:
        """What does not grow with the number of tags, or does so no further than to a bound."""
        return self.weights + self.forks + self.activations + LIBRARY_BYTES

    def __str__(self) -> str:
        return (
            f"{_mib(self.total)}: weights {_mib(self.weights)}, {self.tags} tags at {_mib(self.per_tag)}, "
            f"drawn futures {_mib(self.forks)}, one pass {_mib(self.activations)}, libraries {_mib(LIBRARY_BYTES)}"
        )

    def require(self, available: int, *, where: str) -> None:
        """Raises ModelError, with the numbers and the ways out, if `available` bytes are not enough."""
        if self.total <= available:
            return
        fit = self.tags_in(available)
        raise ModelError(
            f"memory of the model on {where}",
            expected=f"at least {_mib(self.total)} free ({self})",
            found=_mib(available),
            advice=f"Ways out: fewer tags ({fit} fit), a shorter `context`, or a smaller model or dtype",
        )


def read_shape(folder: Path) -> Shape:
    """The sizes of the model in a folder; raises ModelError if it is not a model in Hugging Face layout."""
    subject = f"model {folder}"
    config = _read_config(folder, subject)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(
            subject,
            expected="weights as *.safetensors",
            found=", ".join(sorted(p.name for p in folder.iterdir())[:8]),
            advice="Pickled weights (.bin, .pt) are never loaded: convert them to safetensors",
        )
    # Models that also see pictures keep the sizes of their language part one level down.
    config = config.get("text_config") or config
    try:
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        return Shape(
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
            hidden=hidden,
            intermediate=int(config.get("intermediate_size") or 4 * hidden),
            longest=_longest(config),
            weights_bytes=sum(p.stat().st_size for p in weights),
            stored_bytes=4 if str(config.get("dtype") or config.get("torch_dtype") or "") == "float32" else 2,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            subject, expected="config.json of a causal language model", found=f"none with a usable {error}"
        ) from None


def plan_memory(
    shape: Shape,
    *,
    tags: int,
    context: int,
    samples: int,
    horizon: int,
    number_bytes: int,
    weight_bytes: int | None = None,
) -> MemoryPlan:
    """The memory of `tags` tags that read `context` values and draw `samples` futures of `horizon` steps.

    `number_bytes` is the size of a number in the cache, `weight_bytes` that of a weight where it differs. Raises ModelError
    for a context that the model cannot hold.
    """
    text = 1 + context * TOKENS_PER_VALUE
    ahead = horizon * TOKENS_PER_VALUE
    if text + ahead > shape.longest:
        most = (shape.longest - 1) // TOKENS_PER_VALUE - horizon
        raise ModelError(
            "context of the model",
            expected=f"at most {shape.longest} tokens, which is what this model holds",
            found=f"{text + ahead} for {context} values and a horizon of {horizon}",
            advice=f"Set `context` to {most} or less"
            if most > 0
            else "Set a shorter `horizon`, or choose another model",
        )
    # As `LanguageForecaster` draws them: so many tags and futures at a time, beside a copy of what was read of those tags.
    token = shape.token_bytes(number_bytes)
    most = max(FORK_BYTES // max(ahead * token, 1), 1)
    together = min(tags, max(most // samples, 1)) if ahead else 0
    # The widest of a pass: queries, keys, values, two halves of the feed-forward part, and hidden states in and out.
    width = (shape.heads + 2 * shape.kv_heads) * shape.head_size + 3 * shape.intermediate + 4 * shape.hidden
    return MemoryPlan(
        weights=shape.weights_bytes * (weight_bytes or number_bytes) // shape.stored_bytes,
        per_tag=text * token,
        tags=tags,
        forks=min(together * samples, most) * ahead * token + together * text * token,
        activations=min(tags * text, PASS_TOKENS) * width * max(number_bytes, 4),
    )


def _longest(config: dict[str, Any]) -> int:
    """Tokens that every layer sees at once: a layer with a sliding window sees no further than that."""
    longest = int(config.get("max_position_embeddings") or 2048)
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    return longest if window is None else min(longest, int(window))


def _read_config(folder: Path, subject: str) -> dict[str, Any]:
    expected = "a folder in Hugging Face layout"
    if not folder.is_dir():
        raise ModelError(subject, expected=expected, found="a file" if folder.exists() else "nothing there")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(subject, expected=f"{expected}, with config.json", found="no config.json in it") from None
    except (OSError, ValueError) as error:
        raise ModelError(subject, expected="a config.json that can be read", found=str(error)) from None
    if not isinstance(config, dict):
        raise ModelError(subject, expected="a JSON object in config.json", found=type(config).__name__)
    return config


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"

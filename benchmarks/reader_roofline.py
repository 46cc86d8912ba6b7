"""How fast could this machine read a value at best? Its plain matrix product and its plain copy say so.

Operations and bytes follow from the model's config: a pass over a value's tokens multiplies every weight of the layers once per
token, reads every weight once per pass (whatever the batch), and reads what the tag's cache holds once. The longer of the
two times is the roofline (Williams, Waterman and Patterson, 2009).
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from detectors.language.codec import KEPT
from detectors.language.int8 import Int8Linear
from detectors.language.packed import PackedLinear

if TYPE_CHECKING:
    from collections.abc import Callable

    from detectors.language.model import LanguageModel

__all__ = ["Roofline", "breakdown"]

COPY_BYTES = 512 * 2**20
SIDE = 2048
KINDS = {
    "attention": ("scaled_dot_product", "bmm", "softmax"),
    "weights": ("addmm", "mm", "_int_mm", "linear"),
    "copies": ("copy_", "index_put", "cat", "index", "clone", "repeat", "zeros", "fill_"),
}


class Roofline:
    """What a value costs in operations and bytes, and what the machine does of each in a second."""

    def __init__(self, model: LanguageModel, *, context: int) -> None:
        shape, alphabet = model.shape, model.alphabet
        linear = [m for m in model.body.modules() if isinstance(m, nn.Linear | Int8Linear)]
        packed = [m for m in model.body.modules() if isinstance(m, PackedLinear)]
        self.weight_bytes = sum(m.weight.numel() * m.weight.element_size() for m in linear) + sum(
            m.bytes for m in packed
        )
        weights = sum(m.weight.numel() for m in linear) + sum(m.bytes for m in packed) // model.dtype.itemsize
        tokens = alphabet.tokens_per_value
        # Texts hold between a quarter and a whole context.
        held = (1 + KEPT) / 2 * context * tokens
        self.value_bytes = held * shape.token_bytes(model.dtype.itemsize)
        attention = 4 * held * shape.layers * shape.heads * shape.head_size
        # What a text begins with is read a second time.
        self.value_operations = 2 * tokens * (weights / (1 - KEPT) + attention)
        self.operations_s = _product(model)
        self.bytes_s = _copy(model.device)
        self.machine = (
            f"a plain product of matrices ({SIDE} x {SIDE}, {model.numbers}): {self.operations_s / 1e9:,.0f} G operations/s; "
            f"a plain copy: {self.bytes_s / 1e9:,.1f} GB/s\n"
            f"a value: {self.value_operations / 1e9:.2f} G operations (begun anew included), "
            f"{self.value_bytes / 1e6:.1f} MB of cache; a pass: {self.weight_bytes / 1e6:.0f} MB of weights\n"
        )

    def fraction(self, batch: int, seconds: float) -> tuple[float, str]:
        """The roofline's time of a value as a share of `seconds`, and what bounds it."""
        operations = self.value_operations / self.operations_s
        moved = (self.weight_bytes / batch + self.value_bytes) / self.bytes_s
        return max(operations, moved) / seconds, "operations" if operations > moved else "bytes"


def breakdown(work: Callable[[], object]) -> str:
    """Shares of the time of `work` by kind of operation, in one line."""
    cuda = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiled:
        work()
    spent: defaultdict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        kind = next((k for k, names in KINDS.items() if any(n in event.key for n in names)), "other operations")
        spent[kind] += own
    total = sum(spent.values()) or 1.0
    return ", ".join(f"{kind} {share / total:.0%}" for kind, share in sorted(spent.items(), key=lambda kv: -kv[1]))


def _product(model: LanguageModel) -> float:
    a = torch.randn(SIDE, SIDE, device=model.device).to(model.dtype)
    b = torch.randn(SIDE, SIDE, device=model.device).to(model.dtype)
    if model.numbers == "int8":
        whole = (a * 50).to(torch.int8), (b * 50).to(torch.int8)
        return 2 * SIDE**3 / _best(lambda: torch._int_mm(*whole), model.device)  # noqa: SLF001 - there is no public word
    return 2 * SIDE**3 / _best(lambda: a @ b, model.device)


def _copy(device: torch.device) -> float:
    source = torch.zeros(COPY_BYTES // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    # Read once, written once.
    return 2 * COPY_BYTES / _best(lambda: target.copy_(source), device)


def _best(work: Callable[[], object], device: torch.device, times: int = 10) -> float:
    """Seconds of the fastest of some runs."""
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best

"""How much memory will the training take, and how many texts fit at a time? Reckoned before anything is loaded.

What is kept of each token for the way back is reckoned per layer: inputs of the products, of the norms and of the gated unit,
in the numbers that are computed in. Where not even one text fits, its layers are reckoned anew on the way back (gradient
checkpointing, Chen et al. 2016), which costs a third more time and keeps one hidden state a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detectors.language.error import ModelError
from detectors.language.plan import LIBRARY_BYTES

if TYPE_CHECKING:
    from detectors.language.plan import Shape

__all__ = ["TrainingPlan", "plan_training"]

SAVED_HIDDEN, SAVED_INTERMEDIATE = 20.9, 7.9
"""Numbers kept of a token in a layer, in widths of the hidden state and of the gated unit, as measured."""
OPTIMISER_BYTES = 16
"""Of a trained number: itself, its gradient and two moments, in float32."""
BEST_BYTES = 4
"""And the best so far."""
MOST_TOGETHER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """`together` texts are read at a time, `times` that many before each step of the optimiser."""

    together: int
    times: int
    checkpointing: bool
    weights: int
    trained: int
    activations: int

    @property
    def total(self) -> int:
        """Bytes of all of it."""
        return self.weights + self.trained + self.activations + LIBRARY_BYTES

    def __str__(self) -> str:
        how = ", layers reckoned anew on the way back" if self.checkpointing else ""
        return (
            f"{_mib(self.total)}: weights {_mib(self.weights)}, what is trained {_mib(self.trained)}, {self.together} texts at a "
            f"time {_mib(self.activations)}, libraries {_mib(LIBRARY_BYTES)}{how}"
        )


def plan_training(
    shape: Shape,
    *,
    trained: int,
    tokens: int,
    batch: int,
    available: int,
    where: str,
    number_bytes: int,
    weight_bytes: int,
) -> TrainingPlan:
    """The largest part of a batch that fits, plain if it can be; raises ModelError, with what would fit, where nothing does.

    `trained` is how many numbers are trained, `tokens` the length of a text, `batch` the texts of a step of the optimiser.
    """
    weights = shape.weights_bytes * weight_bytes // shape.stored_bytes
    learnt = trained * (OPTIMISER_BYTES + BEST_BYTES)
    plain = _text_bytes(shape, tokens, number_bytes)
    lean = tokens * shape.hidden * number_bytes * shape.layers + plain // shape.layers
    for per_text, checkpointing in ((plain, False), (lean, True)):
        for together in range(min(batch, MOST_TOGETHER), 0, -1):
            plan = TrainingPlan(
                together=together,
                times=-(-batch // together),
                checkpointing=checkpointing,
                weights=weights,
                trained=learnt,
                activations=together * per_text,
            )
            # A plain pass one text at a time is slower than two lean ones at a time, but never by a third.
            if plan.total <= available:
                return plan
    raise ModelError(
        f"memory for training on {where}",
        expected=f"at least {_mib(plan.total)} free ({plan})",
        found=_mib(available),
        advice=f"Ways out: a shorter `--context` ({_fits(available, weights + learnt, lean, tokens)}), a smaller `--rank`, "
        "or a smaller model",
    )


def _text_bytes(shape: Shape, tokens: int, number_bytes: int) -> int:
    width = SAVED_HIDDEN * shape.hidden + SAVED_INTERMEDIATE * shape.intermediate
    return int(tokens * shape.layers * width * number_bytes)


def _fits(available: int, fixed: int, per_text: int, tokens: int) -> str:
    left = available - fixed - LIBRARY_BYTES
    if left <= 0:
        return "none would fit: the model alone takes more"
    return f"{max(left * tokens // per_text // 4, 0)} values would fit"


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"

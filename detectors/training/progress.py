"""How far is a training?"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Steps done and in all, the loss lately learnt, that of the part that tunes (None: not read yet), and the best of it."""

    step: int
    steps: int
    learnt: float
    tuned: float | None
    best: float | None
    left_s: float

"""How does a panel do, tag by tag and lead by lead?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Standing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Of one tag at one lead: whom the panel follows, and how well that went.

    `weights` are those of the members, by name, adding up to 1. `coverage80` and `coverage90` are the shares of values that lay
    within the published bands, `skill` is 1 - (pinball loss of the panel / that of persistence): above nought is better, 1
    is perfect. All three are means that forget; None until a step was judged (`steps` counts them), and `skill` where there
    is no persistence to be compared with, or that has made no error.
    """

    tag: str
    at: datetime
    lead: int
    lead_s: float
    steps: int
    weights: tuple[tuple[str, float], ...]
    coverage80: float | None
    coverage90: float | None
    skill: float | None

"""What had to go before every sink had it: how much of which kind, and of what time?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Loss", "lost_words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Records of one kind: how many, and the times of the first and the last."""

    count: int
    begin: datetime
    end: datetime

    def __or__(self, other: Loss | None) -> Loss:
        """Both together."""
        if other is None:
            return self
        begin, end = min(self.begin, other.begin), max(self.end, other.end)
        return Loss(count=self.count + other.count, begin=begin, end=end)


def lost_words(losses: Mapping[str, Loss]) -> str:
    """Such as: 1200 sample, 2026-01-01 08:00:00 to 2026-01-01 08:20:00 UTC."""
    return "; ".join(
        f"{loss.count} {kind}, {loss.begin:%Y-%m-%d %H:%M:%S} to {loss.end:%Y-%m-%d %H:%M:%S} UTC"
        for kind, loss in sorted(losses.items())
    )

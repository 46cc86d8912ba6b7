"""What time is it in the plant?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["PlantClock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantClock:
    """Stood at `origin` when the machine's clock read `origin_unix_s`, and has run `speed` times as fast since."""

    origin: datetime
    origin_unix_s: float
    speed: float

    def now(self) -> datetime:
        """Plant time, aware UTC."""
        return self.origin + timedelta(seconds=(time.time() - self.origin_unix_s) * self.speed)

    def wait_s(self, moment: datetime) -> float:
        """Machine seconds until `moment`, negative when it has passed."""
        return (moment - self.now()).total_seconds() / self.speed

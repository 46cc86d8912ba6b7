"""What time is it? The one place that asks the machine; everything else is told.

`speed` is plant seconds per machine second: 1 in a plant, more in the demo, whose plant and Givre share one fast clock so
that every duration of the configuration keeps its meaning. Test clocks are advanced by hand (tests/).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "FastClock", "SystemClock"]

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""Givre is younger: a machine that shows less has lost its time, and stands at 1970 or at the date of its board."""


class Clock(Protocol):
    """Source of time for the pipeline, the sources and the sinks."""

    @property
    def speed(self) -> float:
        """Plant seconds per machine second."""

    @property
    def earliest(self) -> datetime:
        """Whoever reads less from it reads a clock that is wrong."""

    def now(self) -> datetime:
        """Plant time, aware UTC."""

    async def sleep(self, seconds: float) -> None:
        """Waits for `seconds` of plant time."""


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's own clock."""

    speed: float = 1.0
    earliest: datetime = BEGINNING

    def now(self) -> datetime:
        """The machine's time."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class FastClock:
    """A clock that stood at `origin` when the machine's clock read `origin_unix_s`, and has run `speed` times as fast since.

    Two programs given the same three figures agree on the time.
    """

    origin: datetime
    origin_unix_s: float
    speed: float

    @property
    def earliest(self) -> datetime:
        """Its origin."""
        return self.origin

    def now(self) -> datetime:
        """The fast time."""
        return self.origin + timedelta(seconds=(time.time() - self.origin_unix_s) * self.speed)

    async def sleep(self, seconds: float) -> None:
        """Waits for fewer seconds of the machine's."""
        await asyncio.sleep(seconds / self.speed)

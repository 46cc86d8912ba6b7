"""Which symbol may come next in an answer? The grammar of a list of dated values, with nothing left to chance but the figures.

The answer is JSON, ``[{"date": "2014-11-01", "value": 51.2}, ...]``. How many entries there are, and their dates, is computed;
of each value only its figures are free: a sign, figures before the point without a leading nought, and a fixed number behind it.
So every answer parses, has as many entries as were asked for, and no date that is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["END", "SYMBOLS", "Number", "date_text", "notation"]

SYMBOLS = "0123456789-.}"
"""What can be said: figures, sign, point, and the bracket that ends an entry."""
END = "}"
DECIMALS = 6
LARGEST, FINEST = 1e7, 1e-4
FINE_ENOUGH = 5e-4
"""Rounding by this share of a window's span says all there is to say of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """How the values of one window are written, in units of 10^`power`: figures before and behind the point."""

    whole: int
    decimals: int
    negative: bool
    power: int = 0

    def write(self, value: float) -> str:
        """A value as the past shows it, rounded."""
        text = f"{value / 10.0**self.power:.{self.decimals}f}"
        return text.removeprefix("-") if float(text) == 0 else text

    def read(self, text: str) -> float:
        """The value of a text that `may` has allowed; finite."""
        return float(text) * 10.0**self.power

    def may(self, text: str) -> str:
        """The symbols that may follow what has been said of a value so far; only END once it is whole."""
        figures = text.removeprefix("-")
        before, point, behind = figures.partition(".")
        if not figures:
            return "0123456789-" if self.negative and not text else "0123456789"
        if point:
            return "0123456789" if len(behind) < self.decimals else END
        rest = "." if self.decimals else END
        return rest if before == "0" or len(before) >= self.whole else f"0123456789{rest}"


def notation(values: Sequence[float]) -> Number:
    """How to write the finite values of a window: exactly where that takes few figures, else to a share of their span."""
    largest = max(abs(value) for value in values)
    span = max(values) - min(values)
    power = 0
    # Figures of the size that people write: what is far larger or finer gets another unit.
    if largest >= LARGEST or 0 < (span or largest) < FINEST:
        power = math.floor(math.log10(largest)) - 2
    scaled = [value / 10.0**power for value in values]
    allowed = FINE_ENOUGH * (max(scaled) - min(scaled)) or 1e-9 * max(1.0, *map(abs, scaled))
    decimals = next(
        (d for d in range(DECIMALS) if all(abs(value - round(value, d)) <= allowed for value in scaled)), DECIMALS
    )
    whole = len(f"{max(map(abs, scaled)):.0f}") + 1
    return Number(whole=whole, decimals=decimals, negative=min(values) < 0, power=power)


def date_text(at: datetime, period_s: float) -> str:
    """A moment as precisely as the period needs it, in UTC."""
    day = timedelta(days=1).total_seconds()
    if period_s % day == 0:
        return f"{at:%Y-%m-%d}"
    if period_s % 60 == 0:
        return f"{at:%Y-%m-%d %H:%M}"
    if period_s % 1 == 0:
        return f"{at:%Y-%m-%d %H:%M:%S}"
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"

"""Does the value change faster than the plant can?

The rate is taken over a stated span of closed steps: long enough that the sensor's noise divided by it is small. A hole at
either end of the span gives no verdict.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from detectors.facts import Facts
from detectors.records import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from detectors.detector import Step

__all__ = ["Rate"]


class Rate:
    """Change per minute over `over_s`, rounded to whole steps; the score is the rate in units of `per_minute`."""

    rule = "rate"

    def __init__(
        self,
        *,
        per_minute: float,
        over_s: float,
        period_s: float,
        direction: Literal["both", "rising", "falling"] = "both",
    ) -> None:
        if not per_minute > 0:
            raise ValueError(f"rate: expected more than 0 per minute, found {per_minute}")
        self._per_minute = per_minute
        self._direction = direction
        self._values: deque[float | None] = deque(maxlen=max(1, round(over_s / period_s)) + 1)
        self._span_s = (self._values.maxlen or 2) * period_s - period_s
        self._tag = ""
        self._at: datetime | None = None

    def take(self, step: Step) -> None:
        """Remembers the step's value."""
        self._tag, self._at = step.tag, step.end_at
        self._values.append(step.value)

    def judge(self) -> Verdict | None:
        """The rate between the first and the last step of the span."""
        if self._at is None or len(self._values) != self._values.maxlen:
            return None
        first, last = self._values[0], self._values[-1]
        if first is None or last is None:
            return None
        rate = (last - first) / self._span_s * 60
        counted = {"both": abs(rate), "rising": rate, "falling": -rate}[self._direction]
        return Verdict(
            tag=self._tag,
            rule=self.rule,
            at=self._at,
            score=max(0.0, counted) / self._per_minute,
            value=last,
            facts=Facts(
                figures=(("per_minute", rate), ("allowed_per_minute", self._per_minute), ("over_s", self._span_s))
            )
            if counted > self._per_minute
            else None,
        )

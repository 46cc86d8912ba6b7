"""Has the level of this tag moved away from where it slowly follows?

The mean of the last steps is laid against a baseline that follows the tag with a long memory; what distance is news was learnt
from a normal time (`detectors.baseline`), for steady tags only. What is in alarm is judged and not learnt: the baseline
stands still until it is over, so that a fault does not become normal however long it lasts.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from detectors.facts import Facts
from detectors.records import Verdict

if TYPE_CHECKING:
    from detectors.baseline import Baseline
    from detectors.detector import Step

__all__ = ["Shift", "shifts"]


class Shift:
    """The short mean of one tag against its baseline; the score is the distance in scales.

    `judge` changes nothing; `learn` is called once for each step after it.
    """

    rule = "shift"

    def __init__(self, *, level: float, scale: float, length: int, follow: int) -> None:
        if not scale > 0:
            raise ValueError(f"shift: expected a scale above 0, found {scale}")
        self._level, self._scale, self._length, self._follow = level, scale, length, follow
        self._recent: deque[float | None] = deque([None] * (length - 1), maxlen=length - 1)

    @property
    def level(self) -> float:
        """Where the baseline stands."""
        return self._level

    def judge(self, step: Step) -> Verdict | None:
        """Verdict on a closed step; none for a hole, or while fewer than half of a short mean are known."""
        known = [value for value in self._recent if value is not None]
        if step.value is None or 2 * (len(known) + 1) < self._length:
            return None
        mean = (math.fsum(known) + step.value) / (len(known) + 1)
        return Verdict(
            tag=step.tag,
            rule=self.rule,
            at=step.end_at,
            score=abs(mean - self._level) / self._scale,
            value=mean,
            low=self._level - self._scale,
            high=self._level + self._scale,
            facts=Facts(figures=(("mean", mean), ("level", self._level))),
        )

    def learn(self, step: Step, *, normal: bool) -> None:
        """Takes a step that was judged: the short mean always, the baseline only if it is normal."""
        self._recent.append(step.value)
        if normal and step.value is not None:
            self._level += (step.value - self._level) / self._follow


def shifts(baseline: Baseline) -> dict[str, Shift]:
    """A detector for each steady tag, by tag."""
    return {
        tag: Shift(level=level, scale=scale, length=baseline.length, follow=baseline.follow)
        for tag, level, scale in zip(baseline.tags, baseline.level.tolist(), baseline.scale.tolist(), strict=True)
        if math.isfinite(scale)
    }

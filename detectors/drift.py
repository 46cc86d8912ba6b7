"""Does a tag change its habits: does its distribution move, or do its patterns become rare?

Two learners that never end, both by river, with bounded memory: ADWIN (Bifet and Gavalda 2007) keeps a window of adaptive length
and cuts it where the means of two parts differ by more than chance; half-space trees (Tan, Ting and Liu 2011) give the mass of
what is usual, and a step that falls where there is little is an outlier. What is in alarm is judged and not learnt.

`pip install 'givre[learn]'` brings river; without it, making a detector raises ModuleNotFoundError.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.facts import Facts
from detectors.records import Verdict

if TYPE_CHECKING:
    from detectors.detector import Step

__all__ = ["Drift", "Rarity"]

WARM = 250
"""Steps before rarity is judged: half-space trees say nothing of value in their first window."""
RECKONED_EVERY = 16


class Drift:
    """Whether the mean of one tag has changed; `chance` is ADWIN's delta.

    The score is 0 until a change was found and falls from 2 to 0 over the `shown` steps after it; `value` is the new mean. A
    change is found while learning, so it shows in the verdict of the next step. `judge` changes nothing.
    """

    rule = "drift"

    def __init__(self, *, chance: float = 0.002, shown: int = 60, minimum: float = 0.0) -> None:
        from river.drift import ADWIN  # noqa: PLC0415 -- an extra, and heavy

        if not 0 < chance < 1 or shown < 1:
            raise ValueError(f"drift: expected chance within 0..1 and shown from 1, found {chance} and {shown}")
        adwin: Any = ADWIN
        self._adwin: Any = adwin(delta=chance)
        self._minimum = minimum
        self._shown, self._since = shown, shown
        self._before = self._after = 0.0

    def judge(self, step: Step) -> Verdict | None:
        """Verdict on a closed step; none for a hole."""
        if step.value is None:
            return None
        score = 2 * max(1 - self._since / self._shown, 0.0)
        facts = Facts(figures=(("mean", self._after), ("level", self._before))) if score > 0 else None
        return Verdict(tag=step.tag, rule=self.rule, at=step.end_at, score=score, value=step.value, facts=facts)

    def learn(self, step: Step, *, normal: bool) -> None:
        """Takes a step that was judged; one that is not normal is passed over."""
        self._since = min(self._since + 1, self._shown)
        if step.value is None or not normal:
            return
        before = float(self._adwin.estimation)
        self._adwin.update(step.value)
        if self._adwin.drift_detected and abs(float(self._adwin.estimation) - before) >= self._minimum:
            self._before, self._after, self._since = before, float(self._adwin.estimation), 0


class Rarity:
    """How rare a value and its change are, by half-space trees: 0 as usual, 1 as rare as the rarest of `4 * window` normal steps.

    By the nature of the method nothing is much rarer than what is rare at all, so give it an on-delay.
    Values are laid between the least and the greatest of the first `WARM` steps, and half that again on either side.
    """

    rule = "rarity"

    def __init__(self, *, window: int = WARM, seed: int = 0) -> None:
        from river.anomaly import HalfSpaceTrees  # noqa: PLC0415 -- an extra, and heavy

        if window < 50:
            raise ValueError(f"rarity: expected a window of at least 50 steps, found {window}")
        self._trees: Any = HalfSpaceTrees(n_trees=15, height=8, window_size=window, seed=seed)
        self._window = window
        self._first: list[tuple[float, float]] = []
        self._low, self._width = (0.0, 0.0), (1.0, 1.0)
        self._before: float | None = None
        self._usual: deque[float] = deque(maxlen=4 * window)
        self._count = 0
        self._middle, self._limit = 0.0, math.inf

    def judge(self, step: Step) -> Verdict | None:
        """Verdict on a closed step; none for a hole, after one, or while too little is known."""
        point = self._point(step)
        if point is None or math.isinf(self._limit):
            return None
        score = max(self._rarity(point) - self._middle, 0.0) / (self._limit - self._middle)
        return Verdict(
            tag=step.tag,
            rule=self.rule,
            at=step.end_at,
            score=score,
            value=step.value,
        )

    def learn(self, step: Step, *, normal: bool) -> None:
        """Takes a step that was judged; one that is not normal is passed over."""
        point = self._point(step)
        self._before = step.value
        if point is None or not normal:
            return
        if len(self._first) < self._window:
            self._first.append(point)
            if len(self._first) == self._window:
                self._lay()
            return
        laid = self._laid(point)
        if self._count >= self._window:
            self._usual.append(float(self._trees.score_one(laid)))
        self._trees.learn_one(laid)
        self._count += 1
        if len(self._usual) >= self._window and self._count % RECKONED_EVERY == 0:
            self._middle = float(np.median(self._usual))
            self._limit = max(float(np.max(self._usual)), self._middle + 1e-6)

    def _point(self, step: Step) -> tuple[float, float] | None:
        if step.value is None or self._before is None:
            return None
        return step.value, step.value - self._before

    def _lay(self) -> None:
        seen = np.array(self._first)
        low, high = seen.min(axis=0), seen.max(axis=0)
        width = np.where(high > low, high - low, np.maximum(np.abs(low), 1.0))
        self._low = tuple((low - width / 2).tolist())
        self._width = tuple((2 * width).tolist())
        for point in self._first:
            self._trees.learn_one(self._laid(point))
        self._count = len(self._first)

    def _rarity(self, point: tuple[float, float]) -> float:
        return float(self._trees.score_one(self._laid(point)))

    def _laid(self, point: tuple[float, float]) -> dict[int, float]:
        return {i: min(max((point[i] - self._low[i]) / self._width[i], 0.0), 1.0) for i in range(2)}

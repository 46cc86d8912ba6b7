"""Has anything like the last steps of this tag been seen before?

The last `length` steps are laid over every stretch of the tag's own normal past, and the distance to the nearest one (root mean
square, in the tag's unit) is held against what that distance usually was: a daily course, a square wave or a spike now and
then are old acquaintances without anybody having named a season, and what has no like is novel whether it is high, low,
or flat where there should be a peak. It is the left matrix profile of Yeh et al. (2016, "Matrix Profile I", ICDM) without
z-normalisation, since in a plant the level matters.

What is in alarm is judged and set aside: it enters neither the past nor what is usual while the alarm stands, so that a
fault of a week stays novel all week. Once it is over it has been seen, and the same again is not novel: whether it was harmless
is for an operator to say, and what a fault looks like is for the other rules.

Memory is bounded; a step costs `memory` times `length` subtractions (some 100 microseconds).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from detectors.facts import Facts
from detectors.records import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detectors.detector import Step

__all__ = ["Novelty"]

WARM = 100
"""Distances that must be known before it is said what is usual."""
RECKONED_EVERY = 16
"""Steps after which what is usual is reckoned anew."""
SMALLEST = 0.1
"""A distance below this many standard deviations of the past is never novel."""
HIGHEST_SCORE = 1000.0


class Novelty:
    """Distance of the last steps of one tag from everything normal before them.

    The score is the distance to the nearest stretch in `edge` times the `usual` quantile of such distances; `minimum` is the
    least distance that may count, in the tag's unit. `judge` changes nothing; `learn` is called once for each step after it.
    """

    rule = "novelty"

    def __init__(
        self, *, length: int = 12, memory: int = 4096, edge: float = 2.0, usual: float = 0.9, minimum: float = 0.0
    ) -> None:
        if length < 2 or memory < 4 * length:
            raise ValueError(f"novelty: expected length from 2 and memory from 4 lengths, found {length} and {memory}")
        if not edge > 1 or not 0 < usual < 1:
            raise ValueError(f"novelty: expected edge above 1 and usual within 0..1, found {edge} and {usual}")
        self._length, self._memory = length, memory
        self._edge, self._usual, self._minimum = edge, usual, minimum
        # The normal past, oldest first, a NaN where steps are left out; those of its stretches that are whole.
        self._past: NDArray[np.float64] = np.empty(2 * memory)
        self._stored = 0
        self._recent: list[float] = []
        self._distances: NDArray[np.float64] = np.empty(memory)
        self._known = 0
        self._threshold = math.inf
        self._latest: tuple[Step, float | None] | None = None
        self._set_aside: list[tuple[float, float | None]] = []

    def judge(self, step: Step) -> Verdict | None:
        """Verdict on a closed step; none for a hole, soon after one, or before there is a past to compare with."""
        distance = self._distance(step)
        if distance is None or math.isinf(self._threshold):
            return None
        score = distance / self._threshold if self._threshold > 0 else (HIGHEST_SCORE if distance > 0 else 0.0)
        return Verdict(
            tag=step.tag,
            rule=self.rule,
            at=step.end_at,
            score=min(score, HIGHEST_SCORE),
            value=step.value,
            facts=Facts(
                figures=(("steps", self._length), ("distance", distance), ("usual", self._threshold / self._edge))
            ),
        )

    def learn(self, step: Step, *, normal: bool) -> None:
        """Takes a step that was judged into the past: at once if it is normal, else when what is wrong is over.

        A hole leaves a gap.
        """
        distance = self._distance(step)
        self._latest = None
        value = math.nan if step.value is None else step.value
        self._recent = [*self._recent, value][1 - self._length :]
        self._set_aside.append((value, distance))
        if not normal:
            # Of a long fault the beginning is kept, and a gap where the rest was.
            if len(self._set_aside) > self._memory // 4:
                self._set_aside[-1] = (math.nan, None)
                self._set_aside.pop(-2)
            return
        for one, far in self._set_aside:
            self._store(one, far)
        self._set_aside.clear()

    def _store(self, value: float, distance: float | None) -> None:
        if self._stored == len(self._past):
            self._past[: self._memory] = self._past[-self._memory :]
            self._stored = self._memory
        self._past[self._stored] = value
        self._stored += 1
        if distance is not None:
            self._distances[self._known % self._memory] = distance
            self._known += 1
            if self._known >= WARM and (self._known - WARM) % RECKONED_EVERY == 0:
                self._threshold = self._reckon()

    def _reckon(self) -> float:
        usual = float(np.quantile(self._distances[: min(self._known, self._memory)], self._usual))
        spread = float(np.nanstd(self._past[max(0, self._stored - self._memory) : self._stored]))
        return max(self._edge * max(usual, SMALLEST * spread), self._minimum)

    def _distance(self, step: Step) -> float | None:
        # Asked for twice, to judge the step and to learn it.
        if self._latest is None or self._latest[0] is not step:
            self._latest = step, self._nearest(step.value)
        return self._latest[1]

    def _nearest(self, value: float | None) -> float | None:
        """Root mean square distance to the nearest whole stretch of the past that does not overlap the last steps."""
        query = [*self._recent, math.nan if value is None else value]
        length = self._length
        past = self._past[max(0, self._stored - self._memory) : max(0, self._stored - length)]
        stretches = len(past) - length + 1
        if len(query) < length or stretches < 1 or any(map(math.isnan, query)):
            return None
        total = np.zeros(stretches)
        part = np.empty(stretches)
        for i, one in enumerate(query):
            np.subtract(past[i : i + stretches], one, out=part)
            np.multiply(part, part, out=part)
            total += part
        # A stretch with a gap is NaN, and fmin passes over it.
        nearest = float(np.fmin.reduce(total))
        return None if math.isnan(nearest) else math.sqrt(nearest / length)

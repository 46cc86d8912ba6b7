"""Is a tag no longer what the forecasts expect of it, and how sure is that?

Where a forecaster is right, the PIT of each value (`records.Score`) is uniform and independent of what was before. A bettor who
multiplies a fair stake at each step gets rich only if it is not: the capital is a test martingale (Ramdas, Gruenwald, Vovk and
Shafer 2023, "Game-theoretic statistics and safe anytime-valid inference"). Three bets are spread over a few strengths:

- *outward*: PITs crowd at either end (values outside the band, or a band too narrow);
- *upward* and *downward*: PITs lean to one end step after step, each of them harmless: slow drift.

A new bettor begins at each step (Shiryaev and Roberts; Shin, Ramdas and Rinaldo 2024, "E-detectors"), so that a quiet year does
not use up what is needed to see a fault at its end. R, what the bettors of steps 1 to n hold together, has the expectation n on
uniform PITs. An alarm at R = 1/alpha therefore takes at least 1/alpha steps on average, and comes within n steps with a
probability of at most n * alpha, whatever the bets: `alpha` is the user's rate of false alarms per step. A PIT that counts half
of its own cell lies nearer the middle than a uniform one, which makes outward bets poorer, never richer.

The score is log R / log(1/alpha): 0 as expected, 1 at the edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detectors.facts import Facts
from detectors.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from detectors.records import Score

__all__ = ["Purse", "Surprise"]

TILTS = (0.3, 0.6, 0.9)
"""Strengths of a bet: a density of PITs of 1 + tilt * (something whose mean is nought and which is never below -1)."""
HIGHEST, KEPT = 10.0, 0.98
"""Capital is capped at so many times 1/alpha, and a fiftieth is lost at each step: the end of a fault is seen in time.

Both make the bettors poorer only, so that the promise stands.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What all bettors hold, a sum for each direction and tilt: all that must survive a restart."""

    sums: tuple[tuple[str, tuple[float, ...]], ...] = ()


class Surprise:
    """Bets against the PITs that `forecaster` had for one tag, in each of `directions` (all three by default).

    With several directions the capital is shared out among them, and the promise holds for them together. `judge` changes
    nothing; `learn` is called once for each score after it. `begin_anew` is for an operator who accepts.
    """

    rule = "surprise"

    def __init__(
        self,
        *,
        alpha: float,
        forecaster: str = "panel",
        directions: tuple[str, ...] = ("outward", "upward", "downward"),
        purse: Purse | None = None,
    ) -> None:
        if not 0 < alpha < 0.5:
            raise ValueError(f"surprise: expected alpha between 0 and 0.5, found {alpha}")
        unknown = set(directions) - set(_SHAPES)
        if unknown or not directions:
            raise ValueError(f"surprise: expected directions of {', '.join(_SHAPES)}, found {directions}")
        self._alpha, self._forecaster, self._directions = alpha, forecaster, directions
        saved = dict(purse.sums) if purse is not None else {}
        self._sums = {each: list(saved.get(each, (0.0,) * len(TILTS))) for each in directions}
        if any(len(sums) != len(TILTS) or not all(map(math.isfinite, sums)) for sums in self._sums.values()):
            raise ValueError(f"surprise: expected {len(TILTS)} finite sums for each direction, found {purse}")

    @property
    def purse(self) -> Purse:
        """What to hand to a new detector after a restart."""
        return Purse(sums=tuple((each, tuple(sums)) for each, sums in self._sums.items()))

    def judge(self, score: Score) -> Verdict | None:
        """Verdict on one scored value; none where its PIT is not a number, or another forecaster's."""
        if not self._counts(score):
            return None
        sums = self._after(score.pit)
        held = {each: sum(sums[each]) / (len(TILTS) * len(self._directions)) for each in self._directions}
        return Verdict(
            tag=score.tag,
            rule=self.rule,
            at=score.at,
            score=max(math.log(max(sum(held.values()), 1.0)) / -math.log(self._alpha), 0.0),
            value=score.value,
            facts=_FOUND[max(held, key=lambda each: held[each])],
        )

    def learn(self, score: Score) -> None:
        """Takes a score that was judged: the bettors settle, and one more begins."""
        if self._counts(score):
            self._sums = self._after(score.pit)

    def begin_anew(self) -> None:
        """Forgets what was won: what was surprising is accepted."""
        self._sums = {each: [0.0] * len(TILTS) for each in self._directions}

    def _counts(self, score: Score) -> bool:
        return score.forecaster == self._forecaster and 0 <= score.pit <= 1

    def _after(self, pit: float) -> dict[str, list[float]]:
        most = HIGHEST / self._alpha
        return {
            each: [
                min((1 + KEPT * total) * (1 + tilt * _SHAPES[each](pit)), most)
                for total, tilt in zip(self._sums[each], TILTS, strict=True)
            ]
            for each in self._directions
        }


def _outward(pit: float) -> float:
    """Mean nought on 0..1, -0.5 in the middle, 1 at either end."""
    return 6 * (pit - 0.5) ** 2 - 0.5


def _upward(pit: float) -> float:
    return 2 * pit - 1


def _downward(pit: float) -> float:
    return 1 - 2 * pit


_SHAPES: dict[str, Callable[[float], float]] = {"outward": _outward, "upward": _upward, "downward": _downward}
_FOUND = {direction: Facts(code=direction) for direction in _SHAPES}

"""What does a detector that learns step by step say of a tag, when its steps come in windows, and after a restart?

Novelty, drift and rarity learn from one step after the other. Here is what they have in common: each step is taken once, what
is in alarm is not learnt from, and the last `kept` steps are remembered, to be learnt again when the process begins anew.
"""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np

from detectors.detector import Step
from detectors.forecasters.memory import continuation, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from detectors.records import Verdict, Window

__all__ = ["Following", "StepLearner"]

_MARK, _VERSION = "givre following", 1


class StepLearner(Protocol):
    """A detector that judges a step and, by a call of its own, learns from it."""

    @property
    def rule(self) -> str:
        """Name of the rule."""

    def judge(self, step: Step) -> Verdict | None:
        """Verdict on a closed step; changes nothing."""

    def learn(self, step: Step, *, normal: bool) -> None:
        """Takes a step that was judged."""


class Following:
    """One detector of one tag, made by `make`; no verdict before it has taken `before` steps."""

    due = False

    def __init__(
        self, *, tag: str, period_s: float, make: Callable[[], StepLearner], kept: int, before: int = 0
    ) -> None:
        self.tags = (tag,)
        self._period_s = period_s
        self._make = make
        self._detector = make()
        self.name = f"{tag}/{self._detector.rule}"
        self._before = before
        self._at: datetime | None = None
        # Value (NaN for a hole) and whether it may be learnt from, oldest first.
        self._steps: deque[tuple[float, bool]] = deque(maxlen=kept)

    def take(self, windows: Sequence[Window], *, standing: Collection[str] = ()) -> list[Verdict]:
        """Takes the new steps of the tag's window; a verdict on the last one. `standing` are names of active alarms."""
        verdicts: list[Verdict] = []
        for window in windows:
            if window.tag not in self.tags or window.period_s != self._period_s:
                continue
            fresh = len(window.values)
            if self._at is not None and window.end_at < self._at:
                # The clock was set back: what comes now is new.
                self._at = None
            if self._at is not None:
                fresh = min(continuation(window, self._at, self._period_s) or 0, fresh)
            for back in range(fresh - 1, -1, -1):
                value = window.values[-1 - back]
                normal = self.name not in standing and (not window.normal or window.normal[-1 - back])
                step = self._step(value, window.end_at - timedelta(seconds=back * self._period_s))
                verdict = self._detector.judge(step) if back == 0 and len(self._steps) >= self._before else None
                verdicts += [] if verdict is None else [verdict]
                self._detector.learn(step, normal=normal)
                self._steps.append((value, normal))
            self._at = window.end_at
        return verdicts

    def refit(self) -> None:
        """Nothing: it learns as it goes."""

    def save(self) -> bytes:
        """The steps that are remembered."""
        at = None if self._at is None else self._at.isoformat()
        values, normal = np.array([*self._steps], dtype=np.float64).reshape(-1, 2).T
        about = {"name": self.name, "period_s": self._period_s, "at": at}
        return pack(_MARK, _VERSION, about, {"values": values, "normal": normal})

    def restore(self, saved: bytes) -> None:
        """Learns the saved steps again; raises ValueError for what `save` did not write, or for another tag or period."""
        about, arrays = unpack(_MARK, _VERSION, saved)
        try:
            whose, period_s, at = about["name"], float(about["period_s"]), about["at"]
            last = None if at is None else datetime.fromisoformat(at)
            steps = list(zip(arrays["values"].tolist(), arrays["normal"].astype(bool).tolist(), strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{_MARK}: expected what save() wrote, found a damaged one ({error!r})") from error
        if (whose, period_s) != (self.name, self._period_s):
            raise ValueError(f"{_MARK} of {self.name}: it was learnt of {whose!r} in steps of {period_s:g} s")
        self._detector = self._make()
        self._steps.clear()
        self._at = last
        for back, (value, normal) in zip(range(len(steps) - 1, -1, -1), steps, strict=True):
            assert last is not None
            self._detector.learn(self._step(value, last - timedelta(seconds=back * period_s)), normal=normal)
            self._steps.append((value, normal))

    def _step(self, value: float, at: datetime) -> Step:
        return Step(tag=self.tags[0], end_at=at, value=None if math.isnan(value) else value, age_s=0.0)

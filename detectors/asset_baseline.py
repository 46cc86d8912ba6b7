"""Do the tags of an asset keep to what is usual for it? Learnt from its own normal operation, and judged moment by moment.

The last `learn_steps` moments at which nothing of the asset was in alarm are kept. Once there are so many, what is normal is
fitted to them (`detectors.baseline`, `detectors.outlier`), and fitted anew each time a quarter of them is new. Between fits the
levels follow slowly, and stand still as long as anything of the asset is in alarm: a fault does not become normal, however
long it lasts.

`take` is quick and belongs in the loop; `refit` is slow and may run in another thread.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from detectors.baseline import CHANCE, FEWEST_BLOCKS, survey
from detectors.detector import Step
from detectors.forecasters.memory import continuation, pack, unpack
from detectors.multivariate import Moment, Multivariate
from detectors.outlier import FEWEST_ROWS, FITS
from detectors.shift import Shift, shifts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from detectors.baseline import Baseline
    from detectors.outlier import Outlier
    from detectors.records import Verdict, Window

__all__ = ["LENGTH", "RULES", "AssetBaseline"]

LENGTH = 10
"""Steps of a short mean."""
FOLLOW = 200
"""Steps in which a level follows to two thirds."""
RENEWED = 4
"""A fit is renewed when one part in so many of what it learns from is new."""
RULES = (Shift.rule, *FITS)
"""What may be judged: each steady tag alone, and all of them together by a model."""
_MARK, _VERSION = "givre asset baseline", 1


class AssetBaseline:
    """Judges the tags of one asset, all of one period; verdicts on all of them together are of the tag `name`.

    `rules` are names of `RULES`; `chance` is how often a normal moment may lie beyond the edge of some tag's shift.
    Raises ValueError for an unknown rule, no tag, or fewer steps than something can be learnt from.
    """

    def __init__(
        self,
        *,
        name: str,
        tags: Sequence[str],
        period_s: float,
        learn_steps: int,
        rules: Collection[str],
        chance: float = CHANCE,
    ) -> None:
        if not tags or not rules or not set(rules) <= set(RULES):
            expected = f"tags, and rules of {', '.join(RULES)}"
            raise ValueError(f"baseline of {name}: expected {expected}, found {list(tags)} and {list(rules)}")
        if learn_steps < FEWEST_BLOCKS * LENGTH:
            least = FEWEST_BLOCKS * LENGTH
            raise ValueError(f"baseline of {name}: expected at least {least} steps to learn from, found {learn_steps}")
        self.name = name
        self.tags = tuple(tags)
        self._period_s = period_s
        self._rules = tuple(rule for rule in RULES if rule in rules)
        self._chance = chance
        self._latest: dict[str, Window] = {}
        self._newest: datetime | None = None
        self._learnt_at: datetime | None = None
        self._size = learn_steps
        # Room for twice as many moments: what is written is never written over, so that a fit may read it in another thread.
        self._room: NDArray[np.float64] = np.empty((0, len(tags)))
        self._known = self._room
        self._end = self._count = 0
        self._fitted_to = 0
        self._fitted: tuple[Baseline, list[Outlier], int] | None = None
        self._shifts: dict[str, Shift] = {}
        self._together: list[Multivariate] = []

    @property
    def due(self) -> bool:
        """Whether a fit is wanted: the first, or one that what came since makes worth while."""
        if self._fitted is not None or self._count < self._size:
            return False
        return not self._fitted_to or self._count - self._fitted_to >= max(self._size // RENEWED, 1)

    @property
    def lacking(self) -> int:
        """Normal moments that are still to come before anything can be judged."""
        return max(self._size - self._count, 0)

    def take(self, windows: Sequence[Window], *, standing: Collection[str] = ()) -> list[Verdict]:
        """Takes windows in which a step has closed, those of other tags aside; verdicts on the latest whole moment.

        A moment is whole once every tag has come to it, or when the next one begins. `standing` are the names of alarms that
        are active (``tag/rule``): while one of this baseline's is, nothing is learnt.
        """
        verdicts: list[Verdict] = []
        quiet = not any(f"{name}/{rule}" in standing for name in (self.name, *self.tags) for rule in self._rules)
        for window in windows:
            if window.tag not in self.tags or window.period_s != self._period_s:
                continue
            before = self._latest.get(window.tag)
            if before is not None and window.end_at < before.end_at:
                # The clock was set back: what is known stays, and the moments go on from here.
                self._latest.clear()
                self._newest = self._learnt_at = None
            if self._newest is not None and window.end_at > self._newest:
                verdicts += self._close(self._newest, quiet=quiet)
            self._latest[window.tag] = window
            self._newest = max(window.end_at, self._newest or window.end_at)
        if self._newest is not None and all(one.end_at == self._newest for one in self._latest.values()):
            verdicts += self._close(self._newest, quiet=quiet)
        return verdicts

    def refit(self) -> None:
        """Fits to what is known; the next `take` judges by it. Where too little is normal, the former fit stays."""
        rows, count = self._known, self._count
        baseline = survey(rows, self.tags, length=LENGTH, follow=FOLLOW, chance=self._chance)
        rows_enough = len(baseline.deviations) >= max(FEWEST_ROWS, 2 * int(baseline.steady.sum()))
        # Where every tag drifts or stands still there is nothing to lay a model over.
        models = [rule for rule in self._rules if rule in FITS] if rows_enough and baseline.steady.any() else []
        outliers = [FITS[rule](baseline.deviations) for rule in models]
        self._fitted_to = count
        self._fitted = baseline, outliers, count

    def save(self) -> bytes:
        """What is known; the fit follows from it."""
        about = {"tags": self.tags, "period_s": self._period_s, "count": self._count, "at": _text(self._learnt_at)}
        return pack(_MARK, _VERSION, about, {"rows": self._known})

    def restore(self, saved: bytes) -> None:
        """Takes the place of what is known; raises ValueError for what `save` did not write, or for other tags."""
        about, arrays = unpack(_MARK, _VERSION, saved)
        try:
            found, period_s, count, at = about["tags"], float(about["period_s"]), int(about["count"]), about["at"]
            rows = arrays["rows"].astype(np.float64)
            learnt_at = None if at is None else datetime.fromisoformat(at)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{_MARK}: expected what save() wrote, found a damaged one ({error!r})") from error
        if (
            tuple(found) != self.tags
            or period_s != self._period_s
            or rows.shape != (min(count, self._size), len(self.tags))
        ):
            raise ValueError(f"{_MARK} of {self.name}: it was learnt of other tags, or in another period or length")
        self._room = self._known = rows
        self._end, self._count, self._learnt_at = len(rows), count, learnt_at

    def _close(self, at: datetime, *, quiet: bool) -> list[Verdict]:
        """Takes every moment up to `at` that was not taken yet, and judges the last of them."""
        if self._learnt_at is not None and at <= self._learnt_at:
            return []
        reach = max(len(window.values) for window in self._latest.values())
        if self._learnt_at is not None:
            reach = min(reach, round((at - self._learnt_at).total_seconds() / self._period_s))
        self._learnt_at = at
        self._take_over(at - timedelta(seconds=(reach - 1) * self._period_s))
        verdicts: list[Verdict] = []
        for back in range(reach - 1, -1, -1):
            moment_at = at - timedelta(seconds=back * self._period_s)
            values, normal = self._moment(moment_at)
            if back == 0:
                verdicts = self._judge(values, moment_at)
            self._learn(values, moment_at, normal=normal and quiet)
        return verdicts

    def _moment(self, at: datetime) -> tuple[list[float], bool]:
        """The values of all tags at a moment, NaN for a hole, and whether none of them was in alarm."""
        values, normal = [], True
        for tag in self.tags:
            window = self._latest.get(tag)
            back = None if window is None else continuation(window, at, self._period_s)
            if window is None or back is None or back >= len(window.values):
                values.append(math.nan)
                continue
            values.append(window.values[-1 - back])
            normal = normal and (not window.normal or window.normal[-1 - back])
        return values, normal

    def _judge(self, values: Sequence[float], at: datetime) -> list[Verdict]:
        verdicts = [self._shifts[step.tag].judge(step) for step in self._steps(values, at) if step.tag in self._shifts]
        moment = self._whole(values, at)
        verdicts += [together.judge(moment) for together in self._together]
        return [verdict for verdict in verdicts if verdict is not None]

    def _learn(self, values: Sequence[float], at: datetime, *, normal: bool) -> None:
        self._tell(values, at, normal=normal)
        if normal and not all(map(math.isnan, values)):
            self._keep(values)

    def _keep(self, values: Sequence[float]) -> None:
        if self._end == len(self._room):
            self._room = np.empty((2 * max(len(self._known), 32), len(self.tags)))
            self._room[: len(self._known)] = self._known
            self._end = len(self._known)
        self._room[self._end] = values
        self._end += 1
        self._known = self._room[max(self._end - self._size, 0) : self._end]
        self._count += 1

    def _tell(self, values: Sequence[float], at: datetime, *, normal: bool) -> None:
        for step in self._steps(values, at):
            if step.tag in self._shifts:
                self._shifts[step.tag].learn(step, normal=normal)
        for together in self._together:
            together.learn(self._whole(values, at), normal=normal)

    def _take_over(self, at: datetime) -> None:
        """Judges by a new fit from here on: what came while it was made is learnt, then its short means are filled."""
        if self._fitted is None:
            return
        (baseline, outliers, count), self._fitted = self._fitted, None
        self._shifts = shifts(baseline) if Shift.rule in self._rules else {}
        self._together = [Multivariate(tag=self.name, baseline=baseline, outlier=one) for one in outliers]
        for row in self._known[max(len(self._known) - (self._count - count), 0) :].tolist():
            self._tell(row, at, normal=True)
        for back in range(LENGTH - 1, 0, -1):
            values, _ = self._moment(at - timedelta(seconds=back * self._period_s))
            self._tell(values, at, normal=False)

    def _steps(self, values: Sequence[float], at: datetime) -> list[Step]:
        return [
            Step(tag=tag, end_at=at, value=None if math.isnan(value) else value, age_s=0.0)
            for tag, value in zip(self.tags, values, strict=True)
        ]

    def _whole(self, values: Sequence[float], at: datetime) -> Moment:
        known: Mapping[str, float | None] = {
            tag: None if math.isnan(value) else value for tag, value in zip(self.tags, values, strict=True)
        }
        return Moment(asset=self.name, end_at=at, values=known)


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()

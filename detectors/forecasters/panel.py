"""Which forecaster is to be believed, for this tag and this lead? Each as far as it has foretold.

A Bayesian mixture with fixed share (`detectors.forecasters.weighting` has the bound), for each tag and each lead on its own. A
member is judged by the probability that it gave to the cell around the value that came: the cell is as wide as the tag's own
resolution, or a thousandth of how far its values lie apart where that is finer, the same for all members. To be judged each
member's distribution is a tenth as broad as can be (`DOUBT`): one surprise costs a bounded number of nats, so that a few
in a row do not overrule a hundred steps in which a member was right.

A forecast of lead h is made with the weights of its moment and judged h steps later, and h of them overlap: so each step counts
1 / h there, and the bound at lead h is h times that at lead 1. With so late an answer no rule could promise less for the
published forecasts of longer leads (Weinberger & Ordentlich 2002); what is proved there is proved of the weights on the eve of
the value. At lead 1 these are the published ones.

A member that gives a tag no forecast this time (the language model takes turns) is represented by its last one, moved on: what
was lead 3 two steps ago is lead 1 now. It is judged by what stood in for it; where its leads have run out it sleeps. A member
that raises, or gives what is no forecast, is left out of that step and named in `faults`.

What a value was to the published forecast of one step before is told as a score (`scores`), whether it may be learnt from or not.

The bands of the mixture are then corrected (`detectors.forecasters.conformal`) and futures drawn (`detectors.forecasters.path`).
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from detectors.forecasters.answer import ask, fault
from detectors.forecasters.conformal import corrected, learnt
from detectors.forecasters.distribution import cdf, log_probability, mix
from detectors.forecasters.forecaster import Learner
from detectors.forecasters.ledger import Ledger
from detectors.forecasters.memory import pack, unpack
from detectors.forecasters.path import drawn_paths
from detectors.forecasters.resolution import spread_and_step
from detectors.forecasters.weighting import awake, updated
from detectors.records import LEVELS, Forecast, Score, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from detectors.forecasters.answer import Answers
    from detectors.forecasters.forecaster import Forecaster
    from detectors.records import Window

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

__all__ = ["CELL", "DOUBT", "Panel"]

T = TypeVar("T")

CELL = 1e-3
"""Width of the cell that a member is judged by, as a share of the tag's spread, where its resolution is finer."""
DOUBT = 0.1
"""Share of each member's distribution that is a Cauchy distribution of its own width, to be judged by."""
_MARK, _VERSION = "givre panel", 1
_RAW, _GIVEN = -2, -1
"""Columns of the ledger behind the members': the mixture before and after the correction of its bands."""
_LEVELS = np.array(LEVELS)


class Panel:
    """A forecaster of forecasters. `learn` at every step and before `forecast`, as with every learner.

    `share` of all weight is spread evenly at each step: more of it follows changes sooner and trusts the best less. `rate`
    is that of the bands (0 leaves them as they are). At lead h the one is divided by h, the other by the root of h, as the
    errors of forecasts that overlap come together. `paths` is how many futures are drawn, `half_life` after how many steps the
    figures of `standing` have forgotten half, `yardstick` the member that skill is told against.

    Its memory does not grow with the steps: about 8 * 7 * (K + 2) * horizon * leads bytes per tag, and the members' own.
    """

    def __init__(
        self,
        members: Sequence[Forecaster],
        *,
        share: float = 0.02,
        rate: float = 0.02,
        paths: int = 64,
        half_life: float = 500.0,
        yardstick: str = "persistence",
    ) -> None:
        """Raises ValueError for no members, two of one name, or a share that is none."""
        names = tuple(member.name for member in members)
        if not names or len(set(names)) != len(names):
            raise ValueError(f"panel: expected at least one member, each with a name of its own, found {list(names)}")
        if not 0.0 < share < 1.0:
            raise ValueError(f"panel: expected a share between 0 and 1, found {share}")
        self._members = tuple(members)
        self._learners = [member for member in members if isinstance(member, Learner)]
        self.names = names
        self._share = share
        self._rate = rate
        self._paths = paths
        self._kept = 0.5 ** (1.0 / half_life)
        self._yardstick = names.index(yardstick) if yardstick in names else None
        self._ledger = Ledger(members=len(names), horizon=1)
        self._faults: dict[tuple[str, str], str] = {}
        self.scores: tuple[Score, ...] = ()
        """Of the values that the last call of `learn` brought."""

    @property
    def name(self) -> str:
        """The label in the database."""
        return "panel"

    @property
    def faults(self) -> dict[str, str]:
        """The members that did not do what they were last asked, and what was the matter with which task."""
        return {name: f"{task}: {text}" for (name, task), text in self._faults.copy().items()}

    @property
    def due(self) -> tuple[str, ...]:
        """Tags that some member wants to be fitted to."""
        return tuple(dict.fromkeys(tag for member in self._learners for tag in self._due(member)))

    def learn(self, windows: Sequence[Window]) -> None:
        """Judges what was forecast of the new steps of each window, and hands the windows to the members that learn."""
        self.scores = ()
        if windows:
            self._judge_all(windows)
        for member in self._learners:
            self._attempt(member, "learn", partial(member.learn, windows))

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """Forecasts of the next `horizon` steps of each window that some member can say something of, in order."""
        if horizon > self._ledger.horizon:
            self._ledger = self._ledger.widened(horizon)
        answers = ask(self._members, windows, horizon=horizon)
        self._faults = {key: text for key, text in self._faults.items() if key[1] != "forecast"} | {
            (name, "forecast"): text for name, text in answers.faults.items()
        }
        quantiles = answers.quantiles
        places = [self._ledger.locate(window) for window in windows]
        known = np.array([i for i, place in enumerate(places) if place is not None], dtype=np.int64)
        rows, steps = np.array([place for place in places if place is not None], dtype=np.int64).reshape(-1, 2).T
        weights = np.full((len(windows), horizon, len(self.names)), 1.0 / len(self.names))
        widths = np.zeros((len(windows), horizon, len(LEVELS)))
        nearest = self._ledger.nearest[:horizon]
        weights[known] = self._ledger["weights"][rows][:, nearest]
        widths[known] = self._ledger["widths"][rows][:, nearest]
        self._represent(answers, known, rows, steps)
        said: NDArray[np.bool_] = np.isfinite(quantiles[..., 0])
        weights = awake(weights, np.moveaxis(said, 0, -1))
        raw = mix(np.where(said[..., None], quantiles, 0.0), np.moveaxis(weights, -1, 0))
        given = corrected(raw, widths)
        whole: NDArray[np.bool_] = np.all(said.any(axis=0), axis=1)
        kept = whole[known]
        columns = np.concatenate((quantiles, raw[None], given[None]))[:, known[kept]]
        self._ledger.write(rows[kept], steps[kept], np.moveaxis(columns, 0, 2))
        drawn = drawn_paths(answers.paths, weights.mean(axis=1), given, self._paths)
        return [
            Forecast(
                tag=window.tag,
                forecaster=self.name,
                made_at=window.end_at,
                period_s=window.period_s,
                quantiles=tuple(map(tuple, given[i].tolist())),
                paths=drawn[i],
            )
            for i, window in enumerate(windows)
            if whole[i]
        ]

    def refit(self, tag: str) -> None:
        """The slow fits of a tag: of the members that are due for it, or of all that learn where none is."""
        for member in [one for one in self._learners if tag in self._due(one)] or self._learners:
            self._attempt(member, "refit", partial(member.refit, tag))

    def weights(self, tag: str) -> dict[str, tuple[float, ...]]:
        """The weight of each member, at each scored lead."""
        standings = self.standing(tag)
        return {name: tuple(one.weights[k][1] for one in standings) for k, name in enumerate(self.names)}

    def coverage(self, tag: str) -> tuple[tuple[float | None, float | None], ...]:
        """Shares of the values that lay within the 80 % and the 90 % band, at each scored lead."""
        return tuple((one.coverage80, one.coverage90) for one in self.standing(tag))

    def skill(self, tag: str) -> tuple[float | None, ...]:
        """1 - (pinball loss of the panel / that of the yardstick), at each scored lead."""
        return tuple(one.skill for one in self.standing(tag))

    def standing(self, tag: str) -> tuple[Standing, ...]:
        """All of these, one record per scored lead; none for a tag that was never learnt."""
        place = self._ledger.places.get(tag)
        if place is None:
            return ()
        weights, sums, steps = (self._ledger[name][place.row].tolist() for name in ("weights", "sums", "steps"))
        return tuple(
            Standing(
                tag=tag,
                at=place.end_at,
                lead=lead,
                lead_s=lead * place.period_s,
                steps=steps[i],
                weights=tuple(zip(self.names, weights[i], strict=True)),
                coverage80=sums[i][1] / sums[i][0] if sums[i][0] else None,
                coverage90=sums[i][2] / sums[i][0] if sums[i][0] else None,
                skill=1.0 - sums[i][3] / sums[i][4] if sums[i][4] else None,
            )
            for i, lead in enumerate(self._ledger.leads.tolist())
        )

    def save(self) -> bytes:
        """The panel's own memory and that of each member that learns."""
        about, arrays = self._ledger.saved()
        members = {f"member {one.name}": np.frombuffer(one.save(), dtype=np.uint8) for one in self._learners}
        return pack(_MARK, _VERSION, {"names": self.names, **about}, {**arrays, **members})

    def restore(self, saved: bytes) -> None:
        """Takes the place of all that was learnt; raises ValueError, and changes nothing, for what `save` did not write.

        Members are found by their names: one that is new begins with an even weight, one that is gone leaves its weight to the
        others. A member that refuses what it had saved begins anew, and is named in `faults`.
        """
        about, arrays = unpack(_MARK, _VERSION, saved)
        try:
            names = list(about["names"])
            source = [names.index(name) if name in names else None for name in self.names]
            ledger = Ledger.restored(about, arrays, source)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{_MARK}: expected what save() wrote, found a damaged one ({error!r})") from error
        self._ledger = ledger
        for member in self._learners:
            if (kept := arrays.get(f"member {member.name}")) is not None:
                self._attempt(member, "restore", partial(member.restore, kept.tobytes()))

    def _due(self, member: Learner) -> tuple[str, ...]:
        return self._attempt(member, "due", lambda: member.due) or ()

    def _attempt(self, member: Forecaster, task: str, call: Callable[[], T]) -> T | None:
        """What the call returns; None, and a fault under the member's name, where it raises."""
        key = (member.name, task)
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 # a member may fail in any way; the panel goes on without it
            self._faults[key] = fault(error)
            return None
        self._faults.pop(key, None)
        return result

    def _represent(self, answers: Answers, known: Rows, rows: Rows, steps: Rows) -> None:
        """Lets the last forecast of each silent member stand in for it, and keeps the new ones for that."""
        horizon = answers.quantiles.shape[2]
        for k in range(len(self.names)):
            silent = answers.silent[k, known]
            stand_in = self._ledger.stand_in(rows[silent], steps[silent], k)
            answers.quantiles[k, known[silent]] = stand_in[:, :horizon]
            fresh = ~silent & np.isfinite(answers.quantiles[k, known, 0, 0])
            self._ledger.keep(rows[fresh], steps[fresh], k, answers.quantiles[k, known[fresh]])

    def _judge_all(self, windows: Sequence[Window]) -> None:
        found = [self._ledger.advance(window) for window in windows]
        rows, fresh = np.array(found, dtype=np.int64).T
        ends = np.array([self._ledger.places[window.tag].step for window in windows])
        scale = spread_and_step(windows)
        # A short window says less of the tag than the ones before it did.
        lengths = np.array([len(window.values) for window in windows])
        better = np.isfinite(scale[:, 0]) & (2 * lengths >= self._ledger["scale"][rows, 2])
        self._ledger["scale"][rows[better], :2] = scale[better]
        self._ledger["scale"][rows[better], 2] = lengths[better]
        for back in range(int(fresh.max()) - 1, -1, -1):
            chosen = np.flatnonzero(fresh > back)
            self.scores += self._score([windows[i] for i in chosen.tolist()], rows[chosen], ends[chosen] - back, back)
            values = np.array([_learnable(windows[i], back) for i in chosen.tolist()])
            some = np.isfinite(values)
            self._judge(rows[chosen][some], ends[chosen][some] - back, values[some])

    def _score(self, windows: Sequence[Window], rows: Rows, steps: Rows, back: int) -> tuple[Score, ...]:
        """What the published forecasts of one step before had said of the values `back` steps before the windows' ends."""
        values = np.array([window.values[-1 - back] for window in windows])
        given = self._ledger.read(rows, steps)[:, 0, _GIVEN]
        half = self._half_cell(rows, values)
        below, above = cdf(given, values - half), cdf(given, values + half)
        logs = log_probability(given, values - half, values + half)
        pits, densities = (below + above) / 2, logs - np.log(2 * half)
        return tuple(
            Score(
                tag=window.tag,
                forecaster=self.name,
                at=window.end_at - timedelta(seconds=back * window.period_s),
                value=float(values[i]),
                pit=float(pits[i]),
                log_score=float(densities[i]),
                log_probability=float(logs[i]),
            )
            for i, window in enumerate(windows)
            if np.isfinite(values[i]) and np.isfinite(given[i, 0])
        )

    def _half_cell(self, rows: Rows, values: Array) -> Array:
        """Half the width of the cells around some values."""
        spread, step, _ = self._ledger["scale"][rows].T
        with np.errstate(invalid="ignore"):
            half: Array = np.maximum(np.maximum(np.maximum(CELL * spread, step), np.abs(values) * 1e-15), 1e-300) / 2
        return half

    def _judge(self, rows: Rows, steps: Rows, values: Array) -> None:
        """What each member had said of these values: rows, steps and values (n,)."""
        ledger = self._ledger
        waiting = ledger.read(rows, steps)
        members, raw, given = waiting[:, :, :_RAW], waiting[:, :, _RAW], waiting[:, :, _GIVEN]
        half = self._half_cell(rows, values)
        low, high = (values - half)[:, None, None], (values + half)[:, None, None]
        logs = log_probability(members, low, high, broad=DOUBT)
        leads = ledger.leads
        weights = updated(ledger["weights"][rows], logs, share=self._share / leads, rate=1.0 / leads)
        ledger["weights"][rows] = weights
        x = np.broadcast_to(values[:, None], raw.shape[:2])
        widths, surplus = ledger["widths"][rows], ledger["surplus"][rows]
        ledger["widths"][rows], ledger["surplus"][rows] = learnt(
            widths, surplus, raw, x, rate=self._rate, overlap=leads
        )
        rival = np.full(given.shape, np.nan) if self._yardstick is None else members[:, :, self._yardstick]
        inside80 = (given[..., 1] <= x) & (x <= given[..., -2])
        inside90 = (given[..., 0] <= x) & (x <= given[..., -1])
        own, other = _pinball(given, x), _pinball(rival, x)
        compared = np.isfinite(own) & np.isfinite(other)
        news = np.stack(
            (np.ones(x.shape), inside80, inside90, np.where(compared, own, 0.0), np.where(compared, other, 0.0)),
            axis=-1,
        )
        judged = np.isfinite(raw[..., 0])
        sums = ledger["sums"][rows]
        ledger["sums"][rows] = np.where(judged[..., None], sums * self._kept + news, sums)
        ledger["steps"][rows] += judged


def _learnable(window: Window, back: int) -> float:
    """The value so many steps before the end; NaN where nothing may be learnt from it."""
    normal = not window.normal or window.normal[-1 - back]
    return window.values[-1 - back] if normal else np.nan


def _pinball(quantiles: Array, x: Array) -> Array:
    """Mean pinball loss over the levels: (..., 7) and (...)."""
    with np.errstate(over="ignore"):
        off = x[..., None] - quantiles
        loss: Array = np.maximum(_LEVELS * off, (_LEVELS - 1.0) * off).mean(axis=-1)
    return loss

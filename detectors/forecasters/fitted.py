"""What do all forecasters share that are fitted to the memory of a tag? All but the model itself.

A model says in `_fit` what it finds in a history and in `_predict` what it expects behind some values, both in units of
the tag's own spread and without holes. Here is the rest: memory, bands, futures, what happens before the first fit and
after a shift.

Bands come from the errors that the model made on the last part of the history, to which it was not fitted
(`detectors.forecasters.error_library`); at each step they widen and narrow as the lead-1 errors have lately been (half
of it forgotten after a day, within the limits of `HALF_LIFE`). Where the median of the last `RECENT` lead-1 errors is
larger than it ever was on that part, the level has shifted: forecasts are moved by the median of what each lead has
lately been wrong by, until the next fit. So a forecast has followed a shift after `RECENT` steps at lead 1 and `RECENT`
+ h at lead h. Its bands, which a shift widens to at most 2.5 times their width, are back within 5 half-lives.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detectors.forecasters.error_library import RECENT, collect
from detectors.forecasters.fit import LARGEST, Fit, Past, units
from detectors.forecasters.memory import Memory, continuation, pack, unpack
from detectors.forecasters.persistence import Persistence, forecast_of
from detectors.forecasters.season import bridged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from detectors.forecasters.memory import Addition, History
    from detectors.records import Forecast, Window

    Array = NDArray[np.float64]

__all__ = ["FEWEST", "TAIL", "Asked", "FittedForecaster", "held_back"]

FEWEST = 24
"""Values that must be known before a model is fitted."""
TAIL = 512
"""The errors are taken from so many of the last steps, but at most a quarter of the history."""

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """One forecast that is asked for: all values `known` up to `end_s`; `learnt` where they are those of the memory."""

    tag: str
    fit: Fit
    known: Array
    end_s: float
    period_s: float
    learnt: bool


def held_back(length: int) -> int:
    """How many of the last steps of a history the errors are taken from."""
    return min(TAIL, length // 4)


class FittedForecaster(ABC):
    """A learner around one model. Until a tag is fitted it answers as persistence does.

    `limit` is how many steps of a tag are remembered, `samples` how many futures are drawn of each forecast.
    """

    name: ClassVar[str]
    leads: ClassVar[int] = 64
    """Steps that the model predicts at once; further ones follow from these."""
    patience: ClassVar[int] = 64
    """A fit is worth its while after so many steps, or a quarter more of them than the last one was fitted to (at most 2048)."""
    once: ClassVar[bool] = False
    """Whether the fit to the whole history serves for the errors too: it has few constants, or keeps the last part out."""

    def __init__(self, *, limit: int, samples: int = 32, seed: int = 0) -> None:
        self._memory = Memory(limit=limit)
        self._samples = samples
        self._seed = seed
        self._fits: dict[str, Fit] = {}
        self._tried: dict[str, int] = {}
        self._steps: dict[str, int] = {}
        self._said: dict[str, tuple[float, float, float]] = {}
        self._before = Persistence(samples=samples, seed=seed)

    @property
    def due(self) -> tuple[str, ...]:
        """Tags never fitted of which enough is known, and those fitted long ago or to another level."""
        return tuple(tag for tag, steps in self._steps.items() if self._is_due(tag, steps))

    def learn(self, windows: Sequence[Window]) -> None:
        """The new steps go into the memory, and teach each fitted tag how far its forecasts lie off."""
        for added in self._memory.learn(windows):
            if added.restarted:
                self._fits.pop(added.tag, None)
                self._said.pop(added.tag, None)
                self._tried.pop(added.tag, None)
                self._steps[added.tag] = 0
            self._steps[added.tag] += len(added.values)
            fit = self._fits.get(added.tag)
            if fit is not None and len(added.values):
                self._judge(fit, added)

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """A forecast per window that holds any value."""
        asked: list[Asked] = []
        places: list[int] = []
        out: list[Forecast | None] = [None] * len(windows)
        with np.errstate(over="ignore", invalid="ignore"):
            for i, window in enumerate(windows):
                if not any(map(math.isfinite, reversed(window.values))):
                    continue
                # What was learnt of the tag in order says nothing of it out of order.
                one = None if window.disturbed else self._asked(window)
                if one is None:
                    out[i] = self._persist(window, horizon)
                else:
                    asked.append(one)
                    places.append(i)
            for i, one, (point, scale) in zip(places, asked, self._expect(asked, horizon), strict=True):
                if one.learnt:
                    self._said[one.tag] = (one.end_s, float(point[0]), float(scale[0]))
                shift = self._offset(one, horizon) if one.fit.shifted else 0.0
                out[i] = self._finished(windows[i], one.fit, point + shift, scale, horizon)
        return [made for made in out if made is not None]

    def refit(self, tag: str) -> None:
        """Fits the model to all that is known of a tag, after its errors were found on the last part of it."""
        history = self._memory.history(tag)
        if history is None:
            return
        self._tried[tag] = self._steps.get(tag, 0)
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._fitted(history)
        if found is not None:
            self._fits[tag] = found
            self._said.pop(tag, None)

    def save(self) -> bytes:
        """The memory, and what was fitted and learnt of each tag."""
        fits = []
        arrays: dict[str, NDArray[np.generic]] = {"memory": np.frombuffer(self._memory.save(), dtype=np.uint8)}
        keys: dict[int, str] = {}
        for i, (tag, fit) in enumerate(self._fits.items()):
            about, found = fit.saved()
            # What tags have in common, as they may a network, is written once.
            names = {name: keys.setdefault(id(value), f"{i} {name}") for name, value in found.items()}
            fits.append({"tag": tag, "names": names, **about})
            arrays |= {names[name]: value for name, value in found.items()}
        return pack(self._mark, _VERSION, {"fits": fits, "steps": self._steps, "tried": self._tried}, arrays)

    def restore(self, saved: bytes) -> None:
        """Takes the place of all that was learnt; raises ValueError, and changes nothing, for what `save` did not write."""
        about, arrays = unpack(self._mark, _VERSION, saved)
        try:
            steps = {str(tag): int(count) for tag, count in about["steps"].items()}
            tried = {str(tag): int(count) for tag, count in about["tried"].items()}
            numbers = {key: value.astype(np.float64) for key, value in arrays.items() if key != "memory"}
            fits = {
                str(one["tag"]): Fit.restored(one, {name: numbers[key] for name, key in one["names"].items()})
                for one in about["fits"]
            }
            memory = arrays["memory"].tobytes()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{self._mark}: expected what save() wrote, found a damaged one ({error!r})") from error
        self._memory.restore(memory)
        self._fits, self._steps, self._tried, self._said = fits, steps, tried, {}

    @abstractmethod
    def _fit(self, values: Array, end_s: float, period_s: float) -> Mapping[str, Array] | None:
        """What the model finds in a history without holes, as arrays by name; None where it can find nothing in it.

        `context` among them is how many values `_predict` needs, `season` a length in steps for bridging holes.
        """

    @abstractmethod
    def _predict(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> Array:
        """The expected values (n, horizon); `horizon` is at most `leads`."""

    def _predict_scaled(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> tuple[Array, Array]:
        """The expected values, and how far off each one may be in proportion to the others; both (n, horizon)."""
        found = self._predict(numbers, past, horizon)
        return found, np.ones(found.shape)

    def _expect(self, asked: Sequence[Asked], horizon: int) -> list[tuple[Array, Array]]:
        """What `_predict_scaled` says at the end of each, (horizon,) each; a model may be quicker at many at once."""
        out = []
        for one in asked:
            points, scales = self._far(one.fit.numbers, self._past(one, 1), horizon)
            out.append((points[0], scales[0]))
        return out

    def _past(self, one: Asked, count: int) -> Past:
        """What was known at each of the last `count` steps."""
        return one.fit.past(one.known, end_s=one.end_s, period_s=one.period_s, count=count)

    @property
    def _mark(self) -> str:
        return f"givre {self.name}"

    def _is_due(self, tag: str, steps: int) -> bool:
        tried = self._tried.get(tag)
        if tried is None:
            return steps >= FEWEST
        fit = self._fits.get(tag)
        if fit is None:
            return steps - tried >= FEWEST
        enough = min(max(self.patience, fit.length // 4), 2048)
        return steps - tried >= (min(enough, 2 * RECENT) if fit.shifted else enough)

    def _fitted(self, history: History) -> Fit | None:
        values = np.clip(history.values, -1e300, 1e300)
        known = values[np.isfinite(values)]
        if len(known) < FEWEST:
            return None
        # What the tag began with long ago may be another level: units are those of the later half.
        middle, spread = units(known[-max(len(known) // 2, FEWEST) :])
        scaled = np.clip(values / spread - middle / spread, -LARGEST, LARGEST)
        end_s = history.end_at.timestamp()
        kept = held_back(len(scaled))
        numbers = tried = self._fit(bridged(scaled), end_s, history.period_s)
        if not self.once and numbers is not None:
            tried = self._fit(bridged(scaled[:-kept]), end_s - kept * history.period_s, history.period_s)
        if tried is None or numbers is None:
            return None
        errors = self._errors(tried, scaled, history, kept)
        generator = np.random.default_rng([self._seed, zlib.crc32(history.tag.encode())])
        library = collect(errors, keep=self._samples, generator=generator)
        if library is None:
            return None
        return Fit(
            numbers=dict(numbers),
            middle=middle,
            spread=spread,
            context=int(numbers["context"]),
            season=int(numbers["season"]),
            library=library,
            length=len(values),
        )

    def _errors(self, numbers: Mapping[str, Array], scaled: Array, history: History, count: int) -> Array:
        """The errors (count, leads) from each of the last `count` origins but the very last, NaN where nothing is known."""
        context = int(numbers["context"])
        full = bridged(scaled, int(numbers["season"]))
        origins = np.arange(len(full) - 1 - count, len(full) - 1)
        missing = max(context - 1 - int(origins[0]), 0)
        views = sliding_window_view(np.concatenate((np.full(missing, full[0]), full)), context)
        holes = sliding_window_view(np.concatenate((np.ones(missing, dtype=bool), np.isnan(scaled))), context)
        end_s, period_s = history.end_at.timestamp(), history.period_s
        ends_s: Array = end_s - (len(full) - 1 - origins).astype(np.float64) * period_s
        rows = origins + missing - context + 1
        past = Past(values=views[rows], ends_s=ends_s, period_s=period_s, holes=holes[rows])
        measured = np.concatenate((scaled, np.full(self.leads, np.nan)))
        steps = origins[:, None] + 1 + np.arange(self.leads)
        points, scales = self._predict_scaled(numbers, past, self.leads)
        errors: Array = (measured[steps] - points) / scales
        errors[np.isnan(scaled[origins])] = np.nan
        return errors

    def _asked(self, window: Window) -> Asked | None:
        """What a forecast of a window is made from; None where nothing was fitted that it joins."""
        fit = self._fits.get(window.tag)
        history = self._memory.history(window.tag)
        if fit is None or history is None:
            return None
        steps = continuation(window, history.end_at, history.period_s)
        if steps is None or steps > len(window.values):
            return None
        known = history.values
        if steps:
            known = np.concatenate((known, np.full(steps, np.nan)))[-self._memory.limit :]
            count = min(len(window.values), len(known))
            said = np.array(window.heeded[-count:], dtype=np.float64)
            known[-count:] = np.where(np.isfinite(said), said, known[-count:])
        return Asked(
            tag=window.tag,
            fit=fit,
            known=known,
            end_s=window.end_at.timestamp(),
            period_s=window.period_s,
            learnt=not steps,
        )

    def _far(self, numbers: Mapping[str, Array], past: Past, horizon: int) -> tuple[Array, Array]:
        """`_predict_scaled` for any horizon: what it expects is what the next part is predicted from."""
        points, scales = self._predict_scaled(numbers, past, min(horizon, self.leads))
        while points.shape[1] < horizon:
            width = past.values.shape[1]
            values = np.concatenate((past.values, points), axis=1)[:, -width:]
            ends_s = past.ends_s + points.shape[1] * past.period_s
            more = min(horizon - points.shape[1], self.leads)
            part, _ = self._predict_scaled(numbers, replace(past, values=values, ends_s=ends_s, holes=None), more)
            points = np.concatenate((points, part), axis=1)
            scales = np.concatenate((scales, np.repeat(scales[:, -1:], more, axis=1)), axis=1)
        return points, scales

    def _offset(self, one: Asked, horizon: int) -> Array:
        """By how much each lead has lately been wrong: the median over the last `RECENT` values."""
        leads = min(horizon, self.leads)
        count = min(RECENT + leads, len(one.known) - 1)
        said = self._predict(one.fit.numbers, self._past(one, count + 1), leads)
        measured = one.fit.scaled(one.known[-count - RECENT :])
        found = np.zeros(horizon)
        for lead in range(1, leads + 1):
            rows = np.arange(max(count - lead - RECENT + 1, 0), count - lead + 1)
            errors = measured[len(measured) - 1 - count + rows + lead] - said[rows, lead - 1]
            errors = errors[np.isfinite(errors)]
            found[lead - 1] = np.median(errors) if len(errors) >= RECENT // 2 else found[lead - 2] if lead > 1 else 0.0
        found[leads:] = found[leads - 1]
        return found

    def _finished(self, window: Window, fit: Fit, point: Array, scale: Array, horizon: int) -> Forecast | None:
        wide = fit.width * scale
        quantiles = fit.middle + fit.spread * (point[:, None] + wide[:, None] * fit.library.bands(horizon))
        paths = fit.middle + fit.spread * (point + wide * fit.library.drawn(horizon))
        if not math.isfinite(float(quantiles.sum()) + float(paths.sum())):
            return self._persist(window, horizon)
        return forecast_of(window, forecaster=self.name, quantiles=quantiles, paths=paths)

    def _persist(self, window: Window, horizon: int) -> Forecast | None:
        made = self._before.forecast([window], horizon=horizon)
        return replace(made[0], forecaster=self.name) if made else None

    def _judge(self, fit: Fit, added: Addition) -> None:
        """What the newest values say of the width of the bands and of the level."""
        history = self._memory.history(added.tag)
        assert history is not None  # a value was just added to it
        count = min(len(added.values), 2 * RECENT, len(history.values) - 1)
        if count < 1 or not np.isfinite(history.values[-count:]).any():
            return
        end_s = history.end_at.timestamp() - history.period_s
        said = self._said.pop(added.tag, None)
        if said is not None and count == 1 and said[0] == end_s:
            # The last forecast has said it already, from the same.
            points, scales = np.array([said[1]]), np.array([said[2]])
        else:
            before = history.values[:-1]
            one = Asked(tag=added.tag, fit=fit, known=before, end_s=end_s, period_s=history.period_s, learnt=True)
            with np.errstate(over="ignore", invalid="ignore"):
                expected = self._predict_scaled(fit.numbers, self._past(one, count), 1)
            points, scales = expected[0][:, 0], expected[1][:, 0]
        fit.judge((fit.scaled(history.values[-count:]) - points) / scales, history.period_s)

"""What does the process of the model lane do with a turn? The language model reads and forecasts, the panel weighs.

The process owns what is learnt: it fits beside its turns, in a thread of its own, and keeps the memory of the panel in a file, so
that a restart goes on where it was. What is asked comes through a pipe, one turn at a time; nothing else connects it with
the service.
"""

from __future__ import annotations

import gc
import os
import queue
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from stream.model.schedule import Spent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from datetime import datetime
    from multiprocessing.connection import Connection

    from detectors.forecasters.in_turn import InTurn
    from detectors.forecasters.panel import Panel
    from detectors.forecasters.scorer import Scorer
    from detectors.reason.explainer import Explainer
    from detectors.records import Explanation, Forecast, Score, Standing, Verdict, Window
    from stream.model.schedule import Turn

__all__ = ["Answer", "Forecasting", "Reply", "serve", "uncollected"]

SAVED_EVERY_S = 3600.0
STANDING_EVERY_S = 60.0
"""Of plant time, at least, between two accounts of how the panel does on a tag."""
STANDING_LEADS = (1, 2, 3, 6, 12, 24, 48, 96)
"""Of these leads, and of the last one."""
NICENESS = 10
OOM_SCORE = "800"
"""Of 1000: as if it held four fifths of the machine's memory beside what it does hold (proc(5))."""


class Keepable(Protocol):
    """What learns, and can be kept in a file."""

    def save(self) -> bytes:
        """What was learnt."""

    def restore(self, saved: bytes) -> None:
        """Takes the place of what was learnt; raises ValueError for what `save` did not write."""


class Learner(Keepable, Protocol):
    """A detector that learns how its tags usually are: what it knows stays in the process, its verdicts leave it."""

    @property
    def name(self) -> str:
        """Asset or tag with its rule; unlike that of any other."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Whose windows it wants."""

    @property
    def due(self) -> bool:
        """Whether it wants to be fitted."""

    def take(self, windows: Sequence[Window], *, standing: Collection[str]) -> list[Verdict]:
        """Judges the new steps of its tags and learns from them, but for what the alarms named in `standing` stand on."""

    def refit(self) -> None:
        """Fits; may take long, in another thread."""


@dataclass(slots=True, kw_only=True)
class Forecasting:
    """Who forecasts: a panel, and the language model that sits on it, if there is one; and what learns how tags usually are.

    `speaker` is that member of the panel and `reader` what it reads with. `state` is the folder that what is learnt is kept in;
    None keeps it nowhere. With `patient`, fits are waited for: a replay has the time, and must give the same each time.
    `outdated` says whether it should be built anew, since another adapter is in use by now.
    """

    panel: Panel
    learners: tuple[Learner, ...] = ()
    speaker: InTurn | None = None
    reader: Scorer | None = None
    explainer: Explainer | None = None
    description: str = ""
    state: Path | None = None
    patient: bool = False
    outdated: Callable[[], bool] | None = None


class Answer(NamedTuple):
    """What came of a turn.

    `forecasts` are the ones to judge by, one for each window of the turn's step that anything can be said of; `opinions` those
    of the language model itself, to look at. `refused` are tags for which it has no room, `faults` says which member of the
    panel has which trouble, `failure` what became of the language model in this turn, `renewed` is the
    description of what was built anew before it. `by_model` is false if the process was
    away.
    """

    forecasts: list[Forecast]
    scores: list[Score]
    verdicts: tuple[Verdict, ...] = ()
    opinions: tuple[Forecast, ...] = ()
    standings: tuple[Standing, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    refused: tuple[str, ...] = ()
    shortfall: str = ""
    faults: tuple[tuple[str, str], ...] = ()
    failure: str = ""
    renewed: str = ""
    spent: Spent = Spent()
    by_model: bool = False


class Reply(NamedTuple):
    """What the process says: a line about itself, or what came of a turn."""

    ok: bool
    detail: str
    answer: Answer = Answer([], [])


def serve(pipe: Connection, build: Callable[[], Forecasting], horizon: int) -> None:
    """The process: builds its forecasters, then answers turns until it is sent None or the pipe is closed."""
    # The event loop comes first: limit alarms must not wait for a core that is busy with a forecast.
    os.nice(NICENESS)
    # And where memory is short the kernel ends this process, not the one that watches the limits.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    with suppress(EOFError, OSError):
        try:
            forecasting = build()
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear the reason
            pipe.send(Reply(ok=False, detail=f"the model cannot be loaded: {error}"))
            return
        desk = _Desk(forecasting, horizon)
        pipe.send(Reply(ok=True, detail=desk.restore()))
        while (turn := _next(pipe, desk)) is not None:
            try:
                reply = Reply(ok=True, detail="", answer=desk.answer(turn))
            except Exception as error:  # noqa: BLE001 - CUDA and allocator faults have no common type
                reply = Reply(ok=False, detail=f"the model failed: {type(error).__name__}: {error}")
            pipe.send(reply)
            desk.keep()
            desk = _up_to_date(desk, build, horizon)
        desk.save()


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: a step of 1,000 tags makes some hundred thousand tuples, and none of them is in a cycle."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _up_to_date(desk: _Desk, build: Callable[[], Forecasting], horizon: int) -> _Desk:
    """Another adapter is in use by now: a desk with that one, which goes on with what this one has learnt.

    The old one stays until the new one is ready, and stays for good where it cannot be made.
    """
    if not desk.outdated:
        return desk
    desk.save()
    try:
        fresh = _Desk(build(), horizon)
        fresh.renewed = fresh.restore()
    except Exception as error:  # noqa: BLE001 - whatever a new model may suffer from, the one that works goes on
        desk.stay(f"it cannot be built anew: {type(error).__name__}: {error}")
        return desk
    return fresh


def _next(pipe: Connection, desk: _Desk) -> Turn | None:
    """The next turn; until it comes alerts are explained, a token at a time."""
    while not pipe.poll() and desk.explain():
        pass
    turn: Turn | None = pipe.recv()
    return turn


class _Desk:
    def __init__(self, forecasting: Forecasting, horizon: int) -> None:
        self._all = forecasting
        self._panel = forecasting.panel
        self._horizon = horizon
        self._learners: dict[str, list[Learner]] = {}
        for learner in forecasting.learners:
            for tag in learner.tags:
                self._learners.setdefault(tag, []).append(learner)
        self._fits = _Fits()
        self._told: dict[str, datetime] = {}
        self._saved_at = time.monotonic()
        self._stays = ""
        self.renewed = ""
        """What is to be said with the next answer of what was built anew."""

    @property
    def outdated(self) -> bool:
        """Whether it should be built anew."""
        return not self._stays and self._all.outdated is not None and self._all.outdated()

    def stay(self, why: str) -> None:
        """It goes on as it is, whatever else is in use by now."""
        self._stays = why

    @property
    def _learnt(self) -> dict[str, Keepable]:
        """By the name of its file."""
        return {"panel.state": self._panel, **{_file_of(learner.name): learner for learner in self._all.learners}}

    def restore(self) -> str:
        """Goes on with what was saved; returns the description of all, with what became of that."""
        described = self._all.description
        for name, one in self._learnt.items() if self._all.state is not None else ():
            assert self._all.state is not None
            try:
                one.restore((self._all.state / name).read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                described += f"; what was learnt in {name} cannot be read, it begins anew: {error}"
        return described

    def keep(self) -> None:
        """Saves now and then."""
        if time.monotonic() - self._saved_at > SAVED_EVERY_S:
            self.save()

    def save(self) -> None:
        """Each file appears whole, by a rename; on a full disk the old one stays."""
        self._saved_at = time.monotonic()
        if self._all.state is None:
            return
        for name, one in self._learnt.items():
            new = self._all.state / f"{name}.new"
            with suppress(OSError):
                with new.open("wb") as file:
                    file.write(one.save())
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self._all.state / name)

    def explain(self) -> bool:
        """Goes on with explaining alerts; False if there is nothing to explain."""
        return self._all.explainer is not None and self._all.explainer.go_on()

    def answer(self, turn: Turn) -> Answer:
        """Reads, draws, then lets the panel learn and forecast. What befalls the language model costs its own part alone."""
        begun = time.perf_counter()
        renewed, self.renewed = self.renewed, ""
        failure, read_at = "", begun
        scores: list[Score] = []
        opinions: list[Forecast] = []
        try:
            if self._all.reader is not None and turn.read:
                scores = [score for of_window in self._all.reader.read(turn.read) for score in of_window]
            read_at = time.perf_counter()
            if self._all.speaker is not None:
                opinions = self._all.speaker.prepare(turn.forecast, horizon=self._horizon)
        except Exception as error:  # noqa: BLE001 - CUDA and allocator faults have no common type
            failure = f"the language model failed: {type(error).__name__}: {error}"
        drawn_at, read = time.perf_counter(), len(scores)
        forecasts: list[Forecast] = []
        standings: tuple[Standing, ...] = ()
        if turn.step:
            with uncollected():
                self._panel.learn(turn.step)
                self._fit()
                forecasts = self._panel.forecast(turn.step, horizon=self._horizon)
            scores += self._panel.scores
            standings = self._standings([(window.tag, window.end_at) for window in turn.step])
        verdicts = self._judge(turn)
        spent = Spent(
            read_at - begun, drawn_at - read_at, time.perf_counter() - drawn_at, read, len(opinions), len(turn.step)
        )
        reader = self._all.reader
        return Answer(
            forecasts,
            scores,
            verdicts=verdicts,
            opinions=tuple(replace(one, paths=()) for one in opinions),
            standings=standings,
            explanations=self._explained(turn),
            refused=() if reader is None else tuple(reader.refused),
            shortfall="" if reader is None else reader.shortfall,
            faults=tuple(sorted((self._panel.faults | self._fits.faults | self._staying).items())),
            failure=failure,
            renewed=renewed,
            spent=spent,
            by_model=True,
        )

    def _explained(self, turn: Turn) -> tuple[Explanation, ...]:
        if self._all.explainer is None:
            return ()
        self._all.explainer.want(turn.raised)
        return self._all.explainer.finished()

    @property
    def _staying(self) -> dict[str, str]:
        return {"adapter": self._stays} if self._stays else {}

    def _fit(self) -> None:
        self._refit({tag: partial(self._panel.refit, tag) for tag in self._panel.due})

    def _judge(self, turn: Turn) -> tuple[Verdict, ...]:
        """What is unusual in the steps."""
        asked: dict[str, tuple[Learner, list[Window]]] = {}
        for window in turn.step:
            for learner in self._learners.get(window.tag, ()):
                asked.setdefault(learner.name, (learner, []))[1].append(window)
        found = [learner.take(windows, standing=turn.standing) for learner, windows in asked.values()]
        self._refit({f"baseline of {name}": learner.refit for name, (learner, _) in asked.items() if learner.due})
        return tuple(verdict for verdicts in found for verdict in verdicts)

    def _refit(self, fits: dict[str, Callable[[], None]]) -> None:
        if self._all.patient:
            for fit in fits.values():
                fit()
        else:
            self._fits.want(fits)

    def _standings(self, asked: Sequence[tuple[str, datetime]]) -> tuple[Standing, ...]:
        found: list[Standing] = []
        for tag, at in asked:
            told = self._told.get(tag)
            if told is not None and 0 <= (at - told).total_seconds() < STANDING_EVERY_S:
                continue
            self._told[tag] = at
            standings = self._panel.standing(tag)
            found += [one for one in standings if one.steps and (one.lead in STANDING_LEADS or one is standings[-1])]
        return tuple(found)


def _file_of(name: str) -> str:
    """``asset/hx`` is kept in ``learnt-asset-hx.state``; a name that could be two has a mark of its own."""
    mark = f"{zlib.crc32(name.encode()):08x}"
    return f"learnt-{name.replace('/', '-')}-{mark}.state"


class _Fits:
    """Does one fit after the other, in a thread of its own; a fit that fails is named in `faults`."""

    def __init__(self) -> None:
        self.faults: dict[str, str] = {}
        self._wanted: queue.SimpleQueue[tuple[str, Callable[[], None]]] = queue.SimpleQueue()
        self._pending: set[str] = set()
        self._thread: threading.Thread | None = None

    def want(self, fits: dict[str, Callable[[], None]]) -> None:
        """Those that are not waiting already, by name."""
        for name, fit in fits.items():
            if name not in self._pending:
                self._pending.add(name)
                self._wanted.put((name, fit))
        if self._pending and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="fits", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            name, fit = self._wanted.get()
            try:
                fit()
            except Exception as error:  # noqa: BLE001 - a fit may fail in any way; the next one must not wait for ever
                self.faults = {**self.faults, name: f"refit: {type(error).__name__}: {error}"}
            else:
                self.faults = {key: text for key, text in self.faults.items() if key != name}
            self._pending.discard(name)

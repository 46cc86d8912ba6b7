"""What does the process of the model lane do with a turn? The language model reads and forecasts, the panel weighs.

The process owns what is learnt: it fits beside its turns, in a thread of its own, and keeps the memory of the panel in a file, so
that a restart goes on where it was. What is asked comes through a pipe, one turn at a time; nothing else connects it with
the service.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from stream.schedule import Spent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from multiprocessing.connection import Connection
    from pathlib import Path

    from detectors.forecasters.in_turn import InTurn
    from detectors.forecasters.panel import Panel
    from detectors.forecasters.scorer import Scorer
    from detectors.records import Forecast, Score, Standing
    from stream.schedule import Turn

__all__ = ["Answer", "Forecasting", "Reply", "serve"]

SAVED_EVERY_S = 3600.0
STANDING_EVERY_S = 60.0
"""Of plant time, at least, between two accounts of how the panel does on a tag."""
STANDING_LEADS = (1, 2, 3, 6, 12, 24, 48, 96)
"""Of these leads, and of the last one."""
NICENESS = 10


@dataclass(slots=True, kw_only=True)
class Forecasting:
    """Who forecasts: a panel, and the language model that sits on it, if there is one.

    `speaker` is that member of the panel and `reader` what it reads with. `state` is the file that the panel's memory is kept
    in; None keeps it nowhere. With `patient`, fits are waited for: a replay has the time, and must give the same each time.
    """

    panel: Panel
    speaker: InTurn | None = None
    reader: Scorer | None = None
    description: str = ""
    state: Path | None = None
    patient: bool = False


class Answer(NamedTuple):
    """What came of a turn.

    `forecasts` are the ones to judge by, one for each window of the turn's step that anything can be said of; `opinions` those
    of the language model itself, to look at. `refused` are tags for which it has no room, `faults` says which member of the
    panel has which trouble, `failure` what became of the language model in this turn. `by_model` is false if the process was
    away.
    """

    forecasts: list[Forecast]
    scores: list[Score]
    opinions: tuple[Forecast, ...] = ()
    standings: tuple[Standing, ...] = ()
    refused: tuple[str, ...] = ()
    shortfall: str = ""
    faults: tuple[tuple[str, str], ...] = ()
    failure: str = ""
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
    with suppress(EOFError, OSError):
        try:
            forecasting = build()
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear the reason
            pipe.send(Reply(ok=False, detail=f"the model cannot be loaded: {error}"))
            return
        desk = _Desk(forecasting, horizon)
        pipe.send(Reply(ok=True, detail=desk.restore()))
        while (turn := pipe.recv()) is not None:
            try:
                reply = Reply(ok=True, detail="", answer=desk.answer(turn))
            except Exception as error:  # noqa: BLE001 - CUDA and allocator faults have no common type
                reply = Reply(ok=False, detail=f"the model failed: {type(error).__name__}: {error}")
            pipe.send(reply)
            desk.keep()
        desk.save()


class _Desk:
    def __init__(self, forecasting: Forecasting, horizon: int) -> None:
        self._all = forecasting
        self._panel = forecasting.panel
        self._horizon = horizon
        self._fits = _Fits(forecasting.panel.refit)
        self._told: dict[str, datetime] = {}
        self._saved_at = time.monotonic()

    def restore(self) -> str:
        """Goes on with what was saved; returns the description of all, with what became of that."""
        state, described = self._all.state, self._all.description
        if state is None or not state.exists():
            return described
        try:
            self._panel.restore(state.read_bytes())
        except (OSError, ValueError) as error:
            return f"{described}; what the panel had learnt cannot be read, it begins anew: {error}"
        return described

    def keep(self) -> None:
        """Saves now and then."""
        if time.monotonic() - self._saved_at > SAVED_EVERY_S:
            self.save()

    def save(self) -> None:
        """The file appears whole, by a rename; on a full disk the old one stays."""
        self._saved_at = time.monotonic()
        if self._all.state is None:
            return
        new = self._all.state.with_suffix(".new")
        with suppress(OSError):
            with new.open("wb") as file:
                file.write(self._panel.save())
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._all.state)

    def answer(self, turn: Turn) -> Answer:
        """Reads, draws, then lets the panel learn and forecast. What befalls the language model costs its own part alone."""
        begun = time.perf_counter()
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
            self._panel.learn(turn.step)
            self._fit()
            forecasts = self._panel.forecast(turn.step, horizon=self._horizon)
            scores += self._panel.scores
            standings = self._standings([(window.tag, window.end_at) for window in turn.step])
        spent = Spent(
            read_at - begun, drawn_at - read_at, time.perf_counter() - drawn_at, read, len(opinions), len(turn.step)
        )
        reader = self._all.reader
        return Answer(
            forecasts,
            scores,
            opinions=tuple(replace(one, paths=()) for one in opinions),
            standings=standings,
            refused=() if reader is None else tuple(reader.refused),
            shortfall="" if reader is None else reader.shortfall,
            faults=tuple(sorted(self._panel.faults.items())),
            failure=failure,
            spent=spent,
            by_model=True,
        )

    def _fit(self) -> None:
        due = self._panel.due
        if self._all.patient:
            for tag in due:
                self._panel.refit(tag)
        else:
            self._fits.want(due)

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


class _Fits:
    """Fits tags one after the other, in a thread of its own."""

    def __init__(self, fit: Callable[[str], None]) -> None:
        self._fit = fit
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._pending: set[str] = set()
        self._thread: threading.Thread | None = None

    def want(self, tags: Sequence[str]) -> None:
        """Tags that are not waiting already."""
        for tag in tags:
            if tag not in self._pending:
                self._pending.add(tag)
                self._wanted.put(tag)
        if self._pending and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="fits", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            tag = self._wanted.get()
            # A member that cannot be fitted is named by the panel.
            self._fit(tag)
            self._pending.discard(tag)

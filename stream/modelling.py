"""Who reads and forecasts while the model is away? The model lane: a process of its own, and a fallback in this one.

A CUDA fault, an out-of-memory kill or a hang takes the process and nothing else: no sample, no limit alarm. It is started
again with back-off and reads its windows anew, since every request carries whole windows and the process is owed nothing.
Until then the fallback forecasts, under its own name, nothing is scored, and the status says so.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, NamedTuple

from detectors.forecasters.scorer import Scorer
from detectors.records import LEVELS, Status
from stream.schedule import Spent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from detectors.forecasters.forecaster import Forecaster
    from detectors.records import Forecast, Score, Window
    from stream.clock import Clock
    from stream.schedule import Turn

__all__ = ["Answer", "ModelLane"]

START_TIMEOUT_S = 3600.0
"""A first start may fetch and convert a model; the fallback forecasts meanwhile."""
ANSWER_TIMEOUT_S = 60.0
BACKOFF_S = (1.0, 60.0)
ERRORS_BEFORE_RESTART = 3


class Answer(NamedTuple):
    """What came of a turn; `refused` are tags for which the model has no room, `by_model` is false if it was away."""

    forecasts: list[Forecast]
    scores: list[Score]
    refused: tuple[str, ...] = ()
    shortfall: str = ""
    spent: Spent = Spent()
    by_model: bool = False


class _Reply(NamedTuple):
    """What the process says: a line about itself, or what came of a turn."""

    ok: bool
    detail: str
    answer: Answer = Answer([], [])


class _Away(Exception):  # noqa: N818 - a state of the lane, not an error of the caller
    """The process cannot answer: the reason is the message."""


class ModelLane:
    """Forecasts in a process of its own; times here are machine seconds, not plant seconds.

    `build` makes the forecaster inside that process (so it must be picklable, and heavy imports belong inside it); None
    means that there is no model, and the fallback is all there is.
    """

    def __init__(
        self,
        build: Callable[[], Forecaster] | None,
        *,
        fallback: Forecaster,
        horizon: int,
        report: Callable[[Status], None],
        clock: Clock,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        start_timeout_s: float = START_TIMEOUT_S,
        backoff_s: tuple[float, float] = BACKOFF_S,
    ) -> None:
        self._build = build
        self._fallback = fallback
        self._horizon = horizon
        self._report = report
        self._clock = clock
        self._answer_timeout_s = answer_timeout_s
        self._start_timeout_s = start_timeout_s
        self._backoff_s = backoff_s
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._lost = asyncio.Event()
        self._busy = asyncio.Lock()
        self._errors = 0
        # One thread: the pipe carries one question at a time.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model-lane")
        self._short = False
        self.restarts = 0

    @property
    def up(self) -> bool:
        """Whether the model itself answers at present."""
        return self._pipe is not None

    @property
    def pid(self) -> int | None:
        """Process id of the model, while it is up or starting."""
        return None if self._process is None else self._process.pid

    async def run(self) -> None:
        """Keeps the process alive until cancelled."""
        if self._build is None:
            self._say(ok=True, detail=f"no model configured: forecasts by {self._fallback.name}")
            self._thread.shutdown(wait=False)
            return
        wait_s = self._backoff_s[0]
        try:
            while True:
                try:
                    detail = await self._start(self._build)
                except _Away as away:
                    self._say(ok=False, detail=f"{away}; forecasts by {self._fallback.name}")
                else:
                    self._say(ok=True, detail=detail)
                    started = asyncio.get_running_loop().time()
                    await self._lost.wait()
                    # One that ran for long had earned a quick restart.
                    if asyncio.get_running_loop().time() - started > self._backoff_s[1]:
                        wait_s = self._backoff_s[0]
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, self._backoff_s[1])
                self.restarts += 1
        finally:
            self._end()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(self, turn: Turn) -> Answer:
        """Scores and forecasts of a turn: by the model if it is up, else by the fallback, which only forecasts."""
        if self._pipe is not None and (turn.read or turn.forecast):
            async with self._busy:
                try:
                    answer = self._checked(turn, await self._ask(turn, self._answer_timeout_s))
                except _Away as away:
                    self._errors += 1
                    if self._pipe is None or self._errors >= ERRORS_BEFORE_RESTART:
                        self._end()
                        self._lost.set()
                    self._say(ok=False, detail=f"{away}; forecasts by {self._fallback.name}")
                else:
                    self._say_shortfall(answer.shortfall)
                    refused = [window for window in turn.forecast if window.tag in answer.refused]
                    others = await self._fall_back((*turn.without, *refused))
                    return answer._replace(forecasts=[*answer.forecasts, *others])
        by_model = self._pipe is not None and not (turn.read or turn.forecast)
        return Answer(await self._fall_back((*turn.forecast, *turn.without)), [], by_model=by_model)

    async def _fall_back(self, windows: Sequence[Window]) -> list[Forecast]:
        if not windows:
            return []
        return await asyncio.to_thread(self._fallback.forecast, windows, horizon=self._horizon)

    async def _start(self, build: Callable[[], Forecaster]) -> str:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._lost.clear()
        self._errors = 0
        self._process = context.Process(
            target=_serve, args=(theirs, build, self._horizon), name="givre-model", daemon=True
        )
        await asyncio.to_thread(_start_deaf, self._process)
        theirs.close()
        self._pipe = None
        try:
            reply = await self._receive(ours, self._start_timeout_s)
        except _Away:
            self._end()
            raise
        if not reply.ok:
            self._end()
            raise _Away(reply.detail)
        self._pipe = ours
        return reply.detail

    async def _ask(self, question: object, timeout_s: float) -> _Reply:
        pipe = self._pipe
        if pipe is None:
            raise _Away("the model process is away")
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, pipe.send, question)
            return await self._receive(pipe, timeout_s)
        except (OSError, _Away) as error:
            # After a broken or missed answer the next one could be taken for it: this pipe is done.
            self._pipe = None
            raise _Away(str(error)) from error

    async def _receive(self, pipe: Connection, timeout_s: float) -> _Reply:
        def receive() -> _Reply:
            if not pipe.poll(timeout_s):
                raise _Away(f"the model process did not answer within {timeout_s:g} s")
            try:
                reply: _Reply = pipe.recv()
            except (EOFError, OSError) as error:
                raise _Away("the model process died") from error
            return reply

        return await asyncio.get_running_loop().run_in_executor(self._thread, receive)

    def _checked(self, turn: Turn, reply: _Reply) -> Answer:
        """The answer, if every score and forecast is of a window that was asked, whole and finite."""
        if not reply.ok:
            raise _Away(reply.detail)
        answer = reply.answer
        asked = {window.tag: window for window in turn.forecast}
        for forecast in answer.forecasts:
            window = asked.get(forecast.tag)
            rows = (*forecast.quantiles, *forecast.paths)
            if window is None or forecast.made_at != window.end_at:
                raise _Away(f"the model answered for {forecast.tag} at {forecast.made_at}, which was not asked")
            if forecast.horizon != self._horizon or any(len(path) != self._horizon for path in forecast.paths):
                raise _Away(f"the model gave {forecast.horizon} steps of {forecast.tag}, {self._horizon} were asked")
            if not all(math.isfinite(x) for row in rows for x in row) or any(
                len(row) != len(LEVELS) or list(row) != sorted(row) for row in forecast.quantiles
            ):
                raise _Away(f"the model gave quantiles of {forecast.tag} that are not finite and in rising order")
        read = {window.tag: window for window in turn.read}
        for score in answer.scores:
            window = read.get(score.tag)
            if window is None or score.at > window.end_at:
                raise _Away(f"the model scored {score.tag} at {score.at}, which was not asked")
            if not (0 <= score.pit <= 1 and math.isfinite(score.log_score) and score.log_probability <= 0):
                raise _Away(f"the model gave {score.tag} a PIT of {score.pit} and a log score of {score.log_score}")
        self._errors = 0
        return answer

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _say_shortfall(self, shortfall: str) -> None:
        """Memory that does not suffice is a status of its own: the model works, and does less than was wished."""
        if shortfall or self._short:
            detail = shortfall or "everything fits"
            self._report(Status(subject="model.memory", ok=not shortfall, detail=detail, at=self._clock.now()))
        self._short = bool(shortfall)

    def _say(self, *, ok: bool, detail: str) -> None:
        self._report(Status(subject="model", ok=ok, detail=detail, at=self._clock.now()))


def _start_deaf(process: BaseProcess) -> None:
    """Starts a process that Ctrl-C does not reach: it goes to every process of a terminal, and the parent ends this one.

    The process inherits the signal mask of the thread that starts it, so it is deaf from its first moment on.
    """
    # It would lift our mask when it starts its helper, so that goes first.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _serve(pipe: Connection, build: Callable[[], Forecaster], horizon: int) -> None:
    """The process: builds its forecaster, then answers turns until the pipe is closed."""
    # The event loop comes first: limit alarms must not wait for a core that is busy with a forecast.
    os.nice(10)
    with suppress(EOFError, OSError):
        try:
            forecaster = build()
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear the reason
            pipe.send(_Reply(ok=False, detail=f"the model cannot be loaded: {error}"))
            return
        pipe.send(_Reply(ok=True, detail=getattr(forecaster, "description", forecaster.name)))
        while True:
            turn = pipe.recv()
            try:
                reply = _Reply(ok=True, detail="", answer=_answer(forecaster, turn, horizon))
            except Exception as error:  # noqa: BLE001 - CUDA and allocator faults have no common type
                reply = _Reply(ok=False, detail=f"the model failed: {type(error).__name__}: {error}")
            pipe.send(reply)


def _answer(forecaster: Forecaster, turn: Turn, horizon: int) -> Answer:
    """Reads, then forecasts; a forecaster that cannot read only forecasts."""
    begun = time.perf_counter()
    read = forecaster.read(turn.read) if isinstance(forecaster, Scorer) and turn.read else []
    scores = [score for of_window in read for score in of_window]
    read_at = time.perf_counter()
    forecasts = forecaster.forecast(turn.forecast, horizon=horizon) if turn.forecast else []
    spent = Spent(read_at - begun, time.perf_counter() - read_at, len(scores), len(forecasts))
    refused = tuple(forecaster.refused) if isinstance(forecaster, Scorer) else ()
    shortfall = forecaster.shortfall if isinstance(forecaster, Scorer) else ""
    return Answer(forecasts, scores, refused, shortfall, spent, by_model=True)

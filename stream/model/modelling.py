"""Who reads and forecasts while the model is away? The model lane: a process of its own, and a fallback in this one.

A CUDA fault, an out-of-memory kill or a hang takes the process and nothing else: no sample, no limit alarm. It is started
again with back-off, reads its windows anew, since every request carries whole windows, and takes up what its panel had learnt
(`stream.model.process` is its inside). Until then the fallback forecasts, under its own name, nothing is scored, and the status
says so.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import signal
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from detectors.records import LEVELS, Alert, Status
from stream.model.process import Answer, Reply, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from detectors.forecasters.forecaster import Forecaster
    from detectors.records import Forecast, Record, Window
    from stream.clock import Clock
    from stream.model.process import Forecasting
    from stream.model.schedule import Turn

__all__ = ["ModelLane"]

START_TIMEOUT_S = 3600.0
"""A first start may fetch and convert a model; the fallback forecasts meanwhile."""
ANSWER_TIMEOUT_S = 60.0
BACKOFF_S = (1.0, 60.0)
ERRORS_BEFORE_RESTART = 3
RAISED_KEPT = 16
"""New alerts that wait for the next turn."""
FAREWELL_S = 5.0
"""How long a clean stop waits until the process has saved what it learnt."""


class _Away(Exception):  # noqa: N818 - a state of the lane, not an error of the caller
    """The process cannot answer: the reason is the message."""


class ModelLane:
    """Forecasts in a process of its own; times here are machine seconds, not plant seconds.

    `build` makes the forecasters inside that process (so it must be picklable, and heavy imports belong inside it); None
    means that there is no process, and the fallback is all there is.
    """

    def __init__(
        self,
        build: Callable[[], Forecasting] | None,
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
        self._described = ""
        self._failing = False
        self._short = False
        self._faulty: tuple[tuple[str, str], ...] = ()
        self.restarts = 0
        # The process knows whether they are wanted there; the oldest of too many are not explained.
        self._raised: deque[Alert] = deque(maxlen=RAISED_KEPT)

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
            self._say(ok=True, detail=f"forecasts by {self._fallback.name}")
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
                    self._described = detail
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
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._dismiss)
            self._end()
            self._thread.shutdown(wait=False, cancel_futures=True)

    def note(self, records: Iterable[Record]) -> None:
        """Looks for new alerts, to hand them over with the next turn."""
        self._raised += [r for r in records if isinstance(r, Alert) and r.state.active and not r.previous.active]

    async def ask(self, turn: Turn) -> Answer:
        """Scores and forecasts of a turn: by the process if it is up, else by the fallback, which only forecasts."""
        if self._pipe is not None:
            async with self._busy:
                turn = turn._replace(raised=tuple(self._raised))
                self._raised.clear()
                try:
                    answer = self._checked(turn, await self._ask(turn, self._answer_timeout_s))
                except _Away as away:
                    self._fail(str(away), f"forecasts by {self._fallback.name}")
                else:
                    if answer.failure:
                        self._fail(answer.failure, "the other forecasters go on")
                    elif turn.read or turn.forecast or not self._errors:
                        self._recover()
                    if answer.renewed:
                        self._described = answer.renewed
                        self._say(ok=True, detail=self._described)
                    self._say_shortfall(answer.shortfall)
                    self._say_faults(answer.faults)
                    return answer
        return Answer(await self._fall_back(turn.step), [])

    def _fail(self, why: str, therefore: str) -> None:
        """A turn that failed; after some in a row the process is ended, and started anew by `run`."""
        self._errors += 1
        if self._pipe is None or self._errors >= ERRORS_BEFORE_RESTART:
            self._end()
            self._lost.set()
        self._failing = True
        self._say(ok=False, detail=f"{why}; {therefore}")

    def _recover(self) -> None:
        self._errors = 0
        if self._failing:
            self._say(ok=True, detail=self._described)
        self._failing = False

    async def _fall_back(self, windows: Sequence[Window]) -> list[Forecast]:
        if not windows:
            return []
        return await asyncio.to_thread(self._fallback.forecast, windows, horizon=self._horizon)

    async def _start(self, build: Callable[[], Forecasting]) -> str:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._lost.clear()
        self._errors = 0
        self._process = context.Process(
            target=serve, args=(theirs, build, self._horizon), name="givre-model", daemon=True
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

    async def _ask(self, question: object, timeout_s: float) -> Reply:
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

    async def _receive(self, pipe: Connection, timeout_s: float) -> Reply:
        def receive() -> Reply:
            if not pipe.poll(timeout_s):
                raise _Away(f"the model process did not answer within {timeout_s:g} s")
            try:
                reply: Reply = pipe.recv()
            except (EOFError, OSError) as error:
                raise _Away("the model process died") from error
            return reply

        return await asyncio.get_running_loop().run_in_executor(self._thread, receive)

    def _checked(self, turn: Turn, reply: Reply) -> Answer:
        """The answer, if every score and forecast is of a window that was asked, whole and finite."""
        if not reply.ok:
            raise _Away(reply.detail)
        answer = reply.answer
        asked = {window.tag: window for window in turn.step}
        for forecast in (*answer.forecasts, *answer.opinions):
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
        read = {window.tag: window for window in (*turn.step, *turn.read)}
        for score in answer.scores:
            window = read.get(score.tag)
            if window is None or score.at > window.end_at:
                raise _Away(f"the model scored {score.tag} at {score.at}, which was not asked")
            if not (0 <= score.pit <= 1 and math.isfinite(score.log_score) and score.log_probability <= 0):
                raise _Away(f"the model gave {score.tag} a PIT of {score.pit} and a log score of {score.log_score}")
        if not all(math.isfinite(verdict.score) for verdict in answer.verdicts):
            raise _Away("the model process judged something with a score that is no number")
        return answer

    def _dismiss(self) -> None:
        """Asks the process to save what it learnt, and waits until it is gone."""
        pipe, process = self._pipe, self._process
        if pipe is None or process is None:
            return
        with suppress(OSError, EOFError):
            pipe.send(None)
            while pipe.poll(FAREWELL_S):
                pipe.recv()
        process.join(FAREWELL_S)

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

    def _say_faults(self, faults: tuple[tuple[str, str], ...]) -> None:
        """A member of the panel that fails is left out by it, and named here."""
        if faults != self._faulty:
            said = "; ".join(f"{name} is left out, {what}" for name, what in faults)
            detail = said or "every forecaster takes part"
            self._report(Status(subject="model.panel", ok=not faults, detail=detail, at=self._clock.now()))
        self._faulty = faults

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

"""How does the service follow its configuration file? One pipeline after another in one process: SIGHUP begins the next.

A changed file is checked first; one that is wrong changes nothing, and the status `config` says why. One that is right ends the
pipeline cleanly, as a stop does, and the next goes on from the same journal: brokers keep what arrives in between.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING

from config.errors import ConfigError
from config.load import load
from detectors.records import Status
from stream.assemble import build_endpoint, build_pipeline, open_journal, state_folder
from stream.audit import Event, audit
from stream.check import check
from stream.clock import SystemClock
from stream.journal.journal import JournalError
from stream.journal.refuge import Refuge, unwritable
from stream.journal.writing import DiskLostError

if TYPE_CHECKING:
    from pathlib import Path

    from config.load import Loaded
    from stream.journal.journal import Journal
    from stream.journal.writing import Writing
    from stream.notify import Notifier
    from stream.pipeline import Pipeline

__all__ = ["Running"]


class Running:
    """The service on a configuration file, from start to SIGTERM or SIGINT; a second of these ends it at once, as usual."""

    def __init__(self, path: Path, loaded: Loaded, *, notifier: Notifier) -> None:
        self._path = path
        self._loaded = loaded
        self._before: Loaded | None = None
        self._notifier = notifier
        self._clock = SystemClock()
        self._pipeline: Pipeline | None = None
        self._asked = asyncio.Event()
        self._stopped = False
        self._said: tuple[bool, str] | None = None
        self._refuge: Refuge | None = None
        self._hardship = ""
        self._left: Writing | None = None

    async def run(self) -> None:
        """Runs pipelines until it is told to stop; raises what hinders the first from being built."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        audit(Event.START, f"start: givre {version('givre')}, {self._about(self._loaded)}")
        try:
            while not self._stopped:
                await self._live()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _about(self, loaded: Loaded) -> str:
        return f"configuration {self._path} with sha256 {loaded.sha256}"

    def _stop(self, number: signal.Signals) -> None:
        audit(Event.STOP, f"stop: {number.name}")
        asyncio.get_running_loop().remove_signal_handler(number)
        self._stopped = True
        if self._pipeline is not None:
            self._pipeline.stop()

    async def _live(self) -> None:
        """One pipeline, from its first sample to its last."""
        # Its own threads: when they are done, nothing of it touches the journal any more.
        threads = ThreadPoolExecutor(thread_name_prefix="pipeline")
        asyncio.get_running_loop().set_default_executor(threads)
        journal, pipeline = self._build()
        _settle()
        self._pipeline = pipeline
        if self._said is not None:
            self._say(*self._said)
        beside = build_endpoint(self._loaded, pipeline, clock=self._clock)
        companions = [asyncio.create_task(self._follow(pipeline))]
        if beside is not None:
            companions.append(asyncio.create_task(beside()))
        try:
            await pipeline.run(ready=self._notifier.ready, hardship=self._hardship)
        except* DiskLostError:
            # The next one keeps its journal elsewhere. Sources that wait for a confirmation say again what is not in these.
            self._left = pipeline.writing
        finally:
            self._pipeline = None
            for companion in companions:
                companion.cancel()
            await asyncio.gather(*companions, return_exceptions=True)
            threads.shutdown()
            journal.close()
            if self._refuge is not None:
                self._refuge.close()
                self._refuge = None

    def _build(self) -> tuple[Journal, Pipeline]:
        try:
            return self._build_from(self._loaded)
        except (ConfigError, JournalError, OSError) as error:
            if self._before is None:
                raise
            # It passed the check, and cannot be had all the same: a state folder that is somebody else's, say.
            self._said = (False, f"the changed file cannot be used, the one before it is: {error}")
            self._loaded, self._before = self._before, None
            return self._build_from(self._loaded)

    def _build_from(self, loaded: Loaded) -> tuple[Journal, Pipeline]:
        journal = self._open(loaded)
        try:
            if self._left is not None:
                journal.append([], memory=self._left.memory)
            pipeline = build_pipeline(loaded, journal=journal, clock=self._clock, progress=self._notifier.beat)
            if self._left is not None:
                pipeline.writing.keep(self._left.records)
                self._left = None
            return journal, pipeline  # noqa: TRY300 - one that cannot be built must let go of its journal
        except BaseException:
            journal.close()
            raise

    def _open(self, loaded: Loaded) -> Journal:
        """The journal, in a refuge where the disk takes nothing: limits are watched all the same."""
        self._hardship = ""
        try:
            return open_journal(loaded)
        except (JournalError, OSError):
            folder, settings = state_folder(loaded), loaded.settings.journal
            why = unwritable(folder)
            if not why:
                raise
            try:
                self._refuge = Refuge(folder, max_size_mb=settings.max_size_mb, keep_days=settings.keep_days)
            except OSError as error:
                nor = f"nor can the folder for what runs: {error}"
                raise JournalError(
                    f"state folder {folder}: cannot be written ({why}), {nor}. Repair the disk"
                ) from error
            self._hardship = f"the state folder cannot be written ({why}): the journal is {self._refuge.text}"
            return self._refuge.journal

    async def _follow(self, pipeline: Pipeline) -> None:
        """Waits for SIGHUP; a file that is right ends this pipeline, and the next is built from it."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._notifier.reloading()
            problems, loaded = await asyncio.to_thread(self._examine)
            if loaded is None:
                self._say(ok=False, detail="the changed file is not used, the one before it is: " + "; ".join(problems))
                self._notifier.ready()
                continue
            audit(Event.CONFIGURATION_USED, f"SIGHUP: {self._about(loaded)}")
            self._before, self._loaded = self._loaded, loaded
            self._said = (True, "the changed file is used")
            pipeline.stop()
            return

    def _examine(self) -> tuple[list[str], Loaded | None]:
        """What is wrong with the file as it is now, or what it says."""
        report = check(self._path, connect=False)
        if not report.ok:
            return report.problems, None
        try:
            return [], load(self._path)
        except ConfigError as error:  # changed between the two looks
            return [str(error)], None

    def _say(self, ok: bool, detail: str) -> None:
        self._said = (ok, detail)
        if self._pipeline is not None:
            self._pipeline.report(Status(subject="config", ok=ok, detail=detail, at=self._clock.now()))


def _settle() -> None:
    """Takes what was built out of the search for cycles: with thousands of tags each would hold the loop for half a second."""
    gc.unfreeze()  # what the pipeline before was built of may go
    gc.collect()
    gc.freeze()

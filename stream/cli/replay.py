"""What would Givre have said of recorded history? The live path, fed from a file on a clock that the file drives.

The journal of a service is the best recording (`stream.cli.recorded_day`); of any other file only the samples are known:
nothing leaves, the replay has no sinks and a journal of its own. The model gets the time it needs at every step, so a
replay is as exact as it is slow; without a model it runs at some ten thousand samples a second.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from detectors.records import Alert
from stream.assemble import build_pipeline
from stream.cli.recorded_day import RecordedDayError, is_journal, judge_again
from stream.journal.journal import Journal
from stream.recording import samples_of
from stream.sources.history import HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from config.load import Loaded
    from detectors.records import Sample
    from stream.cli.recorded_day import Outcome
    from stream.pipeline import Pipeline
    from stream.recording import History
    from stream.sources.source import Intake

__all__ = ["ReplayError", "run_replay"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVER = datetime.min.replace(tzinfo=UTC)
_ALERTS_SHOWN = 40


class ReplayError(Exception):
    """The history cannot be replayed; the text says why and what to do."""


@dataclass
class _FileClock:
    """Stands at the latest sample that was fed."""

    moment: datetime = _EPOCH
    speed: float = 1.0
    earliest: datetime = _EVER

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


@dataclass
class _History:
    """A file as a source: one step of the shortest period at a time, waiting each time until all of it has been judged."""

    samples: Iterator[Sample]
    step_s: float
    clock: _FileClock
    name: str = "replay"
    error: HistoryError | None = None
    pipeline: Pipeline | None = field(default=None)

    async def run(self, intake: Intake) -> None:
        assert self.pipeline is not None
        try:
            for _, step in groupby(
                self.samples, key=lambda s: (s.arrived_at - _EPOCH) // timedelta(seconds=self.step_s)
            ):
                samples = tuple(step)
                self.clock.moment = max(self.clock.moment, samples[-1].arrived_at)
                await intake.deliver(samples)
                await self.pipeline.settled()
        except HistoryError as error:
            self.error = error
        self.pipeline.stop()

    async def probe(self) -> list[str]:
        return []


def run_replay(loaded: Loaded, path: History, *, folder: Path, timezone: str, model: bool, console: Console) -> None:
    """Replays a history file and prints what came of it.

    Raises ReplayError for a file that cannot be read, or that has nothing of the configured tags.
    """
    tags = loaded.settings.tags()
    # A file may use the tag's own name where no two assets share it.
    short = Counter(name.partition("/")[2] for name in tags)
    names = {name.partition("/")[2]: name for name in tags if short[name.partition("/")[2]] == 1}
    names |= {name: name for name in tags}
    clock = _FileClock()

    def note(line: str) -> None:
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)

    folder.mkdir(parents=True, exist_ok=True)
    journal_path = folder / "journal.sqlite3"
    if journal_path.exists():
        raise ReplayError(f"{journal_path} exists: expected a folder without a journal; give another --state")
    journal = Journal(journal_path, max_size_mb=loaded.settings.journal.max_size_mb, keep_days=36500)
    began = time.monotonic()
    pipeline: Pipeline | None = None
    try:
        if isinstance(path, Path) and is_journal(path):
            _print_day(judge_again(loaded, path, journal), time.monotonic() - began, console)
            console.print(f"journal: {journal_path}", highlight=False, soft_wrap=True)
            return
        history = _History(samples=iter(()), step_s=min(tag.period_s for tag in tags.values()), clock=clock)
        pipeline = build_pipeline(
            loaded,
            journal=journal,
            clock=clock,
            sources=[history],
            with_model=model,
            with_sinks=False,
            hurried=False,
        )
        history.pipeline = pipeline
        try:
            history.samples = samples_of(path, tags=names, timezone=timezone, reject=pipeline.reject, note=note)
        except HistoryError as error:
            raise ReplayError(str(error)) from error
        asyncio.run(pipeline.run(after_model=True))
        if history.error is not None:
            raise ReplayError(str(history.error))
        if pipeline.metrics.samples == 0:
            raise ReplayError(f"{path}: no sample of a configured tag; tags are: {', '.join(sorted(tags))}")
        alerts = [record for record in journal.history(kinds={Alert}) if isinstance(record, Alert)]
        _print(pipeline, alerts, time.monotonic() - began, console)
        console.print(f"journal: {journal_path}", highlight=False, soft_wrap=True)
    except RecordedDayError as error:
        raise ReplayError(str(error)) from error
    finally:
        journal.close()


def _print_day(outcome: Outcome, seconds: float, console: Console) -> None:
    _print_alerts(outcome.again, console)
    runs = "one run" if outcome.runs == 1 else f"{outcome.runs} runs"
    console.print(
        f"{outcome.samples} samples of {runs} of the service, {len(outcome.again)} alerts, in {seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    said = "the same alerts as live, byte for byte"
    if not outcome.same:
        said = f"not the same as live ({len(outcome.live)} alerts): {outcome.first_difference}"
    console.print(said, style="bold" if outcome.same else "bold red", highlight=False, markup=False, soft_wrap=True)


def _print(pipeline: Pipeline, alerts: list[Alert], seconds: float, console: Console) -> None:
    _print_alerts(alerts, console)
    metrics = pipeline.metrics
    console.print(
        f"{metrics.samples} samples, {metrics.forecasts.total()} forecasts, {pipeline.lane.verdicts} verdicts, "
        f"{metrics.raised} alarms raised, {metrics.cleared} cleared, {sum(metrics.rejected.values())} inputs rejected, "
        f"in {seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )


def _print_alerts(alerts: list[Alert], console: Console) -> None:
    if len(alerts) > _ALERTS_SHOWN:
        console.print(f"the last {_ALERTS_SHOWN} of {len(alerts)} transitions:", highlight=False)
    for alert in alerts[-_ALERTS_SHOWN:]:
        style = "bold red" if alert.state.active else "yellow"
        line = Text.assemble(f"{alert.at:%Y-%m-%d %H:%M:%S}  ", (f"{alert.state:>23}", style), f"  {alert.text}")
        console.print(line, soft_wrap=True)

"""What does `givre evaluate` do with what it is given? Reads the words of the command line, the history, runs, and writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.progress import Progress

from stream.cli.evaluation import EvaluationError, Question, run_evaluation
from stream.cli.print_evaluation import print_outcome, require_parquet, write_outcome
from stream.model.roster import Roster, RosterError
from stream.recording import read_recording, record
from stream.sources.history import HistoryError, read_moment

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from stream.recording import Recording

__all__ = ["EvaluationRequest", "evaluate_history"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """The command line; see its help."""

    history: str
    forecasters: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    held_out: str = "0.2"
    horizon: int = 0
    one_shot: bool = False
    stride: int = 0
    warm_up: int | None = None
    refit_every: int | None = None
    period_s: float | None = None
    hold_s: float | None = None
    timezone: str = "UTC"
    query: str = ""
    database: str = ""
    org: str = ""
    model: Path | None = None
    out: Path | None = None


def evaluate_history(request: EvaluationRequest, *, console: Console, complaints: Console) -> str | None:
    """Prints and writes all that was asked for; returns what is wrong with the input, in one sentence, or None."""
    try:
        roster = Roster(model=request.model)
        question = _question(request, roster)
        if request.out is not None:
            require_parquet()
        recording = _recording(request)
        with Progress(console=complaints, transient=True) as progress:
            task = progress.add_task("reading", total=1.0)

            def show(what: str, share: float) -> None:
                progress.update(task, description=what, completed=share)

            outcome = run_evaluation(recording, question, roster, progress=show)
        print_outcome(outcome, console)
        if request.out is not None:
            for path in write_outcome(outcome, request.out, title=f"Forecasts of {_title(request)}"):
                console.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)
    except (EvaluationError, HistoryError, RosterError) as error:
        return str(error)
    return None


def _question(request: EvaluationRequest, roster: Roster) -> Question:
    named = [name.strip() for text in request.forecasters for name in text.split(",") if name.strip()]
    if "all" in named:
        named = list(roster.names)
    return Question(
        forecasters=tuple(dict.fromkeys(named)) or roster.quick,
        held_out=_held_out(request.held_out, request.timezone),
        horizon=request.horizon,
        stride=request.stride,
        one_shot=request.one_shot,
        warm_up=request.warm_up,
        refit_every=request.refit_every,
        period_s=request.period_s,
        hold_s=request.hold_s,
    )


def _held_out(text: str, timezone: str) -> float | datetime:
    """A share (0.2, 20 %), or a date in the time zone of the history."""
    number = text.strip().removesuffix("%").strip()
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        pass
    else:
        if not 0 < share < 1:
            raise EvaluationError(f"--held-out: expected a share between 0 and 1 (0.2, 20 %), found {text!r}")
        return share
    try:
        return read_moment(text, ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, OSError):
        raise EvaluationError(f"--timezone: expected a name such as Europe/Paris, found {timezone[:60]!r}") from None
    except ValueError as error:
        raise EvaluationError(
            f"--held-out: expected a share (0.2, 20 %) or a date (2014-11-01), found {text[:60]!r}: {error}"
        ) from None


def _recording(request: EvaluationRequest) -> Recording:
    if not request.history.startswith(("http://", "https://")):
        return read_recording(Path(request.history), tags=request.tags, timezone=request.timezone)
    from stream.sources.query import query_influxdb

    if not request.query:
        raise EvaluationError("--query: expected Flux or InfluxQL that selects values over time, found none")
    recording = record(
        lambda reject: query_influxdb(
            request.history,
            request.query,
            database=request.database,
            org=request.org,
            token=os.environ.get("INFLUX_TOKEN"),
            username=os.environ.get("INFLUX_USERNAME"),
            password=os.environ.get("INFLUX_PASSWORD"),
            reject=reject,
        )
    )
    missing = [tag for tag in request.tags if tag not in recording.reports]
    if missing:
        known = ", ".join(sorted(recording.reports)[:20])
        raise EvaluationError(f"--tag: expected one of {known}, found {', '.join(map(repr, missing))}")
    for tag in set(recording.reports) - set(request.tags or recording.reports):
        del recording.reports[tag]
    return recording


def _title(request: EvaluationRequest) -> str:
    """The file's name, or the host: a URL may hold a login."""
    if request.history.startswith(("http://", "https://")):
        return urlsplit(request.history).hostname or "an InfluxDB"
    return Path(request.history).name

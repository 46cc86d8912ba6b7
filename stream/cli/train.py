"""What does `givre train` do? Reads the history, trains on it, lets what was trained compete, and promotes it only if it wins."""

from __future__ import annotations

import shutil
import time
import warnings
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from detectors.evaluation.grid import span_words
from detectors.training.dataset import DatasetError, Recipe, prepare
from detectors.training.promotion import judge
from stream.cli.print_training import duration_in_words, print_account, print_trial, steps_in_words
from stream.cli.training_texts import STYLES, write_texts
from stream.model.shelf import KINDS, LANGUAGE, Shelf, ShelfError
from stream.recording import history_name, read_recording
from stream.sources.history import HistoryError, read_span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from detectors.evaluation.backtest import Series
    from detectors.forecasters.trained import Kind
    from detectors.records import Alert
    from detectors.training.apprentice import Apprentice, Lesson
    from detectors.training.dataset import Dataset
    from detectors.training.progress import Progress as Steps
    from detectors.training.promotion import Trial
    from stream.cli.training_request import TrainingRequest

__all__ = ["spans_in_alarm", "train"]

Span = tuple[datetime, datetime]


def train(
    request: TrainingRequest, *, console: Console, complaints: Console, stop: Callable[[], bool], now: datetime
) -> str | None:
    """Prints all that comes of it; returns what is wrong with the input, in one sentence, or None."""
    needed = () if request.texts else ("torch", "peft") if request.kind == LANGUAGE else ("torch", "safetensors")
    if missing := [name for name in needed if find_spec(name) is None]:
        return f"training: expected the package {missing[0]}, found none. Install it: pip install 'givre[model]'"
    from detectors.language.error import ModelError
    from detectors.training.checkpoint import CheckpointError

    try:
        _train(request, console=console, complaints=complaints, stop=stop, now=now)
    except (DatasetError, HistoryError, ShelfError, ModelError, CheckpointError) as error:
        return str(error)
    except ValueError as error:
        # Settings that make no sense, or a checkpoint of others.
        return f"{error}. Remove {Shelf(request.shelf, request.kind).unfinished} to begin anew"
    except OSError as error:
        return f"training: {error}"
    return None


def _train(
    request: TrainingRequest, *, console: Console, complaints: Console, stop: Callable[[], bool], now: datetime
) -> None:
    if request.kind not in KINDS:
        raise DatasetError(f"--kind: expected one of {', '.join(KINDS)}, found {request.kind[:40]!r}")
    if request.style not in STYLES or (request.style != "digits" and request.texts is None):
        expected = "digits" if request.texts is None else f"one of {', '.join(STYLES)}"
        raise DatasetError(
            f"--style: expected {expected}, found {request.style[:40]!r}. Givre reads digits in service and so learns them; with "
            "`--texts FILE` the styles json and role are written for other tools"
        )
    shelf = Shelf(request.shelf, request.kind)
    name = request.name or f"{now:%Y-%m-%d-%H%M}"
    place = shelf.path(name)
    groups = _groups(request, console)
    dataset = prepare(groups, _recipe(request, now))
    print_account(dataset, console)
    if request.texts is not None:
        count = write_texts(dataset, groups, request.texts, style=request.style, horizon=request.horizon)
        console.print(f"{count:,} texts in {request.texts}; nothing was trained", highlight=False, markup=False)
        return
    told = {"trained_at": now.isoformat(), "history": history_name(request.history)}
    if request.kind != LANGUAGE:
        from stream.cli.train_network import train_network

        kind: Kind = "graph" if request.kind == "graph" else "recurrent"
        found = train_network(request, kind, groups, dataset, shelf, console, complaints, stop, told)
    else:
        found = _train_adapter(request, groups, dataset, shelf, console, complaints, stop, told)
    if found is None:
        console.print("stopped, and saved: the same command goes on from here", highlight=False)
        return
    trial, cost = found
    for leftover in ("checkpoint", "checkpoint.old"):
        shutil.rmtree(shelf.unfinished / leftover, ignore_errors=True)
    shelf.unfinished.rename(place)
    print_trial(trial, cost, console)
    if not trial.promoted:
        why = "; ".join(trial.objections)
        console.print(f"refused: {name} stays on the shelf: {why}", style="yellow", highlight=False, markup=False)
    elif request.promote:
        shelf.promote(name)
        of_kind = "" if request.kind == LANGUAGE else f" --kind {request.kind}"
        console.print(
            f"promoted: {name} is used from now on; `givre adapter roll-back{of_kind}` takes it back",
            style="green",
            highlight=False,
        )
    else:
        console.print(f"on the shelf: {name} is better; `givre adapter promote` puts it to use", highlight=False)


def _groups(request: TrainingRequest, console: Console) -> list[list[Series]]:
    """The history of the tags, as the service would see it in its windows."""
    recording = read_recording(request.history, timezone=request.timezone)
    left_out = recording.renamed(request.paces) if request.paces else []
    missing = [tag for tag in request.tags if tag not in recording.reports]
    if missing or not recording.reports:
        known = ", ".join(sorted(recording.reports)[:8]) or "none of the configuration"
        wanted = ", ".join(missing) or "at least one tag of the configuration"
        raise HistoryError(f"{history_name(request.history)}: expected values of {wanted}, found {known}")
    if request.tags:
        recording.reports = {tag: recording.reports[tag] for tag in request.tags}
        left_out = []
    groups, unlaid = recording.lay(period_s=request.period_s, paces=request.paces)
    for line in (*left_out, *unlaid):
        console.print(f"left out: {line}", style="yellow", highlight=False, markup=False)
    for series in (series for group in groups for series in group):
        pace = request.paces.get(series.tag)
        if pace is not None and pace.period_s != series.period_s:
            console.print(
                f"{series.tag}: a value every {span_words(series.period_s)} is learnt, while the service reads one every "
                f"{span_words(pace.period_s)}"
                + (": a network will say nothing of it" if request.kind != LANGUAGE else ""),
                style="yellow",
                highlight=False,
                markup=False,
            )
    return groups


def _train_adapter(  # noqa: PLR0917 - what the command has at hand
    request: TrainingRequest,
    groups: Sequence[Sequence[Series]],
    dataset: Dataset,
    shelf: Shelf,
    console: Console,
    complaints: Console,
    stop: Callable[[], bool],
    told: dict[str, str],
) -> tuple[Trial, str] | None:
    """Leaves an adapter of the language model in the unfinished folder, with its card; None where it was stopped."""
    from detectors.language.model import spare_cores
    from detectors.training.apprentice import Apprentice
    from detectors.training.lora import PRESETS

    if request.preset not in PRESETS:
        raise DatasetError(f"--preset: expected one of {', '.join(PRESETS)}, found {request.preset!r}")
    if request.model is None:
        raise DatasetError(
            "training: expected a section `model` in the configuration, found none: there is no language model to train. "
            "`--kind recurrent` and `--kind graph` need none"
        )
    changes = {key: value for key in ("rank", "epochs") if (value := getattr(request, key)) is not None}
    apprentice = Apprentice(
        request.model(),
        dataset,
        replace(PRESETS[request.preset], **changes),
        champion=shelf.current,
        clock=time.monotonic,
        device=request.device,
        budget_s=request.budget_s,
        threads=spare_cores(),
    )
    console.print(f"memory: {apprentice.plan}", highlight=False)
    if find_spec("pyarrow") is not None:
        # Nothing of the training needs them.
        write_texts(dataset, groups, shelf.unfinished / "texts.parquet")
    # The libraries warn of what will be in their next versions.
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        found = _work(apprentice, _asked(groups, dataset), shelf.unfinished, complaints, stop)
    if found is None:
        return None
    lesson, trial = found
    apprentice.write_card(shelf.unfinished, lesson, trial, told=told)
    return trial, f"{lesson.steps} steps in {duration_in_words(lesson.seconds)}, {lesson.tokens_per_s:.0f} tokens/s"


def spans_in_alarm(alerts: Sequence[Alert], *, now: datetime) -> dict[str, list[Span]]:
    """From when to when alarms stood, by tag; an alarm that has not ended stands until now."""
    standing: dict[str, tuple[str, datetime]] = {}
    found: dict[str, list[Span]] = {}
    for alert in alerts:
        if alert.state.active:
            standing.setdefault(alert.alarm, (alert.tag, alert.since))
        elif alert.alarm in standing:
            tag, since = standing.pop(alert.alarm)
            found.setdefault(tag, []).append((since, alert.at))
    for tag, since in standing.values():
        found.setdefault(tag, []).append((since, now))
    return found


def _recipe(request: TrainingRequest, now: datetime) -> Recipe:
    excluded = [read_span(text, request.timezone, subject="--exclude") for text in request.excluded]
    return Recipe(
        context=request.context,
        min_context=request.min_context,
        excluded=tuple(excluded),
        alarms=spans_in_alarm(request.alerts, now=now),
    )


def _asked(groups: Sequence[Sequence[Series]], dataset: Dataset) -> list[tuple[Series, int, int]]:
    """Each tag that was learnt with the first and the last step of the part that judges."""
    spans = {share.tag: share.spans["judge"] for share in dataset.shares}
    found = []
    for series in (series for group in groups for series in group):
        if series.tag in spans:
            first, last = (round((at - series.start_at).total_seconds() / series.period_s) for at in spans[series.tag])
            found.append((series, first, last + 1))
    return found


def _work(
    apprentice: Apprentice,
    asked: Sequence[tuple[Series, int, int]],
    folder: Path,
    complaints: Console,
    stop: Callable[[], bool],
) -> tuple[Lesson, Trial] | None:
    """Trains and holds the trial; None where it was stopped."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=complaints) as progress:
        task = progress.add_task("looking for room", total=None, detail="")

        def phase(words: str) -> None:
            progress.update(task, description=words, total=None, detail="")

        def show(steps: Steps) -> None:
            progress.update(task, completed=steps.step, total=steps.steps, detail=steps_in_words(steps, "nats"))

        lesson = apprentice.work(folder, show=show, stop=stop, phase=phase)
        if not lesson.finished:
            return None
        phase("forecasting what judges, before and after")
        return lesson, judge(lesson.blocks, apprentice.contest(folder, asked))

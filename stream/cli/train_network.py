"""What does `givre train --kind` do with a history? Networks learn it; the panel says whether it foretells better with them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from detectors.training.promotion import judge
from stream.cli.print_training import duration_in_words, steps_in_words
from stream.model.networks import Networks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from detectors.evaluation.backtest import Series
    from detectors.forecasters.forecaster import Forecaster
    from detectors.forecasters.trained import Kind
    from detectors.training.dataset import Dataset
    from detectors.training.progress import Progress as Steps
    from detectors.training.promotion import Trial
    from stream.cli.training_request import TrainingRequest
    from stream.model.shelf import Shelf

__all__ = ["train_network"]

MOST_LEADS = 48


def train_network(  # noqa: PLR0917 - what the command has at hand
    request: TrainingRequest,
    kind: Kind,
    groups: Sequence[Sequence[Series]],
    dataset: Dataset,
    shelf: Shelf,
    console: Console,
    complaints: Console,
    stop: Callable[[], bool],
    told: dict[str, str],
) -> tuple[Trial, str] | None:
    """Leaves what was trained in the unfinished folder, with its card; None where it was stopped. Errors as `train` has them."""
    from detectors.training.course import courses
    from detectors.training.network import NetworkSettings
    from detectors.training.pupil import Pupil
    from detectors.training.rivalry import contend

    changes = {} if request.epochs is None else {"epochs": request.epochs}
    settings = NetworkSettings(**changes)
    leads = min(max(request.horizon, 12), MOST_LEADS)
    lessons = courses(kind, groups, dataset, context=request.context, leads=leads)
    pupil = Pupil(kind, lessons, dataset, settings, clock=time.monotonic, budget_s=request.budget_s)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=complaints) as progress:
        task = progress.add_task("training", total=1, detail="")

        def show(steps: Steps) -> None:
            progress.update(task, completed=steps.step, total=steps.steps, detail=steps_in_words(steps, "loss"))

        lesson = pupil.work(shelf.unfinished, show=show, stop=stop)
        if not lesson.finished:
            return None
        progress.update(task, description="judging the panel, without it and with it", completed=0, total=1, detail="")
        networks = Networks(shelf.folder)

        def without() -> Sequence[Forecaster]:
            return [*request.members(), *networks.members()[0]]

        def challenger() -> Sequence[Forecaster]:
            return [*request.members(), *networks.members(leave_out=kind)[0], lesson.trained]

        rivalry = contend(
            groups,
            dataset,
            without=without,
            challenger=challenger,
            context=request.context,
            show=lambda share: progress.update(task, completed=share),
        )
    trial = judge(rivalry.blocks, rivalry.pinball)
    pupil.write_card(shelf.unfinished, lesson, trial, told=told)
    console.print("before: the panel without it; after: the panel with it", style="dim", highlight=False)
    first, best = lesson.looks[0][1], min(loss for _, loss in lesson.looks)
    return trial, (
        f"{lesson.steps} steps in {duration_in_words(lesson.seconds)}, "
        f"loss of what tunes {first:.4f} at first, {best:.4f} at best"
    )

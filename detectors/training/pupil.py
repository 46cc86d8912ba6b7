"""From a history to trained networks with their trial: who saves on the way, and what stands on their card?"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from detectors.forecasters.trained import WEIGHTS
from detectors.language.adapter import CARD
from detectors.language.error import ModelError
from detectors.training.checkpoint import read_checkpoint, write_checkpoint
from detectors.training.network import NetworkTraining

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from detectors.forecasters.trained import Kind, Trained
    from detectors.training.course import Course
    from detectors.training.dataset import Dataset
    from detectors.training.network import NetworkSettings
    from detectors.training.progress import Progress
    from detectors.training.promotion import Trial

__all__ = ["NetworkLesson", "Pupil"]

SAVED_EVERY_S = 30.0
NEEDED_BYTES = 64 * 2**20
"""Room on disk for checkpoints: networks are small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLesson:
    """What came of a training: `looks` are steps and losses of the part that tunes, `trained` foretells with the best of them."""

    steps: int
    seconds: float
    looks: tuple[tuple[int, float], ...]
    finished: bool
    trained: Trained


class Pupil:
    """Trains the networks of one kind."""

    def __init__(
        self,
        kind: Kind,
        courses: Sequence[Course],
        dataset: Dataset,
        settings: NetworkSettings,
        *,
        clock: Callable[[], float],
        budget_s: float = float("inf"),
    ) -> None:
        self._kind, self._courses, self._dataset, self._settings = kind, courses, dataset, settings
        self._clock, self._budget_s = clock, budget_s

    def work(
        self, folder: Path, *, show: Callable[[Progress], None], stop: Callable[[], bool] = lambda: False
    ) -> NetworkLesson:
        """Trains, going on from what is in `folder`, and leaves the weights there.

        Where `stop` says so, it saves and returns what there is, not `finished`. Raises ModelError where there is too little
        room on disk, ValueError for a checkpoint of another training, and OSError where the disk fails.
        """
        _look_for_room(folder)
        training = NetworkTraining(
            self._kind, self._courses, self._settings, clock=self._clock, budget_s=self._budget_s
        )
        found = read_checkpoint(folder)
        if found is not None:
            training.restore(*found)
        saved = self._clock()
        for _ in training.run(show=show, stop=stop):
            if self._clock() - saved > SAVED_EVERY_S:
                write_checkpoint(folder, *training.state())
                saved = self._clock()
        write_checkpoint(folder, *training.state())
        trained = training.take_best()
        with (folder / WEIGHTS).open("wb") as file:
            file.write(training.weights())
            file.flush()
            os.fsync(file.fileno())
        return NetworkLesson(
            steps=training.step,
            seconds=training.spent_s,
            looks=tuple(training.looks),
            finished=training.done,
            trained=trained,
        )

    def write_card(self, folder: Path, lesson: NetworkLesson, trial: Trial, *, told: dict[str, Any]) -> None:
        """What it was trained on, how, and how the trial went; without it there is nothing on the shelf."""
        card = {
            "kind": self._kind,
            "base": "none",
            "sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
            "network": lesson.trained.card(),
            "settings": asdict(self._settings),
            "tags": self._dataset.account(),
            "gain_nats": trial.gain,
            "chance": trial.chance,
            "pinball": trial.pinball,
            "scores": [{**asdict(tag), "gain": tag.gain} for tag in trial.tags],
            "promoted": trial.promoted,
            "objections": list(trial.objections),
            "steps": lesson.steps,
            "trained_for": str(timedelta(seconds=round(lesson.seconds))),
            **told,
        }
        (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _look_for_room(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise ModelError(
            f"disk of {folder}",
            expected=f"at least {NEEDED_BYTES / 2**20:,.0f} MiB free for checkpoints",
            found=f"{free / 2**20:,.0f} MiB",
            advice="Make room, or choose another `state_folder`",
        )

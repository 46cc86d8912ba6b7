"""From texts to an adapter with its trial: who loads the model, saves on the way, and lets champion and challenger compete?"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from detectors.language.adapter import CARD, merge_adapter
from detectors.language.alphabet import choose_alphabet
from detectors.language.error import ModelError
from detectors.language.model import (
    DTYPES,
    free_memory,
    load_model,
    pick_device,
    pick_numbers,
    release,
    sha256_of,
    silence,
)
from detectors.language.plan import read_shape
from detectors.training.checkpoint import read_checkpoint, require_same, write_checkpoint
from detectors.training.contest import FEWEST, MOST, forecast_losses, origins
from detectors.training.lora import Training, block_losses, identity, trained_numbers
from detectors.training.plan import plan_training
from detectors.training.promotion import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from detectors.evaluation.backtest import Series
    from detectors.language.alphabet import Alphabet
    from detectors.training.dataset import Dataset
    from detectors.training.lora import Settings
    from detectors.training.plan import TrainingPlan
    from detectors.training.progress import Progress
    from detectors.training.promotion import Trial

__all__ = ["Apprentice", "Lesson"]

MOST_TUNING = 32
"""Texts that tune are thinned to so many: each look costs their time."""
MOST_JUDGING, FEWEST_JUDGING = 160, 8
"""Texts that judge, of all tags together, and of each tag."""
SAVED_EVERY_S = 120.0
DISK_TIMES = 5
"""Room on disk for so many times the optimiser's numbers: two checkpoints with the best weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What came of a training: how it went, what it cost, and what champion and challenger gave to the held-out values."""

    steps: int
    seconds: float
    tokens_per_s: float
    looks: tuple[tuple[int, float], ...]
    tuned: float
    planned_bytes: int
    peak_bytes: int
    blocks: tuple[Block, ...]
    finished: bool


class Apprentice:
    """Trains an adapter on the model in a folder; `champion` is the adapter in use, if there is one."""

    def __init__(
        self,
        model: Path,
        dataset: Dataset,
        settings: Settings,
        *,
        champion: Path | None = None,
        clock: Callable[[], float],
        device: str = "auto",
        budget_s: float = float("inf"),
        threads: int | None = None,
    ) -> None:
        """Raises ModelError for what is no model, or too large for the memory that is free."""
        self._folder, self._dataset, self._settings, self._champion = model, dataset, settings, champion
        self.device = pick_device(device)
        numbers = pick_numbers(self.device)
        self._numbers = DTYPES[numbers]
        # On a processor products are computed in fewer digits from weights in float32: quicker than weights in fewer digits.
        self._weights = torch.float32 if self.device.type == "cpu" else self._numbers
        if self.device.type == "cpu" and threads:
            torch.set_num_threads(threads)
        self._budget_s = budget_s
        self._clock = clock
        shape = read_shape(model)
        longest = max(len(text.cells) for part in dataset.parts.values() for text in part)
        self.plan: TrainingPlan = plan_training(
            shape,
            trained=trained_numbers(shape, settings),
            tokens=1 + longest * 4,
            batch=settings.batch,
            available=free_memory(self.device),
            where=str(self.device),
            number_bytes=self._numbers.itemsize,
            weight_bytes=self._weights.itemsize,
        )
        silence()

    def work(
        self,
        folder: Path,
        *,
        show: Callable[[Progress], None],
        stop: Callable[[], bool] = lambda: False,
        phase: Callable[[str], None] = lambda _words: None,
    ) -> Lesson:
        """Trains, going on from what is in `folder`, and leaves an adapter there; `phase` is told what it does now.

        Where `stop` says so, it saves and returns what there is, not `finished` and without blocks. Raises ModelError where
        there is too little room on disk, and OSError where the disk fails.
        """
        self._look_for_room(folder)
        parts = self._dataset.parts
        tune = _thinned(parts["tune"], MOST_TUNING)
        found = read_checkpoint(folder)
        if found is not None:
            require_same(found[0], identity(self._settings, parts["learn"], tune))
        before = _resident()
        phase("reading what judges, before")
        whole, alphabet = self._load()
        champion = self._judged_by_champion(alphabet)
        training = Training(
            whole,
            alphabet,
            learn=parts["learn"],
            tune=tune,
            settings=self._settings,
            plan=self.plan,
            device=self.device,
            numbers=self._numbers,
            clock=self._clock,
            budget_s=self._budget_s,
        )
        if found is not None:
            training.restore(*found)
        saved = self._clock()
        phase("training")
        for _ in training.run(show=show, stop=stop):
            if self._clock() - saved > SAVED_EVERY_S:
                write_checkpoint(folder, *training.state())
                saved = self._clock()
        peak = _peak(self.device) - (0 if self.device.type == "cuda" else before)
        write_checkpoint(folder, *training.state())
        tuned = training.take_best()
        texts = self._judging() if training.done else []
        if texts:
            phase("reading what judges, after")
        losses = block_losses(training.model.base_model.model, training.head, alphabet, texts, numbers=self._numbers)
        blocks = [
            Block(tag=text.tag, values=text.learnt, champion=old, challenger=new)
            for text, old, new in zip(texts, champion if texts else [], losses, strict=True)
        ]
        training.model.save_pretrained(folder, safe_serialization=True)
        return Lesson(
            steps=training.step,
            seconds=training.spent_s,
            tokens_per_s=training.tokens / max(training.spent_s, 1e-9),
            looks=tuple(training.looks),
            tuned=tuned,
            planned_bytes=self.plan.total,
            peak_bytes=peak,
            blocks=tuple(blocks),
            finished=training.done,
        )

    def contest(self, folder: Path, asked: Sequence[tuple[Series, int, int]]) -> dict[str, tuple[float, float]]:
        """Mean pinball losses of champion and challenger by tag, over forecasts within two steps of each series."""
        context = self._dataset.recipe.context
        count = max(MOST // max(len(asked), 1), FEWEST)
        places = [(series, origins(series, first, end, context=context, count=count)) for series, first, end in asked]
        losses = []
        for adapter in (self._champion, folder):
            model = load_model(self._folder, device=self.device.type, adapter=adapter)
            losses.append(forecast_losses(model, places, context=context))
            del model
            release(self.device)
        before, after = losses
        return {tag: (before[tag], after[tag]) for tag in before if tag in after}

    def write_card(self, folder: Path, lesson: Lesson, trial: Trial, *, told: dict[str, Any]) -> None:
        """What it was trained on, how, and how the trial went; from then on it is an adapter of this base model alone."""
        card = {
            "base": self._folder.name,
            "base_sha256": sha256_of(self._folder / "model.safetensors"),
            "settings": asdict(self._settings),
            "context": self._dataset.recipe.context,
            "tags": self._dataset.account(),
            "champion": None if self._champion is None else self._champion.name,
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

    def _load(self) -> tuple[Any, Alphabet]:
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._folder, **local)
            whole: Any = AutoModelForCausalLM.from_pretrained(
                self._folder, dtype=self._weights, use_safetensors=True, **local
            )
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ModelError(f"model {self._folder}", expected="a causal language model", found=first) from error
        return whole.to(self.device), choose_alphabet(tokenizer)

    def _judged_by_champion(self, alphabet: Alphabet) -> list[float]:
        """What is in use now, on the texts that judge."""
        whole, _ = self._load()
        if self._champion is not None:
            weights = self._folder / "model.safetensors"
            whole = merge_adapter(
                whole.float(), self._champion, base=self._folder.name, sha256=lambda: sha256_of(weights)
            ).to(self._weights)
        head = whole.get_output_embeddings().weight[list(alphabet.symbols)].detach()
        return block_losses(whole, head, alphabet, self._judging(), numbers=self._numbers)

    def _judging(self) -> list[Any]:
        texts = self._dataset.parts["judge"]
        most = max(MOST_JUDGING // len(self._dataset.tags), FEWEST_JUDGING)
        return [text for tag in self._dataset.tags for text in _thinned([one for one in texts if one.tag == tag], most)]

    def _look_for_room(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        needed, free = DISK_TIMES * self.plan.trained, shutil.disk_usage(folder).free
        if free < needed:
            raise ModelError(
                f"disk of {folder}",
                expected=f"at least {needed / 2**20:,.0f} MiB free for checkpoints",
                found=f"{free / 2**20:,.0f} MiB",
                advice="Make room, or choose another `state_folder`",
            )


def _thinned(texts: Any, most: int) -> list[Any]:
    if len(texts) <= most:
        return list(texts)
    return [texts[i] for i in np.linspace(0, len(texts) - 1, most).round().astype(int)]


def _resident() -> int:
    """Bytes of this process in memory now."""
    from pathlib import Path  # noqa: PLC0415 - read from the kernel, no file of ours

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def _peak(device: torch.device) -> int:
    """The most bytes that were taken so far."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource  # noqa: PLC0415 - of Unix alone

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

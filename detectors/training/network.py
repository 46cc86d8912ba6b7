"""How does a network learn a plant's own history, and when is it enough? By pinball loss at all levels and leads.

The examples of each step follow from the seed and the step, so that a training that was killed goes on from its last checkpoint
as if nothing had happened. After every so many steps the part that tunes is looked at; the best weights so far are kept, and
where `patience` looks brought nothing more, it ends.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detectors.forecasters.network import one_thread, pinball
from detectors.forecasters.trained import FAR, Trained, made_network, weights_of
from detectors.training.checkpoint import require_same
from detectors.training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from detectors.forecasters.trained import Kind
    from detectors.training.course import Course, Rows

__all__ = ["NetworkSettings", "NetworkTraining"]

WARM_UP = 0.05
LEAST_RATE = 0.05
"""Shares of the steps in which the rate rises, and of the rate that is left at the end."""
MOST_TUNING = 1024
"""Examples of the part that tunes that are looked at, times tags."""
TOGETHER = 256
"""Examples read at a time, times tags, where nothing is learnt."""
ABSENT = 0.05
"""How often a tag of a graph is seen as if it were not there: now and then one is late."""
NOTICEABLE = 1e-3
"""A smaller gain, as a share of the loss, does not count as one."""
MEASURED = 10
CLIP = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """`batch` is examples times tags of a step, `most` the steps at most, whatever the passes (`epochs`) over the history."""

    rate: float = 3e-3
    batch: int = 256
    epochs: int = 30
    most: int = 6000
    look_every: int = 50
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.batch, self.epochs, self.most, self.look_every, self.patience) < 1 or not 0 < self.rate < 1:
            raise ValueError(f"training: expected counts from 1 and a rate within 0..1, found {self}")


class NetworkTraining:
    """Networks of one kind in the making, one for each course; `clock` gives seconds that only grow."""

    def __init__(
        self,
        kind: Kind,
        courses: Sequence[Course],
        settings: NetworkSettings,
        *,
        clock: Callable[[], float],
        budget_s: float = math.inf,
    ) -> None:
        self._kind, self._courses, self._settings = kind, list(courses), settings
        self._clock, self._budget_s = clock, budget_s
        generator = torch.Generator().manual_seed(settings.seed)
        self._networks = []
        for course in courses:
            network = made_network(kind, len(course.circle.tags), course.context, course.leads, generator=generator)
            if course.graph is not None:
                network.get_buffer("graph").copy_(torch.from_numpy(course.graph))
            self._networks.append(network)
        self._parameters = {
            f"{number} {name}": parameter
            for number, network in enumerate(self._networks)
            for name, parameter in network.named_parameters()
        }
        self._optimiser = torch.optim.AdamW(self._parameters.values(), lr=settings.rate, weight_decay=1e-3)
        self._levelled = [_levelled(course) for course in courses]
        self.step = 0
        self.steps = 0
        self.spent_s = 0.0
        self.looks: list[tuple[int, float]] = []
        self._best: tuple[float, dict[str, Tensor]] | None = None
        self._lately = math.nan

    @property
    def done(self) -> bool:
        """Whether all steps were made, or the last looks brought nothing more."""
        if self.steps and self.step >= self.steps:
            return True
        since = [loss for _, loss in self.looks[-self._settings.patience :]]
        earlier = [loss for _, loss in self.looks[: -self._settings.patience]]
        return bool(earlier) and min(since) > min(earlier) * (1 - NOTICEABLE)

    @property
    def progress(self) -> Progress:
        """How far it is."""
        steps = self.steps or self._wanted
        return Progress(
            step=self.step,
            steps=steps,
            learnt=self._lately,
            tuned=self.looks[-1][1] if self.looks else None,
            best=self._best[0] if self._best else None,
            left_s=min((steps - self.step) * self.spent_s / max(self.step, 1), max(self._budget_s - self.spent_s, 0.0)),
        )

    def run(self, *, show: Callable[[Progress], None], stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Makes one step after the other; a caller may save between them, and need not go on."""
        if not self.looks:
            self._look()
        while not self.done and not stop():
            begun = self._clock()
            with one_thread():
                self._advance()
            if self.step % self._settings.look_every == 0 or self.step == self.steps:
                self._look()
            self.spent_s += self._clock() - begun
            if not self.steps and self.step >= MEASURED:
                self.steps = self._reckon()
            show(self.progress)
            yield

    def take_best(self) -> Trained:
        """What the best weights so far foretell with."""
        if self._best is None:
            raise ValueError("training: expected at least one look at what tunes, found none")
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._best[1][name])
        first = self._courses[0]
        circles = [course.circle for course in self._courses]
        return Trained(self._kind, circles, self._networks, context=first.context, leads=first.leads)

    def weights(self) -> bytes:
        """The weights as they are, as a file."""
        return weights_of(self._networks)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `restore` needs to go on from here."""
        kept = self._optimiser.state_dict()["state"]
        numbers: dict[str, Tensor] = {}
        for i, (name, parameter) in enumerate(self._parameters.items()):
            numbers[f"now {name}"] = parameter
            if self._best is not None:
                numbers[f"best {name}"] = self._best[1][name]
            if i in kept:
                numbers[f"first {name}"], numbers[f"second {name}"] = kept[i]["exp_avg"], kept[i]["exp_avg_sq"]
        about = {
            **self._what,
            "step": self.step,
            "steps": self.steps,
            "spent_s": self.spent_s,
            "looks": self.looks,
            "best": None if self._best is None else self._best[0],
            "lately": self._lately,
        }
        return about, numbers

    def restore(self, about: dict[str, Any], numbers: dict[str, Tensor]) -> None:
        """Goes on from a `state`; raises ValueError for one of other settings or another history."""
        require_same(about, self._what)
        state: dict[int, dict[str, Any]] = {}
        with torch.no_grad():
            for i, (name, parameter) in enumerate(self._parameters.items()):
                parameter.copy_(numbers[f"now {name}"])
                if f"first {name}" in numbers:
                    state[i] = {
                        "step": torch.tensor(float(about["step"])),
                        "exp_avg": numbers[f"first {name}"],
                        "exp_avg_sq": numbers[f"second {name}"],
                    }
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.step, self.steps, self.spent_s = int(about["step"]), int(about["steps"]), float(about["spent_s"])
        self._lately = float(about["lately"])
        self.looks = [(int(step), float(loss)) for step, loss in about["looks"]]
        if about["best"] is not None:
            self._best = float(about["best"]), {name: numbers[f"best {name}"] for name in self._parameters}

    @property
    def _what(self) -> dict[str, Any]:
        """By what a checkpoint is known to be of this training."""
        return {
            "kind": self._kind,
            "settings": asdict(self._settings),
            "tags": [list(course.circle.tags) for course in self._courses],
            "origins": [[len(course.origins[part]) for part in ("learn", "tune")] for course in self._courses],
            "context": self._courses[0].context,
            "history": [zlib.crc32(course.values.tobytes()) for course in self._courses],
        }

    @property
    def _wanted(self) -> int:
        examples = max(len(course.origins["learn"]) / self._size(course) for course in self._courses)
        return max(min(math.ceil(self._settings.epochs * examples), self._settings.most), MEASURED + 1)

    def _reckon(self) -> int:
        """Steps in all: every pass, or as many as the time allows at the speed so far, looks included."""
        if math.isinf(self._budget_s):
            return self._wanted
        begun = self._clock()
        self._look()
        look_s = self._clock() - begun
        each = self.spent_s / self.step + look_s / self._settings.look_every
        return max(min(self._wanted, self.step + int((self._budget_s - self.spent_s - look_s) / each)), self.step)

    def _size(self, course: Course) -> int:
        nodes = len(course.circle.tags) if course.graph is not None else 1
        return max(self._settings.batch // nodes, 16)

    def _advance(self) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.rate * self._share()
        self._optimiser.zero_grad(set_to_none=True)
        losses = []
        for number, course in enumerate(self._courses):
            random = np.random.default_rng([self._settings.seed, number, self.step])
            rows = course.rows("learn", random.integers(len(course.origins["learn"]), size=self._size(course)))
            if course.graph is not None:
                rows.inputs[random.random(rows.inputs.shape[:2]) < ABSENT] = 0.0
            losses.append(self._loss(number, rows))
        total = torch.stack(losses).mean()
        total.backward()  # type: ignore[no-untyped-call] # torch has no hint for it
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), CLIP)
        self._optimiser.step()
        self.step += 1
        learnt = float(total.detach())
        self._lately = learnt if math.isnan(self._lately) else 0.95 * self._lately + 0.05 * learnt

    def _loss(self, number: int, rows: Rows) -> Tensor:
        """Mean over tags and leads: each tag counts the same whatever it moves by, each lead as a random walk would make it."""
        alone = self._courses[number].graph is None
        inputs = torch.from_numpy(rows.inputs[:, 0] if alone else rows.inputs)
        said = self._networks[number](inputs, torch.from_numpy(rows.times))
        targets = torch.from_numpy(rows.targets[:, 0] if alone else rows.targets)
        scale = self._levelled[number]
        weights = 1.0 / torch.arange(1, targets.shape[-1] + 1, dtype=torch.float32).sqrt()
        return pinball(said * scale[..., None], targets.clamp(-FAR, FAR) * scale, weights)

    def _share(self) -> float:
        """Of the rate, at this step."""
        steps = self.steps or self._wanted
        warm = max(round(WARM_UP * steps), 1)
        if self.step < warm:
            return (self.step + 1) / warm
        along = min((self.step - warm) / max(steps - warm, 1), 1.0)
        return LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * along)) / 2

    def _look(self) -> None:
        each = []
        with torch.no_grad(), one_thread():
            for number, course in enumerate(self._courses):
                nodes = len(course.circle.tags) if course.graph is not None else 1
                count = min(len(course.origins["tune"]), max(MOST_TUNING // nodes, 16))
                places = np.unique(np.linspace(0, len(course.origins["tune"]) - 1, count).round().astype(np.int64))
                parts = np.array_split(places, math.ceil(len(places) * nodes / TOGETHER))
                losses = [float(self._loss(number, course.rows("tune", part))) for part in parts if len(part)]
                each.append(float(np.average(losses, weights=[len(part) for part in parts if len(part)])))
        loss = float(np.mean(each))
        self.looks.append((self.step, loss))
        if self._best is None or loss < self._best[0]:
            self._best = loss, {name: parameter.detach().clone() for name, parameter in self._parameters.items()}


def _levelled(course: Course) -> Tensor:
    """By what the loss of each tag is multiplied, (nodes, 1): a graph's units say nothing of how much a tag moves in a step."""
    if course.graph is None:
        return torch.ones(1)
    changes = np.abs(np.diff(course.targets["learn"] / course.usual, axis=1))
    known = np.isfinite(changes)
    means = np.where(known, changes, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return torch.from_numpy((1.0 / np.maximum(means, 1e-3)).astype(np.float32))[:, None]

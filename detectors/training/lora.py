"""How does a model learn a plant's own history, and when is it enough?

By a small difference to its weights (LoRA, Hu et al. 2021), trained in steps of one batch of texts each. Their order follows
from the seed, so that a training that was killed goes on from its last checkpoint as if nothing had happened. After every so
many steps the texts that tune are read: the best weights so far are kept, and where `patience` such looks brought nothing
more, it ends.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from detectors.training.checkpoint import require_same
from detectors.training.progress import Progress
from detectors.training.text import batch_of, losses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from detectors.language.alphabet import Alphabet
    from detectors.language.plan import Shape
    from detectors.training.dataset import Example
    from detectors.training.plan import TrainingPlan

__all__ = ["PRESETS", "Settings", "Training", "block_losses", "identity", "trained_numbers"]

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WARM_UP = 0.05
"""Share of the steps in which the rate rises."""
LEAST_RATE = 0.1
"""Share of the rate that is left at the end (cosine in between, Loshchilov and Hutter 2017)."""
NOTICEABLE = 1e-3
"""A smaller gain, in nats per value, does not count as one."""
CLIP = 1.0
MEASURED = 3
"""Steps after which the speed is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`alpha` over `rank` scales the difference, `targets` are the layers that get one, `batch` counts texts."""

    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ALL
    rate: float = 5e-4
    batch: int = 8
    epochs: int = 3
    look_every: int = 20
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.rank, self.alpha, self.batch, self.epochs, self.look_every, self.patience)
        if min(counts) < 1 or not 0 < self.rate < 1 or not self.targets:
            raise ValueError(f"training: expected counts from 1, a rate within 0..1 and layers, found {self}")


PRESETS = {
    "ours": Settings(),
    # What the field study recommends.
    "study": Settings(rank=32, alpha=64, targets=("q_proj", "v_proj"), rate=2e-4, epochs=4),
}


class Training:
    """One adapter in the making, on a causal model of transformers; products of matrices are computed in `numbers`.

    `clock` gives seconds that only grow: how long steps take decides how many there are time for.
    """

    def __init__(
        self,
        whole: Any,
        alphabet: Alphabet,
        *,
        learn: Sequence[Example],
        tune: Sequence[Example],
        settings: Settings,
        plan: TrainingPlan,
        device: torch.device,
        numbers: torch.dtype,
        clock: Callable[[], float],
        budget_s: float = math.inf,
    ) -> None:
        torch.manual_seed(settings.seed)
        whole.requires_grad_(requires_grad=False)
        self.head = whole.get_output_embeddings().weight[list(alphabet.symbols)].detach().clone().to(device)
        config = LoraConfig(
            r=settings.rank, lora_alpha=settings.alpha, target_modules=list(settings.targets), task_type="CAUSAL_LM"
        )
        self.model: Any = get_peft_model(whole, config).to(device)
        if plan.checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            self.model.enable_input_require_grads()
        self._dtype = numbers
        # The library would copy every input of a trained layer in float32, and keep the copies for the way back.
        for layer in self.model.modules():
            if isinstance(layer, BaseTunerLayer):
                layer.cast_input_dtype_enabled = False  # type: ignore[assignment] # a flag, whatever the hint says
        self._alphabet, self._settings, self._plan, self._device = alphabet, settings, plan, device
        self._learn, self._tune = list(learn), list(tune)
        self._what = identity(settings, learn, tune)
        self._budget_s = budget_s
        self._clock = clock
        # What is trained is float32 whatever the model computes in: small steps would be lost in fewer digits.
        self._trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        for parameter in self._trained.values():
            parameter.data = parameter.data.float()
        self._optimiser = torch.optim.AdamW(self._trained.values(), lr=settings.rate, weight_decay=0.0)
        self.step = 0
        self.steps = 0
        self.spent_s = 0.0
        self.tokens = 0
        self.looks: list[tuple[int, float]] = []
        self._best: tuple[float, dict[str, Tensor]] | None = None
        self._lately = math.nan

    @property
    def done(self) -> bool:
        """Whether all steps were made, or the last looks brought nothing more."""
        if self.steps and self.step >= self.steps:
            return True
        since = [nats for _, nats in self.looks[-self._settings.patience :]]
        earlier = [nats for _, nats in self.looks[: -self._settings.patience]]
        return bool(earlier) and min(since) > min(earlier) - NOTICEABLE

    def run(self, *, show: Callable[[Progress], None], stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Makes one step of the optimiser after the other; a caller may save between them, and need not go on."""
        if not self.looks:
            self._look()
        while not self.done and not stop():
            begun = self._clock()
            self._advance()
            self.spent_s += self._clock() - begun
            if not self.steps and self.step >= MEASURED:
                self.steps = self._reckon()
            if self.step % self._settings.look_every == 0 or self.step == self.steps:
                begun = self._clock()
                self._look()
                self.spent_s += self._clock() - begun
            show(self.progress)
            yield

    @property
    def progress(self) -> Progress:
        """How far it is."""
        steps = self.steps or self._settings.epochs * self._rounds
        left = min((steps - self.step) * self.spent_s / max(self.step, 1), max(self._budget_s - self.spent_s, 0.0))
        return Progress(
            step=self.step,
            steps=steps,
            learnt=self._lately,
            tuned=self.looks[-1][1] if self.looks else None,
            best=self._best[0] if self._best else None,
            left_s=left,
        )

    def take_best(self) -> float:
        """Puts the best weights so far in place; nats per value of the texts that tune with them."""
        if self._best is None:
            raise ValueError("training: expected at least one look at what tunes, found none")
        for name, parameter in self._trained.items():
            parameter.data.copy_(self._best[1][name])
        return self._best[0]

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `restore` needs to go on from here."""
        kept = self._optimiser.state_dict()["state"]
        numbers: dict[str, Tensor] = {}
        for i, (name, parameter) in enumerate(self._trained.items()):
            numbers[f"now {name}"] = parameter
            if self._best is not None:
                numbers[f"best {name}"] = self._best[1][name]
            if i in kept:
                numbers[f"first {name}"], numbers[f"second {name}"] = kept[i]["exp_avg"], kept[i]["exp_avg_sq"]
        about = {
            "step": self.step,
            "steps": self.steps,
            "spent_s": self.spent_s,
            "tokens": self.tokens,
            "looks": self.looks,
            "best": None if self._best is None else self._best[0],
            "lately": self._lately,
            **self._what,
        }
        return about, numbers

    def restore(self, about: dict[str, Any], numbers: dict[str, Tensor]) -> None:
        """Goes on from a `state`; raises ValueError for one of other settings or texts."""
        require_same(about, self._what)
        state: dict[int, dict[str, Any]] = {}
        for i, (name, parameter) in enumerate(self._trained.items()):
            parameter.data.copy_(numbers[f"now {name}"])
            if f"first {name}" in numbers:
                state[i] = {
                    "step": torch.tensor(float(about["step"])),
                    "exp_avg": numbers[f"first {name}"].to(self._device),
                    "exp_avg_sq": numbers[f"second {name}"].to(self._device),
                }
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.step, self.steps, self.spent_s = int(about["step"]), int(about["steps"]), float(about["spent_s"])
        self.tokens, self._lately = int(about["tokens"]), float(about["lately"])
        self.looks = [(int(step), float(nats)) for step, nats in about["looks"]]
        if about["best"] is not None:
            best = {name: numbers[f"best {name}"].to(self._device) for name in self._trained}
            self._best = float(about["best"]), best

    @property
    def _rounds(self) -> int:
        """Steps of the optimiser in which every text is read once."""
        return max(math.ceil(len(self._learn) / self._settings.batch), 1)

    def _reckon(self) -> int:
        """Steps in all: every epoch, or as many as the time allows at the speed so far, looks included."""
        wanted = self._settings.epochs * self._rounds
        if math.isinf(self._budget_s):
            return wanted
        look_s = self.spent_s / self.step * len(self._tune) / self._settings.batch / 3
        each = self.spent_s / self.step + look_s / self._settings.look_every
        return max(min(wanted, self.step + int((self._budget_s - self.spent_s) / each)), self.step)

    def _chosen(self, step: int) -> list[Example]:
        epoch, place = divmod(step, self._rounds)
        order = np.random.default_rng([self._settings.seed, epoch]).permutation(len(self._learn))
        size = self._settings.batch
        return [self._learn[i] for i in order[place * size : (place + 1) * size].tolist()]

    def _advance(self) -> None:
        self.model.train()
        texts = self._chosen(self.step)
        values = sum(text.learnt for text in texts)
        total = 0.0
        self._optimiser.zero_grad(set_to_none=True)
        for begin in range(0, len(texts), self._plan.together):
            batch = batch_of(texts[begin : begin + self._plan.together], self._alphabet)
            with computed_in(self._dtype, self._device):
                each = losses(self.model.base_model.model, self.head, batch)
            (each.sum() / values).backward()  # type: ignore[no-untyped-call] # torch has no hint for it
            total += float(each.detach().sum())
            self.tokens += int(batch.tokens.numel())
        nn.utils.clip_grad_norm_(self._trained.values(), CLIP)
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.rate * self._share(self.step)
        self._optimiser.step()
        self.step += 1
        learnt = total / values
        self._lately = learnt if math.isnan(self._lately) else 0.9 * self._lately + 0.1 * learnt

    def _share(self, step: int) -> float:
        """Of the rate, at a step."""
        steps = self.steps or self._settings.epochs * self._rounds
        warm = max(round(WARM_UP * steps), 1)
        if step < warm:
            return (step + 1) / warm
        along = min((step - warm) / max(steps - warm, 1), 1.0)
        return LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * along)) / 2

    def _look(self) -> None:
        found = block_losses(self.model.base_model.model, self.head, self._alphabet, self._tune, numbers=self._dtype)
        nats = float(np.average(found, weights=[text.learnt for text in self._tune]))
        self.looks.append((self.step, nats))
        if self._best is None or nats < self._best[0]:
            self._best = nats, {name: p.detach().clone() for name, p in self._trained.items()}


def identity(settings: Settings, learn: Sequence[Example], tune: Sequence[Example]) -> dict[str, Any]:
    """By what a checkpoint is known to be of a training: its settings and texts, as JSON has them."""
    texts = zlib.crc32(repr([(text.tag, text.at, text.known, text.cells) for text in (*learn, *tune)]).encode())
    return {
        "settings": {**asdict(settings), "targets": list(settings.targets)},
        "tags": list(dict.fromkeys(text.tag for text in learn)),
        "texts": [len(learn), len(tune), texts],
    }


def computed_in(numbers: torch.dtype, device: torch.device) -> torch.autocast:
    """Products of matrices in these numbers, sums in float32: on a processor weights in float32 are quicker."""
    return torch.autocast(device.type, dtype=numbers, enabled=numbers != torch.float32)


def block_losses(
    whole: Any, head: Tensor, alphabet: Alphabet, texts: Sequence[Example], *, numbers: torch.dtype, together: int = 4
) -> list[float]:
    """Mean nats per learnt value of each text, as the model is; without learning anything."""
    whole.eval()
    found = []
    with torch.inference_mode(), computed_in(numbers, head.device):
        for begin in range(0, len(texts), together):
            part = texts[begin : begin + together]
            each = losses(whole, head, batch_of(part, alphabet)).cpu()
            found += [float(one.mean()) for one in torch.split(each, [text.learnt for text in part])]
    return found


def trained_numbers(shape: Shape, settings: Settings) -> int:
    """How many numbers an adapter has on a model of this shape, its layers named as those of Llama are."""
    attention, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    sizes = {
        "q_proj": (shape.hidden, attention),
        "k_proj": (shape.hidden, keys),
        "v_proj": (shape.hidden, keys),
        "o_proj": (attention, shape.hidden),
        "gate_proj": (shape.hidden, shape.intermediate),
        "up_proj": (shape.hidden, shape.intermediate),
        "down_proj": (shape.intermediate, shape.hidden),
    }
    return shape.layers * settings.rank * sum(sum(sizes.get(name, (0, 0))) for name in settings.targets)

"""Does fine-tuning on a plant's own history help, at what cost, and is the plan of its memory right?

One adapter for each of three series (the oil temperature of a transformer, eight tags of a water loop, one substation of a
district heating network), each in its share of the time, in a process of its own, from the first two thirds of the history. The
gain is in nats per value on the last fifth, that nothing was chosen by, against the model as it came, with the exact
probabilities of the service; for each series the mean over its tags.

usage: python -m benchmarks.training --data FOLDER [--minutes 30] [--model FOLDER] [--preset ours] [--only NAME] ...
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.shared_series import read_group
from detectors.training.dataset import Recipe, prepare
from stream.model.weights import default_model

SERIES = {"ETTh1 OT": ("ETTh1", "/OT"), "SKAB": ("skab", ""), "xai4heat L4": ("xai4heat L4", "")}
"""Group of the shared data, and the end of the names of its tags that are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one series, by tag where it is a gain."""

    gains: dict[str, float]
    chance: float
    objections: tuple[str, ...]
    steps: int
    seconds: float
    tokens_per_s: float
    planned_bytes: int
    peak_bytes: int
    looks: tuple[tuple[int, float], ...]

    @property
    def gain(self) -> float:
        """Nats per value, the mean over the tags."""
        return sum(self.gains.values()) / len(self.gains)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="for all series together, loading and judging included"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--preset", default="ours")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=[*SERIES], action="append")
    options = parser.parse_args()
    names = options.only or [*SERIES]
    begun = time.perf_counter()
    console = Console(width=max(Console().width, 110))
    console.print(f"{machine()}\n")
    model = options.model or default_model()
    context = multiprocessing.get_context("spawn")
    found: dict[str, Outcome] = {}
    for i, name in enumerate(names):
        left_s = options.minutes * 60 - (time.perf_counter() - begun)
        with context.Pool(1) as pool:
            found[name] = pool.apply(
                train,
                (name, options.data, model, options.device, options.preset, options.threads, left_s / (len(names) - i)),
            )
        outcome = found[name]
        told = " ".join(f"{step}:{nats:.3f}" for step, nats in outcome.looks)
        console.print(f"{name}: {outcome.gain:+.3f} nats; tuned {told}", highlight=False)
    _print(found, console)
    result = {
        "gain_nats": {name: round(outcome.gain, 3) for name, outcome in found.items()},
        "mean_gain_nats": round(sum(outcome.gain for outcome in found.values()) / len(found), 3),
        "tokens_per_s": round(sum(outcome.tokens_per_s for outcome in found.values()) / len(found)),
        "memory_ratio": round(max(outcome.peak_bytes / outcome.planned_bytes for outcome in found.values()), 3),
        "memory_ratios": {n: round(o.peak_bytes / o.planned_bytes, 3) for n, o in found.items()},
        "worst_tag": {
            n: [t, round(g, 3)] for n, o in found.items() for t, g in [min(o.gains.items(), key=lambda x: x[1])]
        },
        "refused": {name: list(outcome.objections) for name, outcome in found.items() if outcome.objections},
        "preset": options.preset,
        "threads": options.threads,
        "model": model.name,
        "seconds": round(time.perf_counter() - begun),
        "machine": machine(),
    }
    print(json.dumps(result))


def train(  # noqa: PLR0917 - a pool hands them over in order
    name: str, data: Path, model: Path, device: str, preset: str, threads: int, budget_s: float
) -> Outcome:
    """One series; called in a process of its own, so that its memory can be told from that of the others."""
    from detectors.training.apprentice import Apprentice
    from detectors.training.lora import PRESETS
    from detectors.training.promotion import judge

    group, end = SERIES[name]
    series = [one for one in read_group(data, group) if one.tag.endswith(end)]
    dataset = prepare([series], Recipe())
    # The rest of the time is for loading, and for judging before and after.
    apprentice = Apprentice(
        model, dataset, PRESETS[preset], clock=time.monotonic, device=device, budget_s=0.65 * budget_s, threads=threads
    )
    # The libraries warn of what will be in their next versions.
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore", category=FutureWarning):
        lesson = apprentice.work(Path(folder), show=lambda _: None)
    trial = judge(lesson.blocks)
    return Outcome(
        gains={tag.tag: tag.gain for tag in trial.tags},
        chance=trial.chance,
        objections=trial.objections,
        steps=lesson.steps,
        seconds=lesson.seconds,
        tokens_per_s=lesson.tokens_per_s,
        planned_bytes=lesson.planned_bytes,
        peak_bytes=lesson.peak_bytes,
        looks=lesson.looks,
    )


def _print(found: dict[str, Outcome], console: Console) -> None:
    table = Table(title="held-out gain of an adapter over the model as it came", title_justify="left")
    for head in ("series", "gain, nats", "chance", "worst tag", "steps", "s", "tokens/s", "memory, MiB", "planned"):
        table.add_column(head, justify="left" if head in {"series", "worst tag"} else "right")
    for name, outcome in found.items():
        tag, gain = min(outcome.gains.items(), key=lambda item: item[1])
        table.add_row(
            name,
            f"{outcome.gain:.3f}",
            f"{outcome.chance:.4f}",
            f"{tag.rpartition('/')[2]} {gain:+.3f}",
            str(outcome.steps),
            f"{outcome.seconds:.0f}",
            f"{outcome.tokens_per_s:.0f}",
            f"{outcome.peak_bytes / 2**20:,.0f}",
            f"{outcome.planned_bytes / 2**20:,.0f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()

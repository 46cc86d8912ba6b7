"""What does a user see of a training? What will be learnt, how the trial went, and what stands on the shelf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from detectors.evaluation.grid import span_words
from stream.model.shelf import KINDS, LANGUAGE, Shelf

if TYPE_CHECKING:
    from rich.console import Console

    from detectors.training.dataset import Dataset
    from detectors.training.progress import Progress
    from detectors.training.promotion import Trial

__all__ = ["duration_in_words", "print_account", "print_shelf", "print_trial", "steps_in_words"]


def print_account(dataset: Dataset, console: Console) -> None:
    """A row per tag: its steps, what of them is left out, and how many values each part has."""
    table = _table(
        "what will be learnt", ("tag", "every", "steps", "holes", "left out", "learn", "tune", "judge", "read")
    )
    for share in dataset.shares:
        table.add_row(
            share.tag,
            span_words(share.period_s),
            f"{share.steps:,}",
            f"{share.holes:,}",
            f"{share.left_out:,}",
            *(f"{share.values[part]:,}" for part in ("learn", "tune", "judge")),
            f"{share.repeats:.1f} x",
        )
    console.print(table)
    console.print(
        "  learn, tune, judge: values of each part, oldest first, a gap between them; read: how often a value is read in one "
        "pass over the texts",
        style="dim",
        highlight=False,
    )
    for line in dataset.left_out:
        console.print(f"left out: {line}", style="yellow", highlight=False, markup=False)


def print_trial(trial: Trial, cost: str, console: Console) -> None:
    """A row per tag: what champion and challenger gave to the held-out values, and how their forecasts compare; then the cost."""
    table = _table("held-out days", ("tag", "values", "before", "after", "gain", "pinball"))
    for tag in trial.tags:
        table.add_row(
            tag.tag,
            f"{tag.values:,}",
            f"{tag.champion:.3f}",
            f"{tag.challenger:.3f}",
            f"{tag.gain:+.3f}",
            "" if tag.pinball is None else f"x {tag.pinball:.3f}",
        )
    console.print(table)
    pinball = (
        "" if trial.pinball is None else f", pinball loss of its forecasts {trial.pinball:.3f} times the one before"
    )
    console.print(
        f"  gain {trial.gain:+.3f} nats per value, by chance with probability {trial.chance:.4f}{pinball}\n  {cost}",
        highlight=False,
    )


def steps_in_words(steps: Progress, unit: str) -> str:
    """How far a training is, short enough for a terminal."""
    held_out = "" if steps.best is None else f", held out {steps.best:.3f}"
    return f"{steps.step} of {steps.steps} steps, {unit} {steps.learnt:.3f}{held_out}, {duration_in_words(steps.left_s)} left"


def duration_in_words(seconds: float) -> str:
    """In whole units: nobody knows better."""
    if seconds < 90:
        return f"{max(round(seconds), 0)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def print_shelf(shelf: Shelf, console: Console) -> None:
    """A row per adapter, the one in use marked."""
    if not shelf.names:
        console.print(f"no adapter in {shelf.folder}: `givre train` makes one", highlight=False, markup=False)
        return
    table = _table("adapters", ("tag", "kind", "in use", "gain, nats", "by chance", "pinball", "tags", "trial"))
    table.columns[0].header = "name"
    in_use = {kind: Shelf(shelf.folder, kind).current for kind in KINDS}
    for name in shelf.names:
        card, kind = shelf.card(name), shelf.kind_of(name)
        pinball, current = card.get("pinball"), in_use.get(kind)
        table.add_row(
            name,
            kind,
            "*" if current is not None and current.name == name else "",
            f"{card.get('gain_nats', float('nan')):+.3f}",
            f"{card.get('chance', float('nan')):.4f}",
            "" if pinball is None else f"x {pinball:.3f}",
            str(len(card.get("scores", ()))),
            "better" if card.get("promoted") else "refused",
        )
    console.print(table)
    if in_use[LANGUAGE] is None:
        console.print("in use: the language model as it came", highlight=False)


def _table(title: str, heads: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, justify="left" if head == "tag" else "right", no_wrap=head != "tag", overflow="fold")
    return table

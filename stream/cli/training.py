"""What can be said of training at the command line? `givre train`, and `givre adapter` for what came of it."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.terminal import Config, complaints, console, fail, read

if TYPE_CHECKING:
    from types import FrameType

    from config.load import Loaded
    from detectors.records import Alert
    from stream.model.shelf import Shelf

__all__ = ["adapter_app", "train"]

adapter_app = typer.Typer(help="The adapters of the language model: list, promote, roll back.", no_args_is_help=True)
MIN_CONTEXT = 12
"""Where no language model is configured."""
UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def train(
    config: Config,
    history: Annotated[
        Path,
        typer.Argument(help="CSV or Parquet, a row per change or a column per tag; or sink:NAME, an InfluxDB sink."),
    ],
    kind: Annotated[
        str,
        typer.Option(
            help="What to train: language (the model), recurrent (an LSTM) or graph (a T-GCN for each asset)."
        ),
    ] = "language",
    lasting: Annotated[str, typer.Option("--for", help="At most so long: 6h, 30min; else every epoch.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Only this tag; may be given again.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="A period to leave out, FROM/TO: 2014-11-01/2014-12-31; may be given again."),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="ours, or study: what the field study recommends (rank 32, 4 epochs).")
    ] = "ours",
    rank: Annotated[
        int | None, typer.Option(min=1, max=512, help="Rank of the adapter, in place of the preset's.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the history, in place of the preset's.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the adapter; else the date and time.")] = "",
    promote: Annotated[bool, typer.Option("--promote/--no-promote", help="Put it to use if it is better.")] = True,
    texts: Annotated[
        Path | None,
        typer.Option(help="Train nothing; write the texts there (Parquet: prompt, response), for other tools."),
    ] = None,
    style: Annotated[
        str, typer.Option(help="Of --texts: digits, or the instruction prompts json and role.")
    ] = "digits",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; else that of the configuration.")] = "",
    period: Annotated[
        float | None, typer.Option(min=1e-3, help="Seconds between steps; else `period_s` of each tag.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of dates without one.")] = "UTC",
) -> None:
    """Train a model on the plant's own history; it is used only if it proves better on held-out days.

    Ctrl-C stops and saves; the same command goes on from there. The running service is not disturbed.
    """
    from config.errors import SecretError
    from stream.assemble import context_length, model_folder, panel_members
    from stream.cli.train import train as train_on
    from stream.cli.training_request import TrainingRequest
    from stream.periphery import history_at
    from stream.recording import Pace
    from stream.sources.history import HistoryError

    loaded = read(config)
    model = loaded.settings.model
    try:
        kept = history_at(loaded, history, timezone=timezone)
    except (HistoryError, SecretError) as error:
        fail(str(error))
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signals are handled
        # A second Ctrl-C ends it at once, as usual.
        if not stopping:
            complaints.print("stopping, and saving; a second Ctrl-C ends it at once", highlight=False)
        stopping.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    request = TrainingRequest(
        history=kept,
        model=None if model is None else lambda: model_folder(model, loaded)[0],
        shelf=_shelf(loaded).folder,
        context=context_length(loaded.settings),
        min_context=MIN_CONTEXT if model is None else model.min_context,
        kind=kind,
        horizon=loaded.settings.panel.horizon,
        members=lambda: panel_members(loaded.settings),
        device=device or ("auto" if model is None else model.device),
        tags=tuple(tag or ()),
        excluded=tuple(exclude or ()),
        paces={name: Pace(tag.period_s, tag.hold_s) for name, tag in loaded.settings.tags().items()},
        alerts=_alerts(loaded),
        preset=preset,
        rank=rank,
        epochs=epochs,
        budget_s=_seconds(lasting),
        name=name,
        period_s=period,
        timezone=timezone,
        promote=promote,
        texts=texts,
        style=style,
    )
    problem = train_on(
        request, console=console, complaints=complaints, stop=lambda: bool(stopping), now=datetime.now(UTC)
    )
    if problem:
        fail(problem)


@adapter_app.command("list")
def adapter_list(config: Config) -> None:
    """Every adapter on the shelf, what it gained on held-out days, and which one is in use."""
    from stream.cli.print_training import print_shelf

    print_shelf(_shelf(read(config)), console)


@adapter_app.command()
def promote(config: Config, name: Annotated[str, typer.Argument(help="Name of the adapter.")]) -> None:
    """Use an adapter from now on, whatever its trial said; a running service takes it between two turns."""
    from stream.model.shelf import Shelf, ShelfError

    loaded = read(config)
    shelf = _shelf(loaded)
    try:
        kind = shelf.kind_of(name)
        _examine(shelf.folder / name, kind, loaded)
        Shelf(shelf.folder, kind).promote(name)
    except (ShelfError, ValueError, OSError) as error:
        fail(str(error))
    except ImportError as error:
        fail(
            f"adapter {name}: expected the package {error.name} to look at it with. Install it: pip install 'givre[model]'"
        )
    console.print(f"{name} is used from now on", highlight=False)


@adapter_app.command("roll-back")
def roll_back(
    config: Config,
    kind: Annotated[str, typer.Option(help="Of which kind: language, recurrent or graph.")] = "language",
) -> None:
    """Use the one before again; the first of all is the model as it came, or no network of that kind."""
    from stream.model.shelf import KINDS, LANGUAGE, Shelf, ShelfError

    if kind not in KINDS:
        fail(f"--kind: expected one of {', '.join(KINDS)}, found {kind[:40]!r}")
    try:
        name = Shelf(_shelf(read(config)).folder, kind).roll_back()
    except ShelfError as error:
        fail(str(error))
    first = "the model as it came" if kind == LANGUAGE else f"no {kind} network"
    console.print(f"{name or first} is used from now on", highlight=False)


def _examine(folder: Path, kind: str, loaded: Loaded) -> None:
    """Raises ModelError for one that the service would refuse: half of it is missing, or it belongs to another model."""
    from stream.model.shelf import LANGUAGE

    if kind != LANGUAGE:
        from detectors.forecasters.trained import Trained

        Trained.read(folder)
        return
    from detectors.language.adapter import examine_adapter
    from detectors.language.model import sha256_of
    from stream.assemble import model_folder
    from stream.model.weights import cached_model

    model = loaded.settings.model
    # A default model that was never fetched is looked at when it is.
    if model is not None and (model.path != "default" or cached_model() is not None):
        base, _ = model_folder(model, loaded)
        examine_adapter(folder, base=base.name, sha256=lambda: sha256_of(base / "model.safetensors"))


def _shelf(loaded: Loaded) -> Shelf:
    from stream.assemble import shelf_of

    return shelf_of(loaded)


def _alerts(loaded: Loaded) -> list[Alert]:
    """What the service's journal holds of alarms, if there is one: what stood in alarm is not learnt."""
    from detectors.records import Alert
    from stream.assemble import open_journal, state_folder

    if not (state_folder(loaded) / "journal.sqlite3").exists():
        return []
    journal = open_journal(loaded)
    try:
        return [record for record in journal.history(kinds={Alert}) if isinstance(record, Alert)]
    finally:
        journal.close()


def _seconds(text: str) -> float:
    """A duration as people write it: 6h, 30min, 90."""
    if not text:
        return float("inf")
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip() or "s"
    try:
        found = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        found = 0.0
    if not found > 0:
        fail(f"--for: expected a duration such as 6h or 30min, found {text[:40]!r}")
    return found

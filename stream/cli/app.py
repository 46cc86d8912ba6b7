"""What can be said at the command line? `givre --help`; every command imports what it needs when it is called.

Exit codes: 0 all is well; 1 the input, the configuration or an endpoint is wrong, and the message says what to do; 2 the
command line itself is wrong.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.alarms import alarms_app
from stream.cli.terminal import Config, complaints, console, fail, read
from stream.cli.training import adapter_app, train
from stream.cli.trust import trust
from stream.cli.weaknesses import weaknesses

__all__ = ["main"]

app = typer.Typer(
    name="givre",
    help="Forecasts and alarms for plant tags, by a language model that runs on the plant's own edge PC.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
model_app = typer.Typer(help="Fetch the default language model.", no_args_is_help=True)
RUN, KEEP, LEARN = "Run it", "Look after it", "What it forecasts with"


def main() -> None:
    """Entry point of the `givre` command."""
    # The products of fits are many and small: two threads of OpenBLAS on two busy cores wait 20 times as long for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    app()


@app.command(rich_help_panel=RUN)
def run(config: Config) -> None:
    """Run the service: follow the tags, forecast, judge, alarm. Ends on SIGTERM or Ctrl-C, reads CONFIG anew on SIGHUP."""
    from config.errors import ConfigError
    from stream.journal.journal import JournalError
    from stream.notify import Notifier
    from stream.running import Running
    from stream.service import forbid_core_dumps, log_to_stderr

    log_to_stderr()
    forbid_core_dumps()
    loaded = read(config)
    notifier = Notifier.from_environment()
    try:
        asyncio.run(Running(config, loaded, notifier=notifier).run())
    except (ConfigError, JournalError) as error:
        fail(str(error))
    finally:
        notifier.stopping()


@app.command(rich_help_panel=RUN)
def check(
    config: Config,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also try every endpoint, and name each tag that cannot be had.")
    ] = False,
    history: Annotated[
        Path | None,
        typer.Option("--history", help="Also compare each tolerance with recorded values: CSV, Parquet, or sink:NAME."),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the dates in the file.")] = "UTC",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check a configuration; exit code 1 if something is wrong. Nothing is started and nothing is written."""
    from stream.check import check as examine

    result = examine(config, connect=connect, history=history, timezone=timezone)
    if as_json:
        console.print_json(json.dumps(result.as_dict()))
    else:
        result.print(console)
    raise typer.Exit(0 if result.ok else 1)


@app.command(rich_help_panel=KEEP)
def doctor(
    config: Config,
    connect: Annotated[bool, typer.Option("--connect/--no-connect", help="Try every endpoint as well.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the page as JSON.")] = False,
) -> None:
    """One page on how this installation is, and what to do next; exit code 1 if something is to be done at once."""
    from stream.cli.doctor import examine

    page = examine(config, connect=connect)
    if as_json:
        console.print_json(json.dumps(page.as_dict()))
    else:
        page.print(console)
    raise typer.Exit(0 if page.ok else 1)


@app.command(rich_help_panel=KEEP)
def backup(
    config: Config,
    to: Annotated[Path, typer.Option("--to", help="A folder that is not there yet.")],
) -> None:
    """Copy the state folder, whole, beside the running service: journal, alarms, what the panel has learnt."""
    from stream.assemble import state_folder
    from stream.cli.backup import BackupError, back_up

    try:
        size = back_up(state_folder(read(config)), to)
    except BackupError as error:
        fail(str(error))
    console.print(f"{to}: {size / 2**20:,.1f} MiB", highlight=False)


@app.command(rich_help_panel=RUN)
def replay(
    config: Config,
    source: Annotated[
        Path, typer.Option("--from", help="A journal of the service, CSV or Parquet, or sink:NAME[@FROM/TO].")
    ],
    state: Annotated[
        Path | None, typer.Option(help="Folder for the journal of the replay; a new temporary one if absent.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the dates in the file.")] = "UTC",
    model: Annotated[
        bool, typer.Option("--model/--no-model", help="Forecast with the configured model; else by persistence.")
    ] = True,
) -> None:
    """Run recorded history through exactly the live path, as fast as it goes; alarms and figures are printed."""
    from config.errors import SecretError
    from stream.cli.replay import ReplayError, run_replay
    from stream.periphery import history_at
    from stream.service import log_to_stderr
    from stream.sources.history import HistoryError

    log_to_stderr(logging.WARNING)
    loaded = read(config)
    try:
        run_replay(
            loaded,
            history_at(loaded, source, timezone=timezone),
            folder=state or Path(tempfile.mkdtemp(prefix="givre-replay-")),
            timezone=timezone,
            model=model,
            console=console,
        )
    except (ReplayError, HistoryError, SecretError) as error:
        fail(str(error))


@app.command(rich_help_panel=KEEP)
def history(
    config: Config,
    tag: Annotated[str | None, typer.Option(help="Only this tag, as asset/tag.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only sample, forecast, score, verdict, alert or status.")] = None,
    since: Annotated[datetime | None, typer.Option(help="From this moment (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Up to this moment (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Print what the journal holds, newest last: samples, forecasts, verdicts, alerts, statuses."""
    from stream.cli.print_history import HistoryQuery, print_history

    loaded = read(config)
    query = HistoryQuery(tag=tag, kind=kind, since=since, until=until, limit=limit)
    problem = print_history(loaded, query, console=console, as_json=as_json)
    if problem:
        fail(problem)


@app.command(rich_help_panel=LEARN)
def evaluate(
    history: Annotated[
        str,
        typer.Argument(
            help="A CSV or Parquet file (a row per change, or a column per tag), or the URL of an InfluxDB."
        ),
    ],
    forecaster: Annotated[
        list[str] | None, typer.Option(help="Who forecasts; may be given again, or with commas. `all` for everyone.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only this tag; may be given again.")] = None,
    held_out: Annotated[
        str, typer.Option(help="What is forecast: a share of the end (0.2, 20 %), or a date it begins at.")
    ] = "0.2",
    horizon: Annotated[
        int, typer.Option(min=0, help="Steps ahead; 0: 12, or all that is held out with --one-shot.")
    ] = 0,
    one_shot: Annotated[
        bool, typer.Option("--one-shot", help="One forecast, at the begin of the held-out part; else rolling origins.")
    ] = False,
    stride: Annotated[int, typer.Option(min=0, help="Steps between origins; 0: as many as give 200 origins.")] = 0,
    warm_up: Annotated[
        int | None,
        typer.Option(
            min=0, help="Steps before the held-out part that are forecast and not scored; else for a panel alone."
        ),
    ] = None,
    refit: Annotated[
        int | None, typer.Option(min=0, help="Learners are fitted anew after so many origins, 0: never; else when due.")
    ] = None,
    period: Annotated[
        float | None, typer.Option(min=1e-3, help="Seconds between steps; else the most common spacing.")
    ] = None,
    hold: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds a value is held without a report; else as long as 99 % of the gaps."),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of dates without one.")] = "UTC",
    query: Annotated[str, typer.Option(help="Flux or InfluxQL, where the history is in an InfluxDB.")] = "",
    database: Annotated[str, typer.Option(help="Database of an InfluxQL query.")] = "",
    org: Annotated[str, typer.Option(help="Organisation of a Flux query; INFLUX_TOKEN is its token.")] = "",
    model: Annotated[Path | None, typer.Option(help="Folder of a language model; else the default one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html and forecasts.parquet.")] = None,
) -> None:
    """Try forecasters on recorded history: what would each have said, had it known only what came before?"""
    from stream.cli.evaluate import EvaluationRequest, evaluate_history

    request = EvaluationRequest(
        history=history,
        forecasters=tuple(forecaster or ()),
        tags=tuple(tag or ()),
        held_out=held_out,
        horizon=horizon,
        one_shot=one_shot,
        stride=stride,
        warm_up=warm_up,
        refit_every=refit,
        period_s=period,
        hold_s=hold,
        timezone=timezone,
        query=query,
        database=database,
        org=org,
        model=model,
        out=out,
    )
    problem = evaluate_history(request, console=console, complaints=complaints)
    if problem:
        fail(problem)


@model_app.command("fetch")
def model_fetch() -> None:
    """Fetch the default model once, check it, and convert it to a form that loads in seconds."""
    from stream.model.weights import WeightsError

    try:
        folder = _fetch_model()
    except WeightsError as error:
        fail(str(error))
    console.print(f"model ready in {folder}", highlight=False)


@app.command(rich_help_panel=RUN)
def demo(
    seconds: Annotated[
        float | None, typer.Option("--for", help="End after so many seconds; without it, at Ctrl-C.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the figures of the run as JSON.")] = None,
    speed: Annotated[float, typer.Option(min=0.1, max=100, help="Plant seconds per second.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Another plant.")] = 1,
    scenario: Annotated[str, typer.Option(help="quiet, tour, or faults such as load_step@120+60.")] = "tour",
    folder: Annotated[
        Path | None, typer.Option(help="Where configuration, journal and labels go; default ./demo-run.")
    ] = None,
) -> None:
    """A simulated heat exchanger with faults, and Givre beside it, over real OPC UA and MQTT; nothing has to be prepared."""
    import shutil

    from stream.cli.demo import DemoError, run_demo
    from stream.model.weights import WeightsError
    from stream.service import log_to_stderr

    log_to_stderr(logging.ERROR if console.is_terminal else logging.WARNING)
    home = folder or Path("demo-run")
    for old in ("state", "plant"):
        shutil.rmtree(home / old, ignore_errors=True)
    try:
        _fetch_model()
        figures = asyncio.run(
            run_demo(console=console, folder=home, speed=speed, seed=seed, scenario=scenario, seconds=seconds)
        )
    except (DemoError, WeightsError) as error:
        fail(str(error))
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    console.print_json(json.dumps(figures))
    console.print(f"The journal stays: givre history {home / 'demo.yaml'}", highlight=False)


def _fetch_model() -> Path:
    """The default model's folder; a progress bar shows what takes its time."""
    from rich.progress import Progress

    from stream.model.weights import default_model

    with Progress(console=complaints, transient=True) as progress:
        task = progress.add_task("default model", total=1.0)

        def show(what: str, share: float) -> None:
            progress.update(task, description=what, completed=share)

        return default_model(show)


# Behind the commands above: the help lists them as they come.
app.add_typer(alarms_app, name="alarms", rich_help_panel=KEEP)
app.command(rich_help_panel=KEEP)(trust)
app.command(rich_help_panel=KEEP)(weaknesses)
app.command(rich_help_panel=LEARN)(train)
app.add_typer(adapter_app, name="adapter", rich_help_panel=LEARN)
app.add_typer(model_app, name="model", rich_help_panel=LEARN)

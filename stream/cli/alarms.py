"""What can be said about alarms at the command line? `givre alarms --help`; each command imports what it needs when called."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.terminal import Config, console, fail, read

__all__ = ["alarms_app"]

alarms_app = typer.Typer(
    help="See the alarms of a running service; acknowledge, shelve, accept them.", no_args_is_help=True
)

AlarmName = Annotated[str, typer.Argument(help="Name of the alarm: asset/tag/rule.")]
By = Annotated[str, typer.Option("--by", help="Who asks for it; else the user of this machine.")]
Reason = Annotated[str, typer.Option(help="Why; it is part of the message.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@alarms_app.command("list")
def alarms_list(
    config: Config,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; may be given again.")] = None,
    priority: Annotated[list[str] | None, typer.Option(help="Only of this priority; may be given again.")] = None,
    tag: Annotated[str, typer.Option(help="Only of this tag, as asset/tag.")] = "",
    active: Annotated[bool, typer.Option("--active", help="Only those whose condition holds.")] = False,
    silenced: Annotated[bool, typer.Option("--silenced", help="Only shelved, suppressed, out of service.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Normal ones as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Every alarm that is not normal, the most urgent first: its state, since when, and its last message."""
    from stream.cli.print_alarms import AlarmQuery, print_alarms

    query = AlarmQuery(
        states=tuple(state or ()),
        priorities=tuple(priority or ()),
        tag=tag,
        active=active,
        silenced=silenced,
        every=every,
    )
    _end(print_alarms(read(config), query, console=console, as_json=as_json))


@alarms_app.command("commands")
def alarms_commands(
    config: Config,
    alarm: Annotated[str, typer.Option(help="Only of this alarm.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Who did what, when and why: the commands of operators and what came of them, newest last."""
    from stream.cli.print_alarms import print_commands

    _end(print_commands(read(config), alarm=alarm, limit=limit, console=console, as_json=as_json))


@alarms_app.command("flood")
def alarms_flood(config: Config, as_json: AsJson = False) -> None:
    """How many alarms the last 24 hours had, their floods, and which alarms are behind them."""
    from stream.cli.print_alarms import print_flood

    _end(print_flood(read(config), now=datetime.now(UTC), console=console, as_json=as_json))


@alarms_app.command("ack")
def alarms_ack(config: Config, alarm: AlarmName, by: By = "") -> None:
    """Acknowledge an alarm. As with all of these, the service takes it within a second, or at its next start."""
    _ask(config, "acknowledge", alarm, by)


@alarms_app.command("accept")
def alarms_accept(config: Config, alarm: AlarmName, by: By = "") -> None:
    """Take what a deviation or surprise alarm found for the new normal: the alarm ends, and learning goes on."""
    _ask(config, "accept", alarm, by)


@alarms_app.command("shelve")
def alarms_shelve(
    config: Config,
    alarm: AlarmName,
    lasting: Annotated[str, typer.Option("--for", help="How long: 30s, 45m, 2h or 1d, at most 30d.")],
    reason: Reason = "",
    by: By = "",
) -> None:
    """Silence an alarm for a time: it is followed all the same, and speaks again by itself."""
    from stream.cli.ask import seconds

    for_s = seconds(lasting)
    if for_s is None:
        fail(f"--for: expected 1s to 30d as a number and s, m, h or d, such as 2h, found {lasting!r}")
    _ask(config, "shelve", alarm, by, for_s=for_s, reason=reason)


@alarms_app.command("unshelve")
def alarms_unshelve(config: Config, alarm: AlarmName, by: By = "") -> None:
    """End the shelving of an alarm now; if its condition stands, it is raised again."""
    _ask(config, "unshelve", alarm, by)


@alarms_app.command("out-of-service")
def alarms_out_of_service(config: Config, alarm: AlarmName, reason: Reason = "", by: By = "") -> None:
    """Silence an alarm until it is put back in service."""
    _ask(config, "out_of_service", alarm, by, reason=reason)


@alarms_app.command("in-service")
def alarms_in_service(config: Config, alarm: AlarmName, by: By = "") -> None:
    """Put an alarm back in service; if its condition stands, it is raised again."""
    _ask(config, "in_service", alarm, by)


def _ask(config: Path, command: str, alarm: str, by: str, *, for_s: float | None = None, reason: str = "") -> None:
    from stream.cli.ask import leave

    _end(leave(read(config), command, alarm, by=by, for_s=for_s, reason=reason, console=console))


def _end(problem: str) -> None:
    if problem:
        fail(problem)

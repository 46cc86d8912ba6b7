"""What can be said of trust at the command line? `givre trust`: which OPC UA servers may be followed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.terminal import Config, console, fail, read
from stream.log_line import printed

if TYPE_CHECKING:
    from config.load import Loaded
    from stream.sources.opcua_trust import Stranger

__all__ = ["trust"]


def trust(
    config: Config,
    thumbprint: Annotated[
        str, typer.Argument(help="Thumbprint of the certificate that you have compared, or how it begins.")
    ] = "",
    source: Annotated[str, typer.Option(help="The source, where several are secured.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Trust it no longer.")] = False,
) -> None:
    """Show the certificates of secured OPC UA servers; with a THUMBPRINT, trust that one.

    Without a thumbprint nothing changes: what is trusted, what was refused and what each server shows is listed.

    Compare the thumbprint with the one that the server's own screen shows; then call it again with that thumbprint.

    The running service takes it at its next attempt.
    """
    from stream.audit import Event, audit_beside
    from stream.sources.opcua_trust import TrustError, accept, known, offered
    from stream.sources.opcua_trust import withdraw as take_away

    loaded = read(config)
    folders = _folders(loaded)
    if source:
        folders = {name: place for name, place in folders.items() if name == source}
    if not folders:
        fail(f"expected an OPC UA source{f' {source!r}' if source else ''} with `security` in {config}, found none")
    if thumbprint and len({place[1] for place in folders.values()}) > 1:
        fail(f"expected --source, one of {', '.join(folders)}: they have folders of their own, found none")
    candidates: list[Stranger] = []
    for name, (endpoint, folder) in folders.items():
        refused = known(folder.parent / "rejected")
        try:
            shown = asyncio.run(offered(endpoint)) if not withdraw else []
        except TrustError as error:
            shown = []
            console.print(f"{name}: {error}", style="yellow", highlight=False, markup=False)
        if not thumbprint:
            _list(name, folder, known(folder), refused, shown)
        candidates += [*refused, *shown]
    if not thumbprint:
        return
    folder = next(iter(folders.values()))[1]
    names = ", ".join(folders)
    try:
        one = take_away(folder, thumbprint) if withdraw else accept(folder, candidates, thumbprint)
    except TrustError as error:
        fail(str(error))
    event = Event.CERTIFICATE_WITHDRAWN if withdraw else Event.CERTIFICATE_TRUSTED
    audit_beside(event, f"{names}: {_words(one)}, in {folder}")
    word, style = ("trusted no longer", "yellow") if withdraw else ("trusted from now on", "green")
    console.print(f"{names}: {word}: {_words(one)}", style=style, highlight=False, markup=False, soft_wrap=True)


def _folders(loaded: Loaded) -> dict[str, tuple[str, Path]]:
    """Endpoint and folder of the trusted of each secured OPC UA source."""
    from config.endpoint import OpcuaSource
    from config.schema import resolve

    return {
        name: (one.endpoint, resolve(one.security.trust, loaded.folder))
        for name, one in loaded.settings.sources.items()
        if isinstance(one, OpcuaSource) and one.security is not None
    }


def _list(name: str, folder: Path, trusted: list[Stranger], refused: list[Stranger], shown: list[Stranger]) -> None:
    console.print(f"{name} ({folder})", style="bold", highlight=False, markup=False)
    names = {one.thumbprint for one in trusted}
    groups = (
        ("trusted", "green", trusted),
        ("refused", "yellow", refused),
        ("shown by the server now", "yellow", [one for one in shown if one.thumbprint not in names]),
    )
    for word, style, group in groups:
        for one in group:
            console.print(f"  {word}: ", style=style, end="")
            console.print(_words(one), highlight=False, markup=False, soft_wrap=True)
    if not (trusted or refused or shown):
        console.print("  none")
    if shown and names.isdisjoint(one.thumbprint for one in shown):
        console.print(
            "  The server is not trusted. Compare its thumbprint at the server; if it is the same:\n"
            f"    givre trust CONFIG {shown[0].thumbprint}",
            highlight=False,
        )


def _words(one: Stranger) -> str:
    now = datetime.now(UTC)
    when = f"until {one.ends_at:%Y-%m-%d}"
    if now > one.ends_at:
        when = f"EXPIRED on {one.ends_at:%Y-%m-%d}"
    elif now < one.begins_at:
        when = f"NOT VALID before {one.begins_at:%Y-%m-%d}"
    return printed(f"{one.thumbprint}  {one.subject[:100]}  {', '.join(one.uris)[:120]}  {when}")

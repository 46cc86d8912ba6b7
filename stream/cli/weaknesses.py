"""What can be said of known weaknesses at the command line? `givre weaknesses`: what runs here, against a list."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.terminal import console, fail
from stream.log_line import printed

if TYPE_CHECKING:
    from stream.cli.weakness import Comparison, Weakness

__all__ = ["weaknesses"]

FRESH = timedelta(days=30)
"""A list whose newest record is older than this knows too little of today."""


def weaknesses(
    known: Annotated[
        Path, typer.Argument(metavar="LIST", help="OSV records of PyPI: the all.zip of osv.dev, or a folder of them.")
    ],
    inside: Annotated[
        Path | None,
        typer.Option("--inside", help="Look at a wheelhouse's givre.cdx.json, not at what is installed here."),
    ] = None,
    accept: Annotated[
        list[str] | None, typer.Option("--accept", help="An id that you have looked into and live with; repeat it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare the packages that run here with a list of known weaknesses; exit code 1 if there are any. Nothing is fetched.

    The list is a file that you bring: all.zip of https://osv.dev, for the ecosystem PyPI. Fetch it anew each time.
    """
    from stream.cli.weakness import WeaknessError, compare, installed
    from stream.cli.weakness import inside as listed

    try:
        result = compare(listed(inside) if inside is not None else installed(), known)
    except WeaknessError as error:
        fail(str(error))
    accepted = set(accept or ())
    counted = [one for one in result.found if accepted.isdisjoint({one.id, *one.names})]
    if as_json:
        console.print_json(json.dumps(_as_dict(result, counted)))
    else:
        _print(result, counted)
    raise typer.Exit(1 if counted or result.unreadable else 0)


def _print(result: Comparison, counted: list[Weakness]) -> None:
    for one in result.found:
        names = f" ({', '.join(one.names)})" if one.names else ""
        remedy = f"mended in {', '.join(one.fixed_in)}" if one.fixed_in else "not mended in any version yet"
        word = "" if one in counted else "accepted: "
        style = "red" if one in counted else "dim"
        console.print(f"{word}{one.package} {one.version}: {one.id}{names}", style=style, highlight=False, markup=False)
        console.print(printed(f"  {one.summary[:200]}"), highlight=False, markup=False)
        console.print(f"  {remedy}", highlight=False, markup=False)
    for name in result.unreadable[:10]:
        console.print(printed(f"{name[:100]}: no OSV record"), style="yellow", highlight=False, markup=False)
    more = f", {len(result.unreadable)} of them unreadable" if result.unreadable else ""
    newest = (
        f"the newest changed on {result.newest_at:%Y-%m-%d}" if result.newest_at else "none says when it was changed"
    )
    said = f"{result.packages} packages, {result.records} records{more}, {newest}: "
    said += f"{len(counted)} known weakness{'es' * (len(counted) > 1)}" if counted else "no known weakness"
    console.print(said, style="red" if counted else "green", highlight=False, markup=False)
    if result.newest_at is None or datetime.now(UTC) - result.newest_at > FRESH:
        console.print("The list is old: fetch it anew, or this says little.", style="yellow")


def _as_dict(result: Comparison, counted: list[Weakness]) -> dict[str, Any]:
    return {
        "packages": result.packages,
        "records": result.records,
        "newest_at": result.newest_at and result.newest_at.isoformat(),
        "unreadable": result.unreadable,
        "found": [
            {
                "package": one.package,
                "version": one.version,
                "id": one.id,
                "names": one.names,
                "fixed_in": one.fixed_in,
                "summary": one.summary,
                "accepted": one not in counted,
            }
            for one in result.found
        ],
    }

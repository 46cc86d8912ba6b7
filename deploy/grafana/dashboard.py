"""What do operators see in Grafana? This program prints dashboard.json, which is committed beside it and never edited.

    python deploy/grafana/dashboard.py > deploy/grafana/dashboard.json

With ``--config FILE`` each tag of a configuration gets a panel of its own, in its own unit, instead of one panel repeated.
"""

# ruff: noqa: FBT003 - the SDK's builders take a lone boolean

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import chart
import statement
import style
import yaml
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as dm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["build", "signals_of"]

UNITS = {
    "degC": "celsius", "°C": "celsius", "C": "celsius", "degF": "fahrenheit", "K": "kelvin",
    "%": "percent", "W": "watt", "kW": "kwatt", "kWh": "kwatth", "V": "volt", "A": "amp", "Hz": "hertz",
    "bar": "pressurebar", "mbar": "pressurembar", "Pa": "pressurepa", "kPa": "pressurekpa",
    "m3/h": "flowcmh", "l/h": "litreh", "l/min": "flowlpm", "s": "s", "m": "lengthm", "mm": "lengthmm",
}  # fmt: skip
"""Engineering unit -> Grafana's name of it; any other stands behind the number as it is."""

WIDTH = 24


class Placed(NamedTuple):
    """A panel, and how many columns (of 24) and rows it takes."""

    panel: Any  # the SDK's builders share methods, but no type that has them
    w: int
    h: int


def signals_of(settings: Mapping[str, Any]) -> list[chart.Signal]:
    """One signal for each tag of a configuration that `givre check` has passed."""
    return [
        chart.Signal(
            where=statement.tag_is(settings["site"], asset, tag),
            title=f"{asset} / {tag}",
            unit=UNITS.get(about["unit"], f"suffix: {about['unit']}"),
            repeated=False,
        )
        for asset, body in settings["assets"].items()
        for tag, about in body["tags"].items()
    ]


def build(signals: Sequence[chart.Signal] = (chart.Signal(),)) -> dm.Dashboard:
    """The dashboard; the same call makes the same JSON."""
    board = (
        d.Dashboard("Givre")
        .uid("givre")
        .description("Values and their forecasts, the alarms that stand, and how Givre itself is doing.")
        .tags(["givre"])
        .editable()
        .tooltip(dm.DashboardCursorSync.CROSSHAIR)
        .refresh("5s")
        .time("now-30m", "now+5m")
        .timezone("browser")
        .with_variable(_choice("site", "Site", statement.SITES))
        .with_variable(_choice("asset", "Asset", statement.ASSETS))
        .with_variable(_choice("tag", "Tag", statement.TAGS).multi(True).include_all(True).current(_ALL))
        .annotation(_marks("Alarm raised", "red", statement.ALARM_RAISED))
        .annotation(_marks("Alarm over", "green", statement.ALARM_OVER))
    )
    sections = {
        "": [
            *(Placed(p, w, 4) for p, w in zip(chart.overview(), (5, 5, 5, 5, 4), strict=True)),
            Placed(chart.standing_alarms(), 16, 8),
            Placed(chart.breach_ahead(), 8, 8),
        ],
        "Signals: value, forecast, tolerance band": [Placed(chart.signal(about), 24, 10) for about in signals],
        "Judgement": [
            Placed(chart.score_timeline(), 24, 8),
            Placed(chart.score_lines(), 12, 8),
            Placed(chart.breach_lines(), 12, 8),
        ],
        "Forecasters": [Placed(chart.panel_weights(), 12, 8), Placed(chart.panel_skill(), 12, 8)],
        "Alarm history": [Placed(chart.alarm_history(), 24, 9)],
        "Data": [
            Placed(chart.quality_timeline(), 12, 8),
            Placed(chart.reports(), 12, 8),
            Placed(chart.last_reports(), 24, 8),
        ],
        "Givre itself": [
            Placed(chart.parts(), 14, 8),
            Placed(chart.forecasters(), 10, 8),
            Placed(chart.parts_timeline(), 24, 7),
        ],
    }
    number = top = 0
    for title, placed in sections.items():
        if title:
            number += 1
            board.with_row(d.Row(title).id(number).grid_pos(dm.GridPos(h=1, w=WIDTH, x=0, y=top)))
            top += 1
        left = height = 0
        for p, w, h in placed:
            number += 1
            if left + w > WIDTH:
                left, top, height = 0, top + height, 0
            board.with_panel(p.id(number).datasource(style.DATABASE).grid_pos(dm.GridPos(h=h, w=w, x=left, y=top)))
            left, height = left + w, max(height, h)
        top += height
    return board.build()


_ALL = dm.VariableOption(selected=True, text=["All"], value=["$__all"])


def _choice(name: str, label: str, query: str) -> d.QueryVariable:
    """A choice at the top of the page, filled from what is in the database."""
    return (
        d.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(style.DATABASE)
        .refresh(dm.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dm.VariableSort.ALPHABETICAL_ASC)
    )


def _marks(name: str, hue: str, text: str) -> d.AnnotationQuery:
    """A mark on every time axis for each row of the answer."""
    return (
        d.AnnotationQuery()
        .name(name)
        .enable(True)
        .hide(False)
        .icon_color(hue)
        .datasource(style.DATABASE)
        .target(style.Events(text))
    )


def main(arguments: Iterable[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Prints the Grafana dashboard as JSON.")
    parser.add_argument("--config", type=Path, help="a panel for each tag of this configuration, in the tag's unit")
    chosen = parser.parse_args(None if arguments is None else list(arguments))
    signals = (
        signals_of(yaml.safe_load(chosen.config.read_text(encoding="utf-8"))) if chosen.config else [chart.Signal()]
    )
    json.dump(build(signals), sys.stdout, cls=JSONEncoder, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

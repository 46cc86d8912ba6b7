"""What do the panels have in common? The database, the two kinds of question, and the look: colours, words, shapes."""

# ruff: noqa: FBT003 - the SDK's builders take a lone boolean

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AGO",
    "BLUE",
    "DATABASE",
    "FILLED",
    "GREEN",
    "GREY",
    "NO_LEGEND",
    "ORANGE",
    "PRIORITIES",
    "PURPLE",
    "QUALITIES",
    "QUIET_MS",
    "RED",
    "STATES",
    "WELL",
    "YELLOW",
    "Events",
    "Query",
    "color",
    "custom",
    "fixed",
    "grid",
    "legend",
    "lines",
    "mapped",
    "named",
    "option",
    "steps",
    "texts",
    "tile",
    "timeline",
]

DATABASE = dm.DataSourceRef(type_val="influxdb", uid="givre")
"""The uid of provisioning/datasources/givre.yaml: fixed, because a provisioned dashboard has nobody to ask for one."""

RED, ORANGE, YELLOW, GREEN, BLUE, PURPLE, GREY = "red", "orange", "yellow", "green", "blue", "purple", "#8e8e8e"
STATES = {
    "unacknowledged": ("unacknowledged", RED),
    "acknowledged": ("acknowledged", ORANGE),
    "returned_unacknowledged": ("over, unacknowledged", YELLOW),
    "normal": ("normal", GREEN),
}
PRIORITIES = {
    "critical": ("critical", "dark-red"),
    "high": ("high", RED),
    "medium": ("medium", ORANGE),
    "low": ("low", YELLOW),
}
QUALITIES = {"0": ("good", GREEN), "1": ("uncertain", YELLOW), "2": ("bad", RED)}
WELL = {"1": ("well", GREEN), "0": ("not well", RED)}

QUIET_MS = 600_000
"""A tag reports by exception, so a quiet stretch is no hole; after so long it is drawn as one."""


class Query(Builder[Dataquery], Dataquery):
    """One InfluxQL statement, answered as series or, with `rows`, as one table; the SDK has no type for it."""

    def __init__(self, ref: str, text: str, *, alias: str = "$col", rows: bool = False) -> None:
        self._json: dict[str, object] = {"refId": ref, "datasource": DATABASE, "query": text, "rawQuery": True}
        self._json |= {"resultFormat": "table"} if rows else {"resultFormat": "time_series", "alias": alias}

    def build(self) -> Dataquery:
        """The statement as it stands."""
        return self

    def to_json(self) -> dict[str, object]:
        """What Grafana's InfluxDB plugin reads."""
        return self._json


class Events(Builder[dm.AnnotationTarget], dm.AnnotationTarget):
    """One InfluxQL statement whose rows are marks on the time axis."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def build(self) -> dm.AnnotationTarget:
        """The statement as it stands."""
        return self

    def to_json(self) -> dict[str, object]:
        """What Grafana's InfluxDB plugin reads."""
        return {
            "refId": "Anno",
            "datasource": DATABASE,
            "fromAnnotations": True,
            "rawQuery": True,
            "resultFormat": "table",
            "query": self._text,
            "textColumn": "text",
            "tagsColumn": "priority,rule",
        }


def tile(title: str, description: str, *, nothing: str) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .unit("none")
        .no_value(nothing)
        .reduce_options(c.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_scheme(d.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS))
        .color_mode(cm.BigValueColorMode.BACKGROUND)
        .graph_mode(cm.BigValueGraphMode.NONE)
    )


def grid(title: str, description: str) -> table.Panel:
    return table.Panel().title(title).description(description).unit("none").show_header(True)


def lines(title: str, description: str) -> timeseries.Panel:
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .line_width(1)
        .fill_opacity(0)
        .show_points(cm.VisibilityMode.AUTO)
        .insert_nulls(QUIET_MS)
        .legend(legend())
        .tooltip(c.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
    )


def timeline(title: str, description: str) -> statetimeline.Panel:
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .unit("none")
        .merge_values(True)
        .show_value(cm.VisibilityMode.AUTO)
        .row_height(0.8)
        .legend(legend())
    )


def legend() -> c.VizLegendOptions:
    return (
        c.VizLegendOptions()
        .display_mode(cm.LegendDisplayMode.LIST)
        .placement(cm.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def fixed(hue: str) -> d.FieldColor:
    return d.FieldColor().mode(dm.FieldColorModeId.FIXED).fixed_color(hue)


def steps(*pairs: tuple[float | None, str]) -> d.ThresholdsConfig:
    return d.ThresholdsConfig().mode(dm.ThresholdsMode.ABSOLUTE).steps([dm.Threshold(v, hue) for v, hue in pairs])


def texts(words: Mapping[str, tuple[str, str]]) -> dm.ValueMap:
    return dm.ValueMap(
        {v: dm.ValueMappingResult(text, hue, index=i) for i, (v, (text, hue)) in enumerate(words.items())}
    )


def option(name: str, value: object) -> dm.DynamicConfigValue:
    return dm.DynamicConfigValue(name, value)


def custom(name: str, value: object) -> dm.DynamicConfigValue:
    return option(f"custom.{name}", value)


def color(hue: str) -> dm.DynamicConfigValue:
    return option("color", fixed(hue).build())


def named(name: str) -> dm.DynamicConfigValue:
    return option("displayName", name)


def mapped(words: Mapping[str, tuple[str, str]]) -> dm.DynamicConfigValue:
    return option("mappings", [texts(words)])


AGO = [option("unit", "dateTimeFromNow"), custom("width", 130)]
FILLED = custom("cellOptions", {"type": "color-background", "mode": "basic"})
NO_LEGEND = {"legend": True, "tooltip": False, "viz": False}

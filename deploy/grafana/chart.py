"""What does each panel show, and how? One function a panel; `statement` has what it asks, `dashboard` where it stands."""

# ruff: noqa: FBT003 - the SDK's builders take a lone boolean

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import statement
import style
from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat, statetimeline, table

__all__ = [
    "Signal",
    "alarm_history",
    "breach_ahead",
    "breach_lines",
    "forecasters",
    "last_reports",
    "overview",
    "panel_skill",
    "panel_weights",
    "parts",
    "parts_timeline",
    "quality_timeline",
    "reports",
    "score_lines",
    "score_timeline",
    "signal",
    "standing_alarms",
]


class Signal(NamedTuple):
    """A panel of one signal: which tag, under what title, in which unit (Grafana's name of it)."""

    where: str = statement.THE_TAGS
    title: str = "$asset / $tag"
    unit: str = "none"
    repeated: bool = True


# --- read from across the room -------------------------------------------------------------------------------------------


def overview() -> list[stat.Panel]:
    """Five numbers."""
    return [
        style.tile(
            "Active alarms", "Alarms of this asset whose condition holds now, whatever the time range.", nothing="0"
        )
        .with_target(style.Query("A", statement.ALARMS_ACTIVE))
        .thresholds(style.steps((None, style.GREEN), (1, style.RED))),
        style.tile(
            "Unacknowledged", "Alarms that nobody has answered yet, those that are over already included.", nothing="0"
        )
        .with_target(style.Query("A", statement.ALARMS_UNANSWERED))
        .thresholds(style.steps((None, style.GREEN), (1, style.ORANGE))),
        style.tile(
            "Parts of Givre not well",
            "Sources, sinks, journal, model: named in the last row of this page.",
            nothing="?",
        )
        .with_target(style.Query("A", statement.PARTS_ILL))
        .thresholds(style.steps((None, style.GREEN), (1, style.RED))),
        style.tile("Newest sample", "By the clock of its source.", nothing="none in a day")
        .with_target(style.Query("A", statement.NEWEST_SAMPLE, rows=True))
        .reduce_options(c.ReduceDataOptions().calcs(["lastNotNull"]).fields("/^Time$/"))
        .unit("dateTimeFromNow")
        .thresholds(style.steps((None, style.BLUE))),
        style.tile("Newest forecast", "When it was made, by whichever forecaster.", nothing="none in a day")
        .with_target(style.Query("A", statement.NEWEST_FORECAST))
        .unit("dateTimeFromNow")
        .thresholds(style.steps((None, style.BLUE))),
    ]


def standing_alarms() -> table.Panel:
    """What an operator must answer."""
    return (
        style.grid("Standing alarms", "Every alarm of this asset that is not normal now, whatever the time range.")
        .with_target(style.Query("A", statement.ALARMS_STANDING, rows=True))
        .no_value("no alarm stands")
        .override_by_name("Time", [*style.AGO, style.named("changed")])
        .override_by_name("priority", [style.mapped(style.PRIORITIES), style.FILLED, style.custom("width", 90)])
        .override_by_name("state", [style.mapped(style.STATES), style.FILLED, style.custom("width", 180)])
        .override_by_regexp("/^(tag|rule)$/", [style.custom("width", 130)])
        .override_by_name("score", [style.option("decimals", 2), style.custom("width", 70)])
        .sort_by([c.TableSortByFieldState().display_name("changed").desc(True)])
    )


def breach_ahead() -> table.Panel:
    """Which tag is about to leave its band, and when."""
    likely = style.steps((None, style.GREEN), (0.5, style.YELLOW), (0.8, style.RED)).build()
    gauge = {"type": "gauge", "mode": "gradient", "valueDisplayMode": "text"}
    return (
        style.grid(
            "Breach ahead",
            "How likely each tag leaves its tolerance band within the horizon of the forecast, and in how long.",
        )
        .with_target(style.Query("A", statement.BREACH_AHEAD, rows=True))
        .no_value("no breach rule has been judged for 15 min")
        .override_by_name("Time", [*style.AGO, style.named("judged")])
        .override_by_name(
            "probability",
            [
                style.option("unit", "percentunit"),
                style.option("min", 0),
                style.option("max", 1),
                style.option("thresholds", likely),
                style.custom("cellOptions", gauge),
            ],
        )
        .override_by_name(
            "lead_s",
            [style.named("in"), style.option("unit", "s"), style.option("decimals", 0), style.custom("width", 80)],
        )
        .sort_by([c.TableSortByFieldState().display_name("probability").desc(True)])
    )


# --- one signal ----------------------------------------------------------------------------------------------------------


def signal(about: Signal) -> timeseries.Panel:
    """The value, what was and is expected of it, and the band it must stay in."""
    panel = (
        timeseries.Panel()
        .title(about.title)
        .description(
            "Thick line: measured. Blue: what had been expected one step before. Purple: the newest forecast. "
            "Inner band: half of what may come; outer band: 90 %. Dashed red: the tolerance band; dotted green: its setpoint."
        )
        .unit(about.unit)
        .with_target(style.Query("limits", statement.tolerance(about.where)))
        .with_target(style.Query("past", statement.forecast_past(about.where)))
        .with_target(style.Query("ahead", statement.forecast_ahead(about.where), rows=True))
        .with_target(style.Query("value", statement.measured(about.where)))
        # One row per lead, and leads are sorted as text: a line needs them in the order of time.
        .with_transformation(
            dm.DataTransformerConfig(
                id_val="sortBy",
                filter_val=dm.MatcherConfig(id_val="byRefId", options="ahead"),
                options={"fields": {}, "sort": [{"field": "Time"}]},
            )
        )
        .color_scheme(style.fixed(style.GREY))
        .line_width(1)
        .fill_opacity(0)
        .show_points(cm.VisibilityMode.NEVER)
        .insert_nulls(style.QUIET_MS)
        .legend(style.legend())
        .tooltip(c.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI))
        .override_by_name(
            "measured",
            [style.color("text"), style.custom("lineWidth", 2), style.custom("lineInterpolation", "stepAfter")],
        )
        .override_by_name(
            "setpoint", [style.color(style.GREEN), style.custom("lineStyle", {"fill": "dot", "dash": [2, 8]})]
        )
        .override_by_regexp(
            "/ limit$/", [style.color(style.RED), style.custom("lineStyle", {"fill": "dash", "dash": [8, 6]})]
        )
        .override_by_regexp(
            "/ q(05|25|75|95)$/", [style.custom("lineWidth", 0), style.custom("hideFrom", style.NO_LEGEND)]
        )
    )
    for what, hue in (("expected", style.BLUE), ("forecast", style.PURPLE)):
        panel.override_by_regexp(f"/^{what} q/", [style.color(hue)])
        panel.override_by_name(f"{what} q50", [style.named(f"{what} (median)")])
        panel.override_by_name(
            f"{what} q95", [style.custom("fillBelowTo", f"{what} q05"), style.custom("fillOpacity", 12)]
        )
        panel.override_by_name(
            f"{what} q75", [style.custom("fillBelowTo", f"{what} q25"), style.custom("fillOpacity", 25)]
        )
    if about.repeated:
        panel.repeat("tag").repeat_direction("v")
    return panel


# --- judgement -----------------------------------------------------------------------------------------------------------


def score_timeline() -> statetimeline.Panel:
    """Where and when something was out of the expected, over all tags and rules at once."""
    return (
        style.timeline(
            "Worst score of each rule",
            "Green: as expected. Yellow: near the edge of what is allowed. Red: a violation.",
        )
        .with_target(style.Query("A", statement.SCORES, alias="$tag_tag: $tag_rule"))
        .decimals(2)
        .show_value(cm.VisibilityMode.NEVER)
        .color_scheme(d.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS))
        .thresholds(style.steps((None, style.GREEN), (0.8, style.YELLOW), (1, style.RED)))
    )


def score_lines() -> timeseries.Panel:
    """The same scores as lines, to see them grow."""
    return (
        style.lines(
            "Scores", "0 is as expected; a line above 1 is a violation, and the alarm comes after its on-delay."
        )
        .with_target(style.Query("A", statement.SCORES, alias="$tag_tag: $tag_rule"))
        .unit("none")
        .axis_soft_min(0)
        .axis_soft_max(1.2)
        .thresholds(style.steps((None, "transparent"), (1, style.RED)))
        .thresholds_style(c.GraphThresholdsStyleConfig().mode(cm.GraphTresholdsStyleMode.DASHED))
    )


def breach_lines() -> timeseries.Panel:
    """How the probability of a breach, and the time until it, have moved."""
    points = [style.custom("drawStyle", "points"), style.custom("showPoints", "always"), style.custom("pointSize", 6)]
    seconds = [style.option("unit", "s"), style.option("min", 0), style.option("max", None)]
    right = [style.custom("axisPlacement", "right")]
    return (
        style.lines(
            "Probability of a breach, and lead time", "Points, on the right axis: the time until the band is left."
        )
        .with_target(style.Query("A", statement.BREACH_PROBABILITY, alias="$tag_tag: probability"))
        .with_target(style.Query("B", statement.BREACH_LEAD, alias="$tag_tag: lead time"))
        .unit("percentunit")
        .min(0)
        .max(1)
        .override_by_regexp("/: lead time$/", [*seconds, *right, *points])
    )


def alarm_history() -> table.Panel:
    """Every transition of every alarm in the time range."""
    return (
        style.grid(
            "Transitions of alarms",
            "The newest 500 in the time range; the sequence counts the transitions of each alarm.",
        )
        .with_target(style.Query("A", statement.ALARM_HISTORY, rows=True))
        .no_value("no alarm changed in this time")
        .override_by_name("Time", [style.option("unit", "dateTimeAsIso"), style.custom("width", 180)])
        .override_by_name("priority", [style.mapped(style.PRIORITIES), style.FILLED, style.custom("width", 90)])
        .override_by_name("state", [style.mapped(style.STATES), style.FILLED, style.custom("width", 180)])
        .override_by_regexp("/^(tag|rule)$/", [style.custom("width", 130)])
        .override_by_name("score", [style.option("decimals", 2), style.custom("width", 70)])
        .override_by_name("sequence", [style.option("decimals", 0), style.custom("width", 90)])
    )


# --- data and Givre itself -----------------------------------------------------------------------------------------------


def quality_timeline() -> statetimeline.Panel:
    """How far the signals could be trusted."""
    return (
        style.timeline(
            "Quality of the signals", "The worst report in each interval. A Bad report is a gap, never a value."
        )
        .with_target(style.Query("A", statement.QUALITY, alias="$tag_tag"))
        .mappings([style.texts(style.QUALITIES)])
    )


def reports() -> timeseries.Panel:
    """Whether the sources still speak."""
    return (
        style.lines(
            "Reports per minute",
            "Tags report by exception: few are normal; none for longer than the tag's hold_s is stale.",
        )
        .with_target(style.Query("A", statement.REPORTS, alias="$tag_tag"))
        .unit("cpm")
        .min(0)
    )


def last_reports() -> table.Panel:
    """The newest report of each tag, with the reason where it was not good."""
    return (
        style.grid("Last report of each tag", "By the clock of its source, within a day. No value: the report was Bad.")
        .with_target(style.Query("A", statement.LAST_REPORTS, rows=True))
        .no_value("no report in a day")
        .override_by_name("Time", [*style.AGO, style.named("reported")])
        .override_by_name("tag", [style.custom("width", 200)])
        .override_by_name("quality", [style.mapped(style.QUALITIES), style.FILLED, style.custom("width", 110)])
    )


def parts() -> table.Panel:
    """How each part of Givre is doing, in its own words."""
    return (
        style.grid(
            "Parts of Givre", "Sources, sinks, journal, model and the service: the last that each one said of itself."
        )
        .with_target(style.Query("A", statement.PARTS, rows=True))
        .no_value("Givre has not written here in 30 days")
        .override_by_name("Time", [*style.AGO, style.named("since")])
        .override_by_name("subject", [style.custom("width", 150)])
        .override_by_name("ok", [style.mapped(style.WELL), style.FILLED, style.custom("width", 90)])
    )


def panel_weights() -> timeseries.Panel:
    """Which forecaster is believed, tag by tag."""
    return (
        style.lines(
            "Whom the panel believes",
            "The weight of each forecaster in the forecast of the next step: it grows with each value that it foretold well.",
        )
        .with_target(style.Query("A", statement.PANEL_WEIGHTS, alias="$tag_tag: $col"))
        .unit("percentunit")
        .min(0)
        .max(1)
        .no_value("no value judged yet")
    )


def panel_skill() -> timeseries.Panel:
    """How well it does."""
    return (
        style.lines(
            "Skill and coverage of the panel",
            "Skill: above 0 the forecast of the next step is better than the last value, 1 is perfect. Coverage: the share of "
            "values in the 80 % band, which should be 80 %.",
        )
        .with_target(style.Query("A", statement.PANEL_SKILL, alias="$tag_tag: skill"))
        .with_target(style.Query("B", statement.PANEL_COVERAGE, alias="$tag_tag: coverage"))
        .unit("percentunit")
        .no_value("no value judged yet")
        .thresholds(style.steps((None, "transparent"), (0.8, style.GREEN)))
        .thresholds_style(c.GraphThresholdsStyleConfig().mode(cm.GraphTresholdsStyleMode.DASHED))
    )


def forecasters() -> table.Panel:
    """Who forecasts: the panel, or the fallback that stands in for it; and the language model for itself."""
    return (
        style.grid(
            "Who forecasts",
            "Each forecaster that spoke of a tag in the last hour: while the panel is away, persistence does.",
        )
        .with_target(style.Query("A", statement.FORECASTERS, rows=True))
        .no_value("no forecast in an hour")
        .override_by_name("Time", [*style.AGO, style.named("speaks of")])
        .override_by_name("made", style.AGO)
        .sort_by([c.TableSortByFieldState().display_name("tag").desc(False)])
    )


def parts_timeline() -> statetimeline.Panel:
    """When each part was away."""
    return (
        style.timeline(
            "Parts of Givre over time",
            "A part speaks when something changes: blank until its first word in the time range.",
        )
        .with_target(style.Query("A", statement.PARTS_OVER_TIME, alias="$tag_subject"))
        .mappings([style.texts(style.WELL)])
    )

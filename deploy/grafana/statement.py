"""What is asked of the database? Every InfluxQL statement of the dashboard, over the points of docs/points.md.

InfluxQL because InfluxDB 1, 2 (by a DBRP mapping) and 3 all answer it. ``$timeFilter``, ``$__interval`` and ``${...}`` are
Grafana's. Forecasts of several leads speak of the same moment, and drawing them all would be a tangle. So the past shows what
lead 1 had said of each moment, which is what the value was judged against; the future shows the newest forecast, lead by lead.
"""

# ruff: noqa: S608 - nothing foreign is put into these: the tags' names are checked by the configuration's schema

from __future__ import annotations

__all__ = [
    "ALARMS_ACTIVE",
    "ALARMS_STANDING",
    "ALARMS_UNANSWERED",
    "ALARM_HISTORY",
    "ALARM_OVER",
    "ALARM_RAISED",
    "ASSETS",
    "BREACH_AHEAD",
    "BREACH_LEAD",
    "BREACH_PROBABILITY",
    "FORECASTERS",
    "LAST_REPORTS",
    "LEVELS",
    "NEWEST_FORECAST",
    "NEWEST_SAMPLE",
    "PANEL_COVERAGE",
    "PANEL_SKILL",
    "PANEL_WEIGHTS",
    "PARTS",
    "PARTS_ILL",
    "PARTS_OVER_TIME",
    "QUALITY",
    "REPORTS",
    "SCORES",
    "SITES",
    "TAGS",
    "THE_TAGS",
    "forecast_ahead",
    "forecast_past",
    "measured",
    "tag_is",
    "tolerance",
]

LEVELS = ("q05", "q25", "q50", "q75", "q95")
"""The quantiles that are drawn: the median, and the edges of two bands."""


def _one_line(text: str) -> str:
    return " ".join(text.split())


# The formats are named (raw, regex), so that no version of Grafana guesses how to quote.
_SITE = """"site" = '${site:raw}'"""
_ASSET = f"""{_SITE} AND "asset" = '${{asset:raw}}'"""
THE_TAGS = f'{_ASSET} AND "tag" =~ /^${{tag:regex}}$/'
"""The tags chosen at the top of the page; in a repeated panel, its own."""
_STEPS = "$timeFilter GROUP BY time($__interval)"
_JUDGED = """"forecaster" != 'language'"""
"""Of the forecasts, those that Givre judges by: the panel's, or its stand-in's. The language model's own are there to compare."""


def tag_is(site: str, asset: str, tag: str) -> str:
    """One tag by name; names are checked by the configuration's schema, so that there is nothing to quote."""
    return f""""site" = '{site}' AND "asset" = '{asset}' AND "tag" = '{tag}'"""


# --- the choices at the top of the page ----------------------------------------------------------------------------------

SITES = 'SHOW TAG VALUES FROM "sample" WITH KEY = "site"'
ASSETS = f'SHOW TAG VALUES FROM "sample" WITH KEY = "asset" WHERE {_SITE}'
TAGS = f'SHOW TAG VALUES FROM "sample" WITH KEY = "tag" WHERE {_ASSET}'

# --- one signal ----------------------------------------------------------------------------------------------------------


def measured(where: str) -> str:
    """The value; a Bad report has none."""
    return f'SELECT mean("value") AS "measured" FROM "sample" WHERE {where} AND {_STEPS} fill(none)'


def tolerance(where: str) -> str:
    """The band, carried on to the end of the time range: that is where the forecast is seen to leave it."""
    return _one_line(f"""
        SELECT last("low") AS "low limit", (last("low") + last("high")) / 2 AS "setpoint", last("high") AS "high limit"
        FROM "verdict" WHERE {where} AND "rule" = 'tolerance' AND {_STEPS} fill(previous)
    """)


def forecast_past(where: str) -> str:
    """What the step before had said of each moment."""
    columns = ", ".join(f'mean("{q}") AS "expected {q}"' for q in LEVELS)
    return f'SELECT {columns} FROM "forecast" WHERE {where} AND {_JUDGED} AND "lead" = \'1\' AND {_STEPS} fill(none)'


def forecast_ahead(where: str) -> str:
    """The newest forecast: the last point of each lead that is still to come.

    last() decides which point it is and the other fields come with it, so that all are of one forecast. Grouping by time
    as well would mix in older forecasts, which said something of the same moment from further away.
    """
    columns = ", ".join(['last("q50") AS "forecast q50"', *(f'"{q}" AS "forecast {q}"' for q in LEVELS if q != "q50")])
    return (
        f'SELECT {columns} FROM "forecast" WHERE {where} AND {_JUDGED} AND $timeFilter AND time > now() GROUP BY "lead"'
    )


# --- alarms --------------------------------------------------------------------------------------------------------------

_ALARM_STATES = _one_line(f"""
    SELECT last("sequence") AS "sequence", "active", "state", "priority", "text", "score" FROM "alarm"
    WHERE {_ASSET} AND time > now() - 30d GROUP BY "tag", "rule"
""")
ALARMS_ACTIVE = f'SELECT sum("active") FROM ({_ALARM_STATES})'
ALARMS_UNANSWERED = f"""SELECT count("active") FROM ({_ALARM_STATES}) WHERE "state" =~ /unacknowledged$/"""
ALARMS_STANDING = _one_line(f"""
    SELECT "priority", "state", "tag", "rule", "text", "score" FROM ({_ALARM_STATES}) WHERE "state" != 'normal'
""")
ALARM_HISTORY = _one_line(f"""
    SELECT "priority", "tag", "rule", "state", "text", "score", "sequence" FROM "alarm"
    WHERE {THE_TAGS} AND $timeFilter ORDER BY time DESC LIMIT 500
""")
_EVENT = f'SELECT "text", "priority", "rule" FROM "alarm" WHERE {THE_TAGS}'
ALARM_RAISED = f"""{_EVENT} AND "state" = 'unacknowledged' AND $timeFilter"""
ALARM_OVER = f"""{_EVENT} AND "active" = 0 AND $timeFilter"""

# --- verdicts ------------------------------------------------------------------------------------------------------------

SCORES = f'SELECT max("score") FROM "verdict" WHERE {THE_TAGS} AND {_STEPS}, "tag", "rule" fill(none)'
BREACH_AHEAD = _one_line(f"""
    SELECT last("probability") AS "probability", "lead_s" FROM "verdict"
    WHERE {_ASSET} AND "rule" = 'breach' AND time > now() - 15m GROUP BY "tag"
""")
_BREACH = f"""FROM "verdict" WHERE {THE_TAGS} AND "rule" = 'breach' AND {_STEPS}, "tag" fill(none)"""
BREACH_PROBABILITY = f'SELECT max("probability") {_BREACH}'
BREACH_LEAD = f'SELECT min("lead_s") {_BREACH}'

# --- the panel of forecasters --------------------------------------------------------------------------------------------

_PANEL = f"""FROM "panel" WHERE {THE_TAGS} AND "lead" = '1' AND {_STEPS}, "tag" fill(none)"""
PANEL_WEIGHTS = f"SELECT mean(/^weight_/) {_PANEL}"
PANEL_SKILL = f'SELECT mean("skill") {_PANEL}'
PANEL_COVERAGE = f'SELECT mean("coverage80") {_PANEL}'

# --- data and Givre itself -----------------------------------------------------------------------------------------------

QUALITY = f'SELECT max("quality") FROM "sample" WHERE {THE_TAGS} AND {_STEPS}, "tag" fill(none)'
REPORTS = _one_line(f"""
    SELECT count("quality") FROM "sample" WHERE {THE_TAGS} AND $timeFilter AND time < now() GROUP BY time(1m), "tag" fill(0)
""")
NEWEST_SAMPLE = f'SELECT last("quality") FROM "sample" WHERE {_ASSET} AND time > now() - 1d'
LAST_REPORTS = _one_line(f"""
    SELECT last("quality") AS "quality", "value", "reason" FROM "sample" WHERE {_ASSET} AND time > now() - 1d GROUP BY "tag"
""")
NEWEST_FORECAST = f'SELECT max("made_at") FROM "forecast" WHERE {_ASSET} AND time > now() - 1d'
FORECASTERS = _one_line(f"""
    SELECT last("made_at") AS "made" FROM "forecast"
    WHERE {_ASSET} AND "lead" = '1' AND time > now() - 1h GROUP BY "tag", "forecaster"
""")
_PART_STATES = f'FROM "givre_status" WHERE {_SITE} AND time > now() - 30d GROUP BY "subject"'
PARTS = f'SELECT last("ok") AS "ok", "detail" {_PART_STATES}'
PARTS_ILL = f'SELECT sum("ill") FROM (SELECT 1 - last("ok") AS "ill" {_PART_STATES})'
PARTS_OVER_TIME = f'SELECT last("ok") FROM "givre_status" WHERE {_SITE} AND {_STEPS}, "subject" fill(previous)'

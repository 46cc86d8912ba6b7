"""How did the forecasters do, on one page that a plant's people can read? HTML text with its charts inside, nothing outside.

The page says first what was asked and what was done to the history, then shows both curves over each other, then the figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from detectors.evaluation.chart import Curves, draw_curves, draw_leads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detectors.evaluation.backtest import Run
    from detectors.evaluation.figures import Figures
    from detectors.evaluation.metrics import Accuracy

__all__ = [
    "FIELD",
    "NORMALISED",
    "STUDY",
    "Column",
    "Result",
    "curves",
    "render",
    "render_charts",
    "shown_leads",
    "words",
]

SHOWN_STEPS = 240
"""Steps of the held-out part that are drawn: its last ones."""
_CSS = """
:root{--paper:#fff;--ink:#20272c;--soft:#5c6a74;--line:#dfe4e8;--best:#0b6e4f;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--paper:#14181b;--ink:#e4e8eb;--soft:#9aa7b0;--line:#2d353b;--best:#4fd1a5}}
body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.25rem;margin-top:2.4rem;border-top:1px solid var(--line);padding-top:1rem}
h3{font-size:1rem;margin:1.4rem 0 .3rem}p.soft,li.soft,caption,td.soft{color:var(--soft)}
div.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums;min-width:60%}
caption{caption-side:bottom;text-align:left;padding-top:.3rem;font-size:.82rem;max-width:60rem}
th,td{padding:.22rem .55rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;vertical-align:bottom}th:first-child,td:first-child{text-align:left;min-width:11rem}
td.best{color:var(--best);font-weight:700}svg{width:100%;height:auto;display:block;margin:.4rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{color:var(--soft)}dd{margin:0}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All that was found of one tag: a run and its figures per forecaster, in one order, and what was done to the history."""

    tag: str
    runs: Sequence[Run]
    figures: Sequence[Figures]
    treatments: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A figure of a table; `best` is min, max or a number that the best comes nearest to, None where there is no best."""

    name: str
    of: Callable[[Figures], float]
    best: str | float | None = None


STUDY: tuple[Column, ...] = (
    Column(name="mean", of=lambda f: f.plain.forecast.mean),
    Column(name="median", of=lambda f: f.plain.forecast.median),
    Column(name="std. dev.", of=lambda f: f.plain.forecast.standard_deviation),
    Column(name="variance", of=lambda f: f.plain.forecast.variance),
    Column(name="mean abs. error", of=lambda f: f.plain.error.mean, best="min"),
    Column(name="max.", of=lambda f: f.plain.error.maximum, best="min"),
    Column(name="min.", of=lambda f: f.plain.error.minimum),
    Column(name="% of mean", of=lambda f: f.plain.error_percent, best="min"),
)
"""The study's figures of the forecast series and of its error; the measured series has a row of its own."""

NORMALISED: tuple[Column, ...] = (
    Column(name="mean", of=lambda f: f.normalised.forecast.mean),
    Column(name="median", of=lambda f: f.normalised.forecast.median),
    Column(name="std. dev.", of=lambda f: f.normalised.forecast.standard_deviation),
    Column(name="variance", of=lambda f: f.normalised.forecast.variance),
    Column(name="mean abs. error", of=lambda f: f.normalised.error.mean, best="min"),
    Column(name="max.", of=lambda f: f.normalised.error.maximum, best="min"),
    Column(name="min.", of=lambda f: f.normalised.error.minimum),
)

FIELD: tuple[Column, ...] = (
    Column(name="MASE", of=lambda f: f.overall.mase, best="min"),
    Column(name="pinball", of=lambda f: f.overall.pinball, best="min"),
    Column(name="CRPS", of=lambda f: f.overall.crps, best="min"),
    Column(name="log score", of=lambda f: f.overall.log_score, best="max"),
    Column(name="in 80 %", of=lambda f: 100 * f.overall.coverage80, best=80.0),
    Column(name="in 90 %", of=lambda f: 100 * f.overall.coverage90, best=90.0),
    Column(name="given %", of=lambda f: 100 * f.given / f.asked),
    Column(name="s a forecast", of=lambda f: f.seconds, best="min"),
    Column(name="s to fit", of=lambda f: f.fit_seconds),
    Column(name="peak MB", of=lambda f: f.memory_bytes / 1e6),
)
"""The field's figures, and what they cost."""

_STUDY_NOTE = (
    "Of all forecast medians and the values measured for them; "
    "where origins overlap, a value counts once per forecast of it."
)
_NORMALISED_NOTE = "The same on values between 0 (lowest) and 1 (highest of the history before the held-out part)."
_FIELD_NOTE = (
    "MASE: mean absolute error over that of the seasonal naive forecast in the history. Pinball: mean loss over seven quantiles. "
    "CRPS: from the quantiles. Log score: mean log probability of a thousandth of the history's range around the measured value. "
    "In 80 %: % of the values within that band. Seconds are per tag and forecast; "
    "peak MB is memory above what was in use before the call."
)


def render(title: str, results: Sequence[Result], *, facts: Sequence[tuple[str, str]], left_out: Sequence[str]) -> str:
    """The page; `facts` are what was asked for, `left_out` sentences on tags and forecasters that are not in it."""
    asked = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    missing = f"<h3>Left out</h3>{_sentences(left_out)}" if left_out else ""
    body = "".join(map(_section, results))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_CSS}</style></head><body><h1>{escape(title)}</h1><dl>{asked}</dl>{missing}{body}</body></html>\n"
    )


def render_charts(result: Result, *, columns: int = 1, title: str = "") -> str:
    """Both curves over each other, one picture per forecaster, the best first, as one SVG."""
    order = sorted(range(len(result.runs)), key=lambda i: _or_last(result.figures[i].overall.pinball))
    pictures = [curves(result.runs[i], result.figures[i], colour=i % 10) for i in order]
    return draw_curves(pictures, columns=columns, title=title, height=220 if columns == 1 else 190)


def curves(run: Run, figures: Figures, *, colour: int = 0) -> Curves:
    """The last steps of the held-out part, each from the latest forecast of a chain that begins anew once a horizon is over."""
    horizon = run.quantiles.shape[1]
    chain = [run.origins[-1]]
    places = {origin: i for i, origin in enumerate(run.origins)}
    for origin in reversed(run.origins):
        if chain[-1] - origin >= horizon and run.origins[-1] + horizon - origin <= SHOWN_STEPS:
            chain.append(origin)
    first, end = chain[-1] + 1, run.origins[-1] + horizon + 1
    quantiles = np.full((end - first, run.quantiles.shape[2]), np.nan)
    for origin in chain:
        quantiles[origin + 1 - first : origin + 1 - first + horizon] = run.quantiles[places[origin]]
    series = run.series
    before = max(first - max(12, (end - first) // 3), 0)

    def moments(start: int, stop: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return series.at(start).timestamp() + series.period_s * np.arange(stop - start, dtype=np.float64)

    return Curves(
        title=run.forecaster,
        note=f"MAE {words(figures.plain.error.mean)} · {figures.overall.coverage80:.0%} in 80 % band"
        if figures.given
        else "no forecast",
        moments_s=moments(first, end),
        measured=series.values[first:end],
        quantiles=quantiles,
        colour=colour,
        past_s=moments(before, first + 1),
        past=series.values[before : first + 1],
        cuts_s=tuple(series.at(origin + 1).timestamp() for origin in chain) if len(chain) <= 25 else (),
    )


def shown_leads(horizon: int) -> list[int]:
    """The leads of a table, rising: the first few, then ever fewer, and the last."""
    return sorted({lead for lead in (1, 2, 3, 6, 12, 24, 48, 96) if lead < horizon} | {horizon})


def words(value: float) -> str:
    """A figure with four digits that matter; a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    if value and not 1e-3 <= abs(value) < 1e10:
        return f"{value:.3g}"
    decimals = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{decimals}f}"


def _section(result: Result) -> str:
    horizon = result.runs[0].quantiles.shape[1]
    named = [(f.forecaster, [lead.mean_absolute_error for lead in f.leads]) for f in result.figures]
    told = result.treatments or ("The history was on a regular grid and complete: nothing was done to it.",)
    parts = [
        f"<h2>{escape(result.tag)}</h2><h3>What was done to the history, and what is doubtful in it</h3>{_sentences(told)}",
        "<h3>Measured (without colour) and forecast, with the bands that should hold 80 % and 90 %</h3>",
        '<p class="soft">A dashed line is where a forecast begins; the best by pinball loss comes first.</p>',
        render_charts(result),
    ]
    if horizon > 1:
        parts.append(draw_leads(named, ylabel="Mean absolute error by steps ahead"))
    measured = next((f for f in result.figures if f.given), result.figures[0])
    parts += [
        "<h3>Figures of the study</h3>",
        _table(result.figures, STUDY, _STUDY_NOTE, truth=_truth(measured, normalised=False)),
        "<h3>Figures of the study, on normalised values</h3>",
        _table(result.figures, NORMALISED, _NORMALISED_NOTE, truth=_truth(measured, normalised=True)),
        "<h3>Figures of the field</h3>",
        _table(result.figures, FIELD, _FIELD_NOTE),
    ]
    if horizon > 1:
        parts.append("<h3>By steps ahead</h3>")
        for name, of, best in _BY_LEAD:
            parts.append(_table(result.figures, _lead_columns(horizon, of, best), corner=name))
    return "".join(parts)


_BY_LEAD: tuple[tuple[str, Callable[[Accuracy], float], str | float], ...] = (
    ("Mean absolute error", lambda a: a.mean_absolute_error, "min"),
    ("MASE", lambda a: a.mase, "min"),
    ("Pinball loss", lambda a: a.pinball, "min"),
    ("CRPS", lambda a: a.crps, "min"),
    ("Log score", lambda a: a.log_score, "max"),
    ("% of values in the 80 % band", lambda a: 100 * a.coverage80, 80.0),
    ("% of values in the 90 % band", lambda a: 100 * a.coverage90, 90.0),
)


def _lead_columns(horizon: int, of: Callable[[Accuracy], float], best: str | float) -> tuple[Column, ...]:
    def at(lead: int) -> Callable[[Figures], float]:
        return lambda figures: of(figures.leads[lead - 1])

    return tuple(Column(name=f"+{lead}", of=at(lead), best=best) for lead in shown_leads(horizon))


def _truth(figures: Figures, *, normalised: bool) -> tuple[float, ...]:
    summary = (figures.normalised if normalised else figures.plain).measured
    return (summary.mean, summary.median, summary.standard_deviation, summary.variance)


def _table(
    figures: Sequence[Figures],
    columns: Sequence[Column],
    note: str = "",
    *,
    truth: Sequence[float] = (),
    corner: str = "forecaster",
) -> str:
    head = "".join(f"<th>{escape(column.name)}</th>" for column in columns)
    rows = []
    if truth:
        cells = "".join(f"<td>{words(value)}</td>" for value in truth)
        rows.append(f'<tr><td class="soft">measured</td>{cells}{"<td></td>" * (len(columns) - len(truth))}</tr>')
    best = [_best([column.of(f) for f in figures], column.best) for column in columns]
    mark = ' class="best"'
    caption = f"<caption>{escape(note)}</caption>" if note else ""
    for i, one in enumerate(figures):
        cells = "".join(
            f"<td{mark if i in best[k] else ''}>{words(column.of(one))}</td>" for k, column in enumerate(columns)
        )
        rows.append(f"<tr><td>{escape(one.forecaster)}</td>{cells}</tr>")
    return (
        f'<div class="wide"><table>{caption}<thead><tr><th>{escape(corner)}</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _best(values: Sequence[float], rule: str | float | None) -> set[int]:
    """The places of the best; none where there is nothing to choose from."""
    known = {i: v for i, v in enumerate(values) if math.isfinite(v)}
    if rule is None or len(known) < 2:
        return set()
    if isinstance(rule, float):
        known = {i: abs(v - rule) for i, v in known.items()}
    pick = max if rule == "max" else min
    top = pick(known.values())
    return {i for i, v in known.items() if v == top}


def _sentences(told: Sequence[str]) -> str:
    return "<ul>" + "".join(f'<li class="soft">{escape(line)}</li>' for line in told) + "</ul>"


def _or_last(value: float) -> float:
    return value if math.isfinite(value) else math.inf

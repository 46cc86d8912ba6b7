"""What does a forecast look like beside what happened? Charts as SVG text, without any other file.

Each chart carries its own colours, light and dark, so that it stands alone as a file and inside a page. Lines have gaps
where nothing was measured or forecast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["STYLE", "Curves", "draw_curves", "draw_leads"]

WIDTH = 920
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 30, 24
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b58900", "#56b4e9", "#882255", "#6b6b6b", "#117733", "#cc6677")
DARK = ("#5fb4ea", "#ff8c42", "#3fd0a4", "#dd88cc", "#e6c229", "#9ad4f5", "#e06c9f", "#b0b0b0", "#62c46e", "#f2a0ac")
_LINES = "".join(f".givre .s{i}{{stroke:{c}}}.givre .f{i}{{fill:{c}}}" for i, c in enumerate(COLOURS))
_DARK_LINES = "".join(f".givre .s{i}{{stroke:{c}}}.givre .f{i}{{fill:{c}}}" for i, c in enumerate(DARK))
STYLE = (
    ".givre{font:12px system-ui,'DejaVu Sans',sans-serif}"
    ".givre .paper{fill:#ffffff}.givre text{fill:#333a40}.givre .title{font-weight:600;font-size:13px}"
    ".givre .grid{stroke:#e3e7ea;stroke-width:1}.givre .cut{stroke:#8a949c;stroke-dasharray:3 3}"
    ".givre path{fill:none;stroke-width:1.6;stroke-linejoin:round}"
    ".givre .truth{stroke:#1d2327;stroke-width:1.4}"
    ".givre .wide{stroke:none;opacity:.16}.givre .narrow{stroke:none;opacity:.26}" + _LINES + "@media "
    "(prefers-color-scheme:dark){.givre .paper{fill:#14181b}.givre text{fill:#d5dbe0}.givre .grid{stroke:#2b3237}"
    ".givre .truth{stroke:#f2f4f5}.givre .wide{opacity:.22}.givre .narrow{opacity:.32}" + _DARK_LINES + "}"
)
_TIME_STEPS_S = (1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600)
_DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curves:
    """One picture: `measured` and `quantiles` (steps, 7), each with the moments in Unix seconds at which they stand.

    `past_s` and `past` may lead up to it; `cuts_s` are the moments at which a new forecast begins.
    """

    title: str
    note: str
    moments_s: Array
    measured: Array
    quantiles: Array
    colour: int = 0
    past_s: Array | None = None
    past: Array | None = None
    cuts_s: tuple[float, ...] = ()


def draw_curves(pictures: Sequence[Curves], *, height: int = 220, columns: int = 1, title: str = "") -> str:
    """The pictures as small multiples with one value axis for all, so that eyes can compare them."""
    head = 34 if title else 0
    width = WIDTH / columns
    rows = math.ceil(len(pictures) / columns)
    low, high = _value_range(pictures)
    parts = [f'<text x="{LEFT}" y="22" class="title" font-size="15">{escape(title)}</text>'] if title else []
    for i, picture in enumerate(pictures):
        x, y = (i % columns) * width, head + (i // columns) * height
        area = _Area(x + LEFT, x + width - RIGHT, y + height - BOTTOM, y + TOP, *_times(picture), low, high)
        parts.extend(_picture(picture, area))
    return _svg(parts, head + rows * height, title or "measured and forecast")


def draw_leads(named: Sequence[tuple[str, Sequence[float]]], *, ylabel: str, height: int = 280) -> str:
    """One line per forecaster over the steps ahead."""
    count = max((len(line) for _, line in named), default=1)
    values = np.array([v for _, line in named for v in line if math.isfinite(v)] or [0.0, 1.0])
    area = _Area(LEFT, WIDTH - 150, height - BOTTOM - 14, TOP, 1, max(count, 2), 0.0, float(values.max()) * 1.05 or 1.0)
    parts = [f'<text x="{LEFT}" y="18" class="title">{escape(ylabel)}</text>', *_value_grid(area)]
    step = max(1, round(_nice(count / 12)))
    for lead in sorted({1, *range(step, count + 1, step)}):
        parts.append(f'<text x="{area.x(lead):.1f}" y="{area.bottom + 16}" text-anchor="middle">{lead}</text>')
    parts.append(f'<text x="{area.right:.0f}" y="{area.bottom + 32}" text-anchor="end">steps ahead</text>')
    ends = []
    for i, (name, line) in enumerate(named):
        colour = i % len(COLOURS)
        heights = np.array(line, dtype=np.float64)
        parts.append(f'<path class="s{colour}" d="{_path(area, np.arange(1.0, len(line) + 1), heights)}"/>')
        known = heights[np.isfinite(heights)]
        if len(known):
            ends.append((area.y(float(known[-1])), colour, name))
            if len(line) == 1:
                parts.append(f'<circle class="f{colour}" cx="{area.x(1):.1f}" cy="{ends[-1][0]:.1f}" r="4"/>')
    for y, colour, name in _spread(ends, area):
        parts.append(f'<text class="f{colour}" x="{area.right + 8:.1f}" y="{y + 4:.1f}">{escape(name)}</text>')
    return _svg(parts, height, ylabel)


@dataclass(frozen=True, slots=True)
class _Area:
    """Where a chart's axes lie on the paper, and what they span."""

    left: float
    right: float
    bottom: float
    top: float
    first: float
    last: float
    low: float
    high: float

    def x(self, moment: float) -> float:
        return self.left + (moment - self.first) / (self.last - self.first) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)


def _picture(picture: Curves, area: _Area) -> Iterator[str]:
    yield f'<text x="{area.left:.0f}" y="{area.top - 10:.0f}" class="title">{escape(picture.title)}</text>'
    yield f'<text x="{area.right:.0f}" y="{area.top - 10:.0f}" text-anchor="end">{escape(picture.note)}</text>'
    yield from _value_grid(area)
    yield from _time_grid(area)
    for cut in picture.cuts_s:
        yield f'<line class="cut" x1="{area.x(cut):.1f}" x2="{area.x(cut):.1f}" y1="{area.top}" y2="{area.bottom}"/>'
    for kind, low, high in (("wide", 0, 6), ("narrow", 1, 5)):
        band = _band(area, picture.moments_s, picture.quantiles[:, low], picture.quantiles[:, high])
        yield f'<path class="{kind} f{picture.colour}" d="{band}"/>'
    if picture.past is not None and picture.past_s is not None:
        yield f'<path class="truth" d="{_path(area, picture.past_s, picture.past)}"/>'
    yield f'<path class="truth" d="{_path(area, picture.moments_s, picture.measured)}"/>'
    yield f'<path class="s{picture.colour}" d="{_path(area, picture.moments_s, picture.quantiles[:, 3])}"/>'


def _times(picture: Curves) -> tuple[float, float]:
    first = picture.past_s[0] if picture.past_s is not None and len(picture.past_s) else picture.moments_s[0]
    last = picture.moments_s[-1]
    return float(first), float(last) if last > first else float(first) + 1.0


def _value_range(pictures: Sequence[Curves]) -> tuple[float, float]:
    """What was measured and the medians, with some room; a band that leaves it far behind is cut, not the rest squeezed."""
    shown = [np.concatenate([p.measured, p.quantiles[:, 3], p.past if p.past is not None else []]) for p in pictures]
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    truth = np.concatenate([p.measured for p in pictures])
    truth = truth[np.isfinite(truth)] if np.isfinite(truth).any() else values
    span = float(truth.max() - truth.min()) or abs(float(truth[0])) * 0.1 or 1.0
    low = max(float(values.min()), float(truth.min()) - 2 * span)
    high = min(float(values.max()), float(truth.max()) + 2 * span)
    return low - 0.15 * span, high + 0.15 * span


def _value_grid(area: _Area) -> Iterator[str]:
    step = _nice((area.high - area.low) / 5)
    tick = math.ceil(area.low / step) * step
    while tick <= area.high:
        y = area.y(tick)
        yield f'<line class="grid" x1="{area.left:.0f}" x2="{area.right:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{area.left - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{_number(tick, step)}</text>'
        tick += step


def _time_grid(area: _Area) -> Iterator[str]:
    wanted = (area.last - area.first) / max(2, (area.right - area.left) / 110)
    step = next((s for s in _TIME_STEPS_S if s >= wanted), None)
    if step is not None:
        first = math.ceil(area.first / step) * step
        moments = [first + i * step for i in range(int((area.last - first) // step) + 1)]
    else:
        months = max(1, round(wanted / (30 * _DAY_S)))
        start = _moment(area.first)
        count = (_moment(area.last).year - start.year + 1) * 12
        begins = [
            datetime(start.year + m // 12, m % 12 + 1, 1, tzinfo=UTC).timestamp()
            for m in range(0, count, min(months, 12))
        ]
        moments = [int(b) for b in begins if area.first <= b <= area.last]
    for moment in moments:
        x = area.x(moment)
        words = _moment(moment).strftime("%d %b" if step and step >= _DAY_S else "%d %b %H:%M" if step else "%b %Y")
        anchor = "middle" if x - area.left > 30 else "start"
        anchor = "end" if area.right - x < 24 else anchor
        yield f'<text x="{x:.1f}" y="{area.bottom + 16:.0f}" text-anchor="{anchor}">{words}</text>'


def _path(area: _Area, moments: Array, values: Array) -> str:
    out, pen_up = [], True
    for moment, value in zip(moments.tolist(), values.tolist(), strict=True):
        if not math.isfinite(value):
            pen_up = True
            continue
        y = min(max(area.y(value), area.top - 4), area.bottom + 4)
        out.append(f"{'M' if pen_up else 'L'}{area.x(moment):.1f} {y:.1f}")
        pen_up = False
    return "".join(out)


def _band(area: _Area, moments: Array, low: Array, high: Array) -> str:
    """The area between two lines; at holes it ends and begins anew."""
    known = np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], known.astype(np.int8), [0]))))
    out = []
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        there = _path(area, moments[first:end], low[first:end])
        back = _path(area, moments[first:end][::-1], high[first:end][::-1])
        out.append(f"{there}L{back[1:]}Z")
    return "".join(out)


def _spread(ends: Sequence[tuple[float, int, str]], area: _Area) -> list[tuple[float, int, str]]:
    """Labels at the ends of their lines, moved apart where they would cover each other."""
    placed: list[tuple[float, int, str]] = []
    for y, colour, name in sorted(ends):
        placed.append((max(y, placed[-1][0] + 14) if placed else y, colour, name))
    below = placed[-1][0] - area.bottom - 10 if placed else 0
    return [(y - below if below > 0 else y, colour, name) for y, colour, name in placed]


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="givre" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}"><style>{STYLE}</style><rect class="paper" width="{WIDTH}" height="{height:.0f}"/>'
        + "".join(parts)
        + "</svg>"
    )


def _nice(step: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if not step > 0 or not math.isfinite(step):
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * size for size in (1, 2, 5, 10) if power * size >= step * (1 - 1e-9))


def _number(value: float, step: float) -> str:
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}" if abs(value) < 1e7 and decimals < 7 else f"{value:.3g}"


def _moment(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)

"""What does a person at the terminal see? Tags with their forecast band, alarms, and how Givre itself is doing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from detectors.records import LEVELS, AlarmState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import RenderableType

    from detectors.alarm import Alarm
    from detectors.records import Forecast, Sample, Standing
    from stream.clock import Clock
    from stream.pipeline import Pipeline

__all__ = ["TagFace", "View"]

_BARS = "▁▂▃▄▅▆▇█"
_SPARK_STEPS = 12
_ALERTS_SHOWN = 5
_LOW, _MEDIAN, _HIGH = LEVELS.index(0.05), LEVELS.index(0.5), LEVELS.index(0.95)
_STATE_STYLE = {
    AlarmState.UNACKNOWLEDGED: "bold white on red",
    AlarmState.ACKNOWLEDGED: "red",
    AlarmState.RETURNED_UNACKNOWLEDGED: "yellow",
    AlarmState.NORMAL: "green",
    AlarmState.SHELVED: "cyan",
    AlarmState.SUPPRESSED: "cyan",
    AlarmState.OUT_OF_SERVICE: "cyan",
}
_STATE_WORD = {
    AlarmState.UNACKNOWLEDGED: "ALARM",
    AlarmState.ACKNOWLEDGED: "acknowledged",
    AlarmState.RETURNED_UNACKNOWLEDGED: "returned",
    AlarmState.NORMAL: "normal",
    AlarmState.SHELVED: "shelved",
    AlarmState.SUPPRESSED: "suppressed",
    AlarmState.OUT_OF_SERVICE: "out of service",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFace:
    """How a tag is written: its unit, and the band it must keep, if it has one."""

    unit: str
    low: float | None = None
    high: float | None = None


class View:
    """One screen of the running pipeline; `playing` says what the simulated plant is doing, where there is one."""

    def __init__(
        self, pipeline: Pipeline, *, faces: Mapping[str, TagFace], clock: Clock, playing: Callable[[], str] = lambda: ""
    ) -> None:
        self._pipeline = pipeline
        self._faces = faces
        self._clock = clock
        self._playing = playing

    def __rich__(self) -> RenderableType:
        """The screen as it is now."""
        parts: list[RenderableType] = [self._head(), self._tags(), self._alarms(), self._foot()]
        return Group(*parts)

    def _head(self) -> RenderableType:
        model = self._pipeline.statuses.get("model")
        line = Text.assemble(
            ("Givre ", "bold cyan"),
            f"{self._clock.now():%Y-%m-%d %H:%M:%S} UTC",
            (f"  x{self._clock.speed:g}" if self._clock.speed != 1 else "", "dim"),
        )
        if playing := self._playing():
            line.append("   plant: ")
            line.append(playing, style="bold magenta" if "normal" not in playing else "green")
        said = Text("model: " + (model.detail if model else "starting"), style="" if model and model.ok else "yellow")
        said.truncate(110, overflow="ellipsis")
        pace = self._pipeline.statuses.get("model.pace")
        return Group(line, said, Text(f"pace:  {pace.detail}" if pace else "", style="dim", no_wrap=True))

    def _tags(self) -> RenderableType:
        table = Table(expand=True, box=None, pad_edge=False, header_style="bold", padding=(0, 1))
        table.add_column("tag", no_wrap=True)
        table.add_column("now", justify="right", no_wrap=True)
        table.add_column("allowed", justify="right", no_wrap=True)
        ahead = {f"{f.horizon * f.period_s:g}" for f in self._pipeline.present.forecasts.values()}
        table.add_column(f"5-95 % in {'/'.join(sorted(ahead))} s" if ahead else "5-95 %", justify="right", no_wrap=True)
        table.add_column("last steps | forecast", no_wrap=True)
        table.add_column("believed", no_wrap=True)
        windows = self._pipeline.lane.snapshots()
        assets = {tag.partition("/")[0] for tag in self._faces}
        common = f"{assets.pop()}/" if len(assets) == 1 else ""
        for tag, face in self._faces.items():
            window = windows.get(tag)
            forecast = self._pipeline.present.forecasts.get(tag)
            values = window.values[-_SPARK_STEPS:] if window else ()
            table.add_row(
                tag.removeprefix(common),
                _now(self._pipeline.present.samples.get(tag), face),
                "" if face.low is None or face.high is None else f"{face.low:g} to {face.high:g}",
                _ahead(forecast),
                _spark(values, [row[_MEDIAN] for row in forecast.quantiles] if forecast else []),
                _believed(self._pipeline.present.standings.get(tag)),
            )
        by = ", ".join(sorted({f.forecaster for f in self._pipeline.present.forecasts.values()})) or "nobody yet"
        return Panel(
            table, title=f"{common.strip('/') or 'tags'}: forecasts by {by}", title_align="left", border_style="dim"
        )

    def _alarms(self) -> RenderableType:
        standing = [alarm for alarm in self._pipeline.lane.alarms.values() if alarm.memory.told.active]
        head = Text(
            f"{len(standing)} standing: {_names(standing)}", style="bold red" if standing else "green", no_wrap=True
        )
        recent = Table.grid(padding=(0, 1))
        recent.add_column(style="dim", no_wrap=True)
        recent.add_column(justify="right", no_wrap=True, min_width=12)
        recent.add_column(overflow="fold")
        for alert in reversed(list(self._pipeline.present.alerts)[-_ALERTS_SHOWN:]):
            recent.add_row(
                f"{alert.at:%H:%M:%S}", Text(_STATE_WORD[alert.state], style=_STATE_STYLE[alert.state]), alert.text
            )
        return Panel(
            Group(head, recent), title="alarms", title_align="left", border_style="dim", height=2 * _ALERTS_SHOWN + 3
        )

    def _foot(self) -> RenderableType:
        metrics = self._pipeline.metrics
        line = Text(
            f"samples {metrics.samples}  scored {metrics.scores}  forecasts {metrics.forecasts.total()}  "
            f"verdicts {self._pipeline.lane.verdicts}  "
            f"alarms {metrics.raised} raised, {metrics.cleared} cleared  rejected {sum(metrics.rejected.values())}  "
            f"to verdict {_ms(metrics.to_verdict.quantile(0.99))}  on disk {_ms(metrics.to_journal.quantile(0.99))} (p99)",
            style="dim",
            no_wrap=True,
            overflow="ellipsis",
        )
        troubles = [
            Text(f"{status.subject}: {status.detail}", style="yellow", no_wrap=True, overflow="ellipsis")
            for status in self._pipeline.statuses.values()
            if not status.ok and status.subject not in {"model", "model.pace"}
        ]
        return Group(line, *troubles)


def _now(sample: Sample | None, face: TagFace) -> Text:
    if sample is None:
        return Text("waiting", style="dim")
    if sample.value is None:
        return Text(sample.reason or "bad", style="bold red")
    outside = face.low is not None and face.high is not None and not face.low <= sample.value <= face.high
    return Text(f"{sample.value:.4g} {face.unit}", style="bold red" if outside else "bold")


def _ahead(forecast: Forecast | None) -> str:
    if forecast is None:
        return ""
    last = forecast.quantiles[-1]
    return f"{_short(last[_LOW])} to {_short(last[_HIGH])}"


def _short(value: float) -> str:
    """Three figures, and no exponent where a person would write none."""
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def _believed(standing: Standing | None) -> str:
    """The member of the panel that has the most weight at the next step."""
    if standing is None:
        return ""
    return max(standing.weights, key=lambda member: member[1])[0]


def _spark(past: Sequence[float], future: Sequence[float]) -> Text:
    """Past steps in white and the median forecast in cyan, on one scale; a hole is a dot."""
    finite = [v for v in (*past, *future) if math.isfinite(v)]
    if not finite:
        return Text("")
    low, high = min(finite), max(finite)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0

    def bars(values: Sequence[float]) -> str:
        return "".join(_BARS[round((v - low) * scale)] if math.isfinite(v) else "·" for v in values)

    return Text.assemble(bars(past), ("|", "dim"), (bars(future), "cyan"))


def _names(alarms: Sequence[Alarm]) -> str:
    return ", ".join(alarm.name for alarm in alarms) or "none"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"

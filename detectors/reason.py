"""What does the operator read? One sentence built from facts alone: what, where, since when, expected against found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.records import AlarmState

if TYPE_CHECKING:
    from datetime import datetime

    from detectors.records import Verdict

__all__ = ["sentence"]

_SILENT = {AlarmState.SHELVED: "shelved", AlarmState.OUT_OF_SERVICE: "out of service"}


def sentence(
    *,
    tag: str,
    rule: str,
    state: AlarmState,
    at: datetime,
    since: datetime,
    unit: str,
    verdict: Verdict | None,
    by: str = "",
    previous: AlarmState = AlarmState.NORMAL,
    until: datetime | None = None,
    reason: str = "",
    accepted: bool = False,
) -> str:
    """The sentence of an alert; times are UTC, figures in the tag's unit. `until` and `reason` are those of a silence."""
    asset, _, name = tag.partition("/")
    where = f"source {name}" if asset == "source" else f"{name} of {asset}"
    if state in _SILENT:
        end = "" if until is None else f" until {_clock(until)}"
        why = f" ({reason})" if reason else ""
        return f"{where}: {rule} alarm {_SILENT[state]}, set by {by} at {_clock(at)}{end}{why}."
    if previous in _SILENT:
        if state is AlarmState.UNACKNOWLEDGED:
            return f"{where} {_found(rule, unit, verdict)} since {_clock(since)}; no longer {_SILENT[previous]}."
        who = f" by {by}" if by else ""
        missed = f"; it stood and was over meanwhile, since {_clock(since)}" if state is not AlarmState.NORMAL else ""
        return f"{where}: {rule} alarm no longer {_SILENT[previous]}, ended{who} at {_clock(at)}{missed}."
    if accepted:
        return f"{where}: what the {rule} alarm found was accepted as normal by {by} at {_clock(at)}."
    if by:
        return f"{where}: {rule} alarm acknowledged by {by} at {_clock(at)}."
    if state.active:
        return f"{where} {_found(rule, unit, verdict)} since {_clock(since)}."
    return f"{where}: {rule} alarm over since {_clock(at)}, after {_span((at - since).total_seconds())}{_now(unit, verdict)}."


def _found(rule: str, unit: str, verdict: Verdict | None) -> str:
    if verdict is None:
        return f"violates its {rule} rule"
    band = f"{_figure(verdict.low)} to {_figure(verdict.high, unit)}"
    match rule:
        case "tolerance":
            above = verdict.value is not None and verdict.high is not None and verdict.value > verdict.high
            return f"is {_figure(verdict.value, unit)}, {'above' if above else 'below'} the allowed {band},"
        case "breach":
            lead = "" if verdict.lead_s is None else f", in about {_span(verdict.lead_s)}"
            return (
                f"will leave {band} with a probability of {100 * (verdict.probability or 0):.0f} %{lead}: so expected"
            )
        case "deviation":
            return f"is {_figure(verdict.value, unit)} where {band} was forecast,"
        case "physical":
            return f"shows {_figure(verdict.value, unit)}, which its sensor cannot ({band}): taken as bad"
        case "quality":
            return f"has bad quality ({verdict.detail or 'no reason given'})"
        case "stale":
            return "has not reported for longer than a value may be held,"
        case "low_low" | "low" | "high" | "high_high":
            side = "below" if verdict.high is None else "above"
            limit = verdict.low if verdict.high is None else verdict.high
            return f"is {_figure(verdict.value, unit)}, {side} its {rule} limit {_figure(limit, unit)},"
        case _:
            # Rules that look at more than one figure say themselves what they found.
            return f"{verdict.detail}," if verdict.detail else f"violates its {rule} rule"


def _now(unit: str, verdict: Verdict | None) -> str:
    return "" if verdict is None or verdict.value is None else f"; it is {_figure(verdict.value, unit)} now"


def _figure(value: float | None, unit: str = "") -> str:
    if value is None:
        return "unknown"
    return f"{value:.5g} {unit}".rstrip()


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

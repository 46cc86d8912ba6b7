"""How is an alert told in English?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.reason.told import LONGEST_WORD, SILENT, Found, Told, digits, short, span
from detectors.records import AlarmState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from detectors.facts import Part
    from detectors.records import Verdict

__all__ = ["english"]

_SILENCE = {
    AlarmState.SHELVED: "shelved",
    AlarmState.SUPPRESSED: "suppressed",
    AlarmState.OUT_OF_SERVICE: "out of service",
}
_SURPRISES = {
    "outward": "leaves the forecast bands more often than chance does",
    "upward": "lies higher in the forecast bands than chance would have it",
    "downward": "lies lower in the forecast bands than chance would have it",
}


def english(told: Told) -> str:
    """One sentence in English."""
    where = _where(told.tag)
    since = f"since {_clock(told.since)}"
    who = short(told.by, LONGEST_WORD)
    if told.state is AlarmState.SUPPRESSED:
        instead = f"while {short(told.note, 2 * LONGEST_WORD)} stands" if told.note else "while another alarm stands"
        return f"{where}: {told.rule} alarm suppressed at {_clock(told.at)}, {instead}."
    if told.state in SILENT:
        end = "" if told.until is None else f" until {_clock(told.until)}"
        why = (f" ({short(told.note, LONGEST_WORD)})",) if told.note else ()
        set_by = f"{where}: {told.rule} alarm {_SILENCE[told.state]}, set by {who} at {_clock(told.at)}{end}"
        return Found(set_by, why).before(".")
    if told.previous in SILENT:
        before = _SILENCE[told.previous]
        if told.state is AlarmState.UNACKNOWLEDGED:
            found = _found(told)
            return found._replace(core=f"{where} {found.core}", extras=()).before(
                f"{found.then or ','} {since}; no longer {before}."
            )
        by = f" by {who}" if told.by else ""
        missed = f"; it stood and was over meanwhile, {since}" if told.state is not AlarmState.NORMAL else ""
        return f"{where}: {told.rule} alarm no longer {before}, ended{by} at {_clock(told.at)}{missed}."
    if told.accepted:
        return f"{where}: what the {told.rule} alarm found was accepted as normal by {who} at {_clock(told.at)}."
    if told.by:
        return f"{where}: {told.rule} alarm acknowledged by {who} at {_clock(told.at)}."
    if told.state.active:
        found = _found(told)
        return found._replace(core=f"{where} {found.core}").before(f"{found.then or ','} {since}.")
    value = None if told.verdict is None else told.verdict.value
    now = () if value is None else (f"; it is {_figure(value, told.unit)} now",)
    return Found(f"{where}: {told.rule} alarm over since {_clock(told.at)}, after {_span(told.lasted_s)}", now).before(
        "."
    )


def _found(told: Told) -> Found:
    rule = _RULES.get(told.rule)
    if told.verdict is None or rule is None or not told.found:
        return Found(f"violates its {told.rule} rule")
    return rule(told, told.verdict)


def _tolerance(told: Told, found: Verdict) -> Found:
    above = found.value is not None and found.high is not None and found.value > found.high
    side = "above" if above else "below"
    return Found(f"is {_figure(found.value, told.unit)}, {side} the allowed {_band(told, found)}", _old(told))


def _level(told: Told, found: Verdict) -> Found:
    side, limit = ("below", found.low) if found.high is None else ("above", found.high)
    name = told.rule.replace("_", "-")
    core = f"is {_figure(found.value, told.unit)}, {side} its {name} limit of {_figure(limit, told.unit)}"
    return Found(core, _old(told))


def _rate(told: Told, _: Verdict) -> Found:
    rate, allowed = told.figure("per_minute") or 0.0, told.figure("allowed_per_minute")
    core = f"{'rises' if rate > 0 else 'falls'} by {_figure(abs(rate), told.unit)} per minute"
    return Found(
        f"{core}, more than the allowed {_figure(allowed, told.unit)}", (f" (over {_span(told.figure('over_s'))})",)
    )


def _frozen(told: Told, found: Verdict) -> Found:
    longest, moves = told.figure("longest_s"), told.figure("sibling_moves")
    more = [] if longest is None else [f" (at the longest {_span(longest)} before)"]
    more += [f" while its siblings moved {_figure(moves)} times"] if moves else []
    core = f"has shown exactly {_figure(found.value, told.unit)} for {_span(told.figure('stood_s'))}"
    return Found(core, tuple(more), "; frozen")


def _stale(told: Told, _: Verdict) -> Found:
    age, hold = _span(told.figure("age_s")), _span(told.figure("hold_s"))
    return Found(f"has not reported for {age}, longer than the {hold} that a value holds", (), "; stale")


def _quality(told: Told, _: Verdict) -> Found:
    return Found(f"has bad quality ({short(told.facts.code, LONGEST_WORD) or 'no reason given'})")


def _physical(told: Told, found: Verdict) -> Found:
    core = f"shows {_figure(found.value, told.unit)}, which its sensor cannot ({_band(told, found)})"
    return Found(core, (), "; taken as bad")


def _lost(told: Told, _: Verdict) -> Found:
    tags, silence = _figure(told.figure("tags")), _span(told.figure("silence_s"))
    return Found(f"has said nothing of its {tags} tags for {silence}", (), "; lost")


def _balance(told: Told, found: Verdict) -> Found:
    carried = _figure(told.figure("carried"), told.unit)
    core = f"shows {_figure(found.value, told.unit)} where the water carries {carried}"
    return Found(core, tuple(map(_disagrees, told.facts.parts)), ";" if told.facts.parts else "")


def _response(told: Told, found: Verdict) -> Found:
    off = told.facts.code == "flow"
    flows = "shows a flow" if off else "shows no flow"
    flow = "".join(f", and {_name(part.tag)} {flows} ({_figure(part.value, part.unit)})" for part in told.facts.parts)
    core = f"is {'off' if off else 'on'} ({_figure(found.value, told.unit)}){flow} for {_span(told.figure('lasted_s'))}"
    return Found(core, (), "; so")


def _deviation(told: Told, found: Verdict) -> Found:
    return Found(f"is {_figure(found.value, told.unit)} where {_band(told, found)} was forecast", _old(told))


def _breach(told: Told, found: Verdict) -> Found:
    core = f"will leave {_band(told, found)} with a probability of {_percent(found.probability)}"
    lead = () if found.lead_s is None else (f", in about {_span(found.lead_s)}",)
    return Found(core, lead, ": so expected")


def _surprise(told: Told, found: Verdict) -> Found:
    return Found(f"is {_figure(found.value, told.unit)} and {_SURPRISES[told.facts.code or 'outward']}")


def _shift(told: Told, _: Verdict) -> Found:
    mean, level = _figure(told.figure("mean"), told.unit), _figure(told.figure("level"), told.unit)
    return Found(f"has moved to {mean} from its level of {level}")


def _rarity(told: Told, found: Verdict) -> Found:
    return Found(f"is {_figure(found.value, told.unit)}, as it hardly ever is")


def _novelty(told: Told, _: Verdict) -> Found:
    distance, usual = _figure(told.figure("distance")), _figure(told.figure("usual"))
    core = f"shows {_figure(told.figure('steps'))} steps unlike any before"
    return Found(core, (f" (distance {distance}, usual {usual})",))


def _together(told: Told, _: Verdict) -> Found:
    parts = [_contribution(part) for part in told.facts.parts]
    return Found("is not as it usually is", tuple(f"{', ' if i else ': '}{part}" for i, part in enumerate(parts)))


_RULES: dict[str, Callable[[Told, Verdict], Found]] = {
    "tolerance": _tolerance,
    "low_low": _level,
    "low": _level,
    "high": _level,
    "high_high": _level,
    "rate": _rate,
    "frozen": _frozen,
    "stale": _stale,
    "quality": _quality,
    "physical": _physical,
    "lost": _lost,
    "balance": _balance,
    "response": _response,
    "deviation": _deviation,
    "breach": _breach,
    "surprise": _surprise,
    "shift": _shift,
    "drift": _shift,
    "rarity": _rarity,
    "novelty": _novelty,
    "components": _together,
    "mahalanobis": _together,
    "forest": _together,
}


def _band(told: Told, found: Verdict) -> str:
    return f"{_figure(found.low)} to {_figure(found.high, told.unit)}"


def _old(told: Told) -> tuple[str, ...]:
    return () if told.age_s is None else (f" (measured {_span(told.age_s)} before)",)


def _disagrees(part: Part) -> str:
    wanted = (
        f"; {_name(part.tag)} disagrees: {_figure(part.value, part.unit)}, the others ask for {_figure(part.expected)}"
    )
    return wanted if part.usual is None else f"{wanted} (lately {_figure(part.usual)})"


def _contribution(part: Part) -> str:
    if part.value is None or part.expected is None:
        return f"{_name(part.tag)} missing ({_percent(part.share)})"
    return f"{_name(part.tag)} {'high' if part.value > part.expected else 'low'} ({_percent(part.share)})"


def _where(tag: str) -> str:
    asset, _, name = tag.partition("/")
    return f"{asset} {short(name)}" if asset in ("source", "asset") else f"{short(name)} of {short(asset)}"


def _name(tag: str) -> str:
    return short(tag.partition("/")[2])


def _figure(value: float | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{digits(value)} {unit}".rstrip()


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.0f} %"


def _span(seconds: float | None) -> str:
    return "unknown" if seconds is None else span(seconds, "d")


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"

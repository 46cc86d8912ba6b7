"""What does an alert of each rule read like? An example of each sentence, for docs/alerts.md and the tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from detectors.facts import Facts, Part
from detectors.reason.sentence import sentence
from detectors.reason.told import Told
from detectors.records import AlarmState, Verdict

__all__ = ["EXAMPLES", "TRANSITIONS", "table"]

SINCE = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
AT = SINCE + timedelta(seconds=95)


def _told(
    rule: str, tag: str = "exchanger/chilled_water", unit: str = "degC", facts: Facts | None = None, **found: float
) -> Told:
    verdict = Verdict(tag=tag, rule=rule, at=AT, score=1.5, facts=facts, **found)
    return Told(
        tag=tag,
        rule=rule,
        state=AlarmState.UNACKNOWLEDGED,
        previous=AlarmState.NORMAL,
        at=AT,
        since=SINCE,
        unit=unit,
        verdict=verdict,
    )


_PARTS = (
    Part(tag="exchanger/flow", value=96.2, expected=120.1, share=0.81),
    Part(tag="exchanger/inlet", value=12.4, expected=11.5, share=0.12),
)
EXAMPLES: tuple[Told, ...] = (
    _told("tolerance", value=5.31, low=4.8, high=5.2),
    _told("low_low", value=1.4, low=2.0),
    _told("low", value=3.9, low=4.0),
    _told("high", value=7.2, high=7.0),
    _told("high_high", value=9.1, high=9.0),
    _told(
        "rate", facts=Facts(figures=(("per_minute", 1.24), ("allowed_per_minute", 0.5), ("over_s", 60.0))), value=6.1
    ),
    _told("frozen", facts=Facts(figures=(("stood_s", 599.0), ("longest_s", 84.0), ("sibling_moves", 5.0))), value=5.02),
    _told("stale", facts=Facts(figures=(("age_s", 65.0), ("hold_s", 60.0)))),
    _told("quality", facts=Facts(code="BadSensorFailure")),
    _told("physical", value=150.0, low=-20.0, high=60.0),
    _told("lost", "source/plc", "", Facts(figures=(("tags", 5.0), ("silence_s", 31.0)))),
    _told(
        "balance",
        "exchanger/power",
        "kW",
        Facts(
            figures=(("carried", 708.0),),
            parts=(Part(tag="exchanger/flow", value=93.6, expected=120.1, usual=119.8, unit="m3/h"),),
        ),
        value=908.0,
    ),
    _told(
        "response",
        "exchanger/pump_command",
        "%",
        Facts(
            code="no_flow",
            figures=(("lasted_s", 40.0),),
            parts=(Part(tag="exchanger/flow", value=0.4, unit="m3/h"),),
        ),
        value=72.0,
    ),
    _told("deviation", value=7.0, low=4.9, high=5.3),
    _told("breach", low=4.8, high=5.2, probability=0.875, lead_s=40.0),
    _told("surprise", facts=Facts(code="upward"), value=5.12),
    _told("shift", "exchanger/flow", "m3/h", Facts(figures=(("mean", 96.2), ("level", 120.1))), value=96.2),
    _told("components", "asset/exchanger", "", Facts(parts=_PARTS)),
    _told("mahalanobis", "asset/exchanger", "", Facts(parts=_PARTS[:1])),
    _told("forest", "asset/exchanger", "", Facts(parts=_PARTS[:1])),
    _told("drift", "exchanger/flow", "m3/h", Facts(figures=(("mean", 118.3), ("level", 120.1))), value=118.9),
    _told("rarity", value=6.44),
    _told("novelty", facts=Facts(figures=(("steps", 24.0), ("distance", 0.81), ("usual", 0.32))), value=5.02),
)
"""An alarm of each rule that can be configured, as it is raised."""

_RAISED = EXAMPLES[0]
_BACK = Verdict(tag=_RAISED.tag, rule="tolerance", at=AT, score=0.05, value=5.01, low=4.8, high=5.2)


def _turned(state: AlarmState, previous: AlarmState, **more: object) -> Told:
    fields = {name: getattr(_RAISED, name) for name in _RAISED.__slots__}
    return Told(**{**fields, "state": state, "previous": previous, **more})


TRANSITIONS: tuple[tuple[str, Told], ...] = (
    (
        "the condition is over",
        _turned(AlarmState.RETURNED_UNACKNOWLEDGED, AlarmState.UNACKNOWLEDGED, verdict=_BACK),
    ),
    ("acknowledged", _turned(AlarmState.ACKNOWLEDGED, AlarmState.UNACKNOWLEDGED, by="anna")),
    (
        "shelved",
        _turned(
            AlarmState.SHELVED,
            AlarmState.UNACKNOWLEDGED,
            by="anna",
            until=AT + timedelta(hours=2),
            note="valve is being changed",
        ),
    ),
    (
        "suppressed",
        _turned(AlarmState.SUPPRESSED, AlarmState.UNACKNOWLEDGED, note="exchanger/chilled_water/high_high"),
    ),
    ("out of service", _turned(AlarmState.OUT_OF_SERVICE, AlarmState.NORMAL, by="anna")),
    (
        "suppressed",
        _turned(AlarmState.SUPPRESSED, AlarmState.UNACKNOWLEDGED, note="source/plc/lost"),
    ),
    ("no longer suppressed, and it stands", _turned(AlarmState.UNACKNOWLEDGED, AlarmState.SUPPRESSED)),
    ("no longer shelved, and it stands", _turned(AlarmState.UNACKNOWLEDGED, AlarmState.SHELVED)),
    ("no longer shelved, nothing stands", _turned(AlarmState.NORMAL, AlarmState.SHELVED, by="anna")),
    (
        "no longer shelved, it was missed",
        _turned(AlarmState.RETURNED_UNACKNOWLEDGED, AlarmState.SHELVED),
    ),
    ("accepted", _turned(AlarmState.NORMAL, AlarmState.UNACKNOWLEDGED, by="anna", accepted=True)),
)
"""What else can happen to an alarm, with its name."""


def table() -> str:
    """All sentences of both languages, as a table in Markdown."""
    rows = [(told.rule, told) for told in EXAMPLES] + list(TRANSITIONS)
    lines = [f"| {name} | {sentence(told, 'en')} | {sentence(told, 'fr')} |" for name, told in rows]
    return "\n".join(["| rule, or transition | `language: en` | `language: fr` |", "|---|---|---|", *lines])

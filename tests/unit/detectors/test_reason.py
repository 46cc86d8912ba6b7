"""The sentence that an operator reads, rule by rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from detectors.reason import sentence
from detectors.records import AlarmState, Verdict

T0 = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)


def say(rule: str, *, state: AlarmState = AlarmState.UNACKNOWLEDGED, by: str = "", **found: float | str | None) -> str:
    verdict = Verdict(tag="hx/chilled", rule=rule, at=T0, score=2.0, **found)  # type: ignore[arg-type]  # rule's own fields
    at = T0 + timedelta(seconds=95)
    return sentence(tag="hx/chilled", rule=rule, state=state, at=at, since=T0, unit="degC", verdict=verdict, by=by)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (say("tolerance", value=5.31, low=4.8, high=5.2), "is 5.31 degC, above the allowed 4.8 to 5.2 degC, since"),
        (say("tolerance", value=4.2, low=4.8, high=5.2), "is 4.2 degC, below the allowed 4.8 to 5.2 degC, since"),
        (say("deviation", value=7.0, low=4.9, high=5.3), "is 7 degC where 4.9 to 5.3 degC was forecast, since"),
        (
            say("breach", probability=0.875, lead_s=40.0, low=4.8, high=5.2),
            "will leave 4.8 to 5.2 degC with a probability of 88 %, in about 40 s: so expected since",
        ),
        (say("physical", value=150.0, low=-20, high=60), "shows 150 degC, which its sensor cannot (-20 to 60 degC)"),
        (say("quality", detail="BadSensorFailure"), "has bad quality (BadSensorFailure) since"),
        (say("stale"), "has not reported for longer than a value may be held, since"),
    ],
)
def test_a_raised_alarm_says_what_is_found_and_what_was_expected(text: str, expected: str) -> None:
    assert text.startswith("chilled of hx ")
    assert expected in text
    assert text.endswith("since 2026-03-01 08:30:00 UTC.")


def test_a_return_says_how_long_it_lasted_and_what_it_is_now() -> None:
    assert say("tolerance", state=AlarmState.RETURNED_UNACKNOWLEDGED, value=5.01, low=4.8, high=5.2) == (
        "chilled of hx: tolerance alarm over since 2026-03-01 08:31:35 UTC, after 95 s; it is 5.01 degC now."
    )


def test_an_acknowledgement_says_who() -> None:
    assert say("tolerance", state=AlarmState.ACKNOWLEDGED, by="ana") == (
        "chilled of hx: tolerance alarm acknowledged by ana at 2026-03-01 08:31:35 UTC."
    )

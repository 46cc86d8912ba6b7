"""Commands that the command line leaves for the service."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from detectors.alarm import AlarmRule
from detectors.limits import Tolerance
from detectors.records import AlarmState, Alert, Sample
from stream.command import acknowledge, obey
from stream.lane import FastLane, Watch
from stream.window import RollingWindow

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lane() -> FastLane:
    made = FastLane(
        [
            Watch(
                window=RollingWindow(tag="hx/t", period_s=10, hold_s=30, length=16, lateness_s=2),
                on_sample=[(Tolerance(setpoint=5, tolerance=0.2), AlarmRule())],
            )
        ],
        {},
    )
    made.offer(Sample(tag="hx/t", value=6.0, source_at=T0, arrived_at=T0))
    made.harvest()
    return made


def test_an_acknowledgement_changes_the_state_and_says_who(lane: FastLane) -> None:
    assert obey(acknowledge("hx/t/tolerance", by="ana"), lane, T0) == "hx/t/tolerance acknowledged by ana"
    (alert,) = [r for r in lane.harvest().records if isinstance(r, Alert)]
    assert (alert.state, alert.by) == (AlarmState.ACKNOWLEDGED, "ana")
    assert obey(acknowledge("hx/t/tolerance", by="ana"), lane, T0).startswith("nothing to acknowledge")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "refused, not a command"),
        ("[]", "refused, not a command"),
        ("3", "refused, not a command"),
        ('{"command": "acknowledge"}', "refused, not a command"),
        ('{"command": "open_valve", "alarm": "hx/t/tolerance", "by": "x"}', "refused, unknown command"),
        ('{"command": "acknowledge", "alarm": 1, "by": "x"}', "refused, unknown command"),
        ('{"command": "acknowledge", "alarm": "hx/t/nothing", "by": "x"}', "refused, no alarm is named"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(lane: FastLane, text: str, answer: str) -> None:
    assert obey(text, lane, T0).startswith(answer)
    assert lane.harvest().records == []

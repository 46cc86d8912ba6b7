"""Commands that the command line leaves for the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from detectors.alarm import AlarmRule
from detectors.limits import Tolerance
from detectors.records import AlarmState, Alert, Sample
from stream.command import ask, obey
from stream.lane import FastLane
from stream.watch import Watch
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
    acknowledge = ask("acknowledge", "hx/t/tolerance", by="ana")
    assert obey(acknowledge, lane, T0) == "hx/t/tolerance acknowledged by ana"
    (alert,) = [r for r in lane.harvest().records if isinstance(r, Alert)]
    assert (alert.state, alert.by) == (AlarmState.ACKNOWLEDGED, "ana")
    assert obey(acknowledge, lane, T0).startswith("nothing to acknowledge")


def test_a_shelved_alarm_speaks_again_by_itself_if_its_condition_stands(lane: FastLane) -> None:
    shelve = ask("shelve", "hx/t/tolerance", by="ana", for_s=60, reason="cleaning")
    assert obey(shelve, lane, T0) == "hx/t/tolerance shelved by ana"
    (shelved,) = [r for r in lane.harvest().records if isinstance(r, Alert)]
    assert "shelved, set by ana" in shelved.text
    assert shelved.text.endswith("until 2026-01-01 00:01:00 UTC (cleaning).")
    lane.advance(T0 + timedelta(seconds=90))
    harvest = lane.harvest()
    (back,) = [r for r in harvest.records if isinstance(r, Alert)]
    assert (back.state, back.previous) == (AlarmState.UNACKNOWLEDGED, AlarmState.SHELVED)
    assert (back.at, back.sequence) == (T0 + timedelta(seconds=60), 3)
    assert harvest.memories["hx/t/tolerance"].silence is None


def test_out_of_service_lasts_until_somebody_ends_it(lane: FastLane) -> None:
    obey(ask("out_of_service", "hx/t/tolerance", by="ana"), lane, T0)
    assert obey(ask("acknowledge", "hx/t/tolerance", by="ana"), lane, T0).startswith("nothing to acknowledge")
    assert obey(ask("unshelve", "hx/t/tolerance", by="ana"), lane, T0).startswith("nothing to unshelve")
    assert obey(ask("shelve", "hx/t/tolerance", by="ana", for_s=9), lane, T0).startswith("nothing to shelve")
    assert obey(ask("in_service", "hx/t/tolerance", by="ana"), lane, T0) == (
        "hx/t/tolerance back in service, set by ana"
    )


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
        ('{"command": ["accept"], "alarm": "hx/t/tolerance", "by": "x"}', "refused, unknown command"),
        ('{"command": "acknowledge", "alarm": "hx/t/tolerance", "by": " "}', "refused, it does not say by whom"),
        ('{"command": "shelve", "alarm": "hx/t/tolerance", "by": "x"}', "refused, shelve: expected for_s"),
        (
            '{"command": "shelve", "alarm": "hx/t/tolerance", "by": "x", "for_s": NaN}',
            "refused, shelve: expected for_s",
        ),
        (
            '{"command": "shelve", "alarm": "hx/t/tolerance", "by": "x", "for_s": 1e99}',
            "refused, shelve: expected for_s",
        ),
        ('{"command": "accept", "alarm": "hx/t/tolerance", "by": "x"}', "refused, alarm hx/t/tolerance: only"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(lane: FastLane, text: str, answer: str) -> None:
    assert obey(text, lane, T0).startswith(answer)
    assert lane.harvest().records == []

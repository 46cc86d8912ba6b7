"""Commands that the command line leaves for the service."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from detectors.alarm import AlarmRule
from detectors.limits import Tolerance
from detectors.records import AlarmState, Alert, Sample
from stream.command import ask, obey, parse
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
    assert obey(acknowledge, lane, T0).text == "hx/t/tolerance acknowledged by ana"
    (alert,) = [r for r in lane.harvest().records if isinstance(r, Alert)]
    assert (alert.state, alert.by) == (AlarmState.ACKNOWLEDGED, "ana")
    assert obey(acknowledge, lane, T0).text.startswith("nothing to acknowledge")


def test_a_shelved_alarm_speaks_again_by_itself_if_its_condition_stands(lane: FastLane) -> None:
    shelve = ask("shelve", "hx/t/tolerance", by="ana", for_s=60, reason="cleaning")
    assert obey(shelve, lane, T0).text == "hx/t/tolerance shelved by ana"
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
    assert obey(ask("acknowledge", "hx/t/tolerance", by="ana"), lane, T0).text.startswith("nothing to acknowledge")
    assert obey(ask("unshelve", "hx/t/tolerance", by="ana"), lane, T0).text.startswith("nothing to unshelve")
    assert obey(ask("shelve", "hx/t/tolerance", by="ana", for_s=9), lane, T0).text.startswith("nothing to shelve")
    assert obey(ask("in_service", "hx/t/tolerance", by="ana"), lane, T0).text == (
        "hx/t/tolerance back in service, set by ana"
    )


SAYS = {"alarm": "hx/t/tolerance", "by": "ana"}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "expected a command as a JSON object, found ''"),
        ("[]", "expected a command as a JSON object, found '[]'"),
        ("3", "expected a command as a JSON object, found '3'"),
        ("[" * 100_000, "expected a command as a JSON object, found '[[["),
        ("9" * 5000, "expected a command as a JSON object, found '999"),
        ('{"by": "ana", "by": "eve"}', "expected each key once, found 'by' twice"),
        ({"command": "acknowledge"}, "alarm: expected a line of 1 to 200 characters, found ''"),
        (SAYS | {"command": "open_valve"}, "command: expected one of acknowledge, accept, shelve, "),
        (SAYS | {"command": ["accept"]}, "command: expected a line of 1 to 200 characters, found ['accept']"),
        (SAYS | {"command": "acknowledge", "alarm": 1}, "alarm: expected a line of 1 to 200 characters, found 1"),
        (SAYS | {"command": "acknowledge", "by": " "}, "by: expected a line of 1 to 200 characters, found ' '"),
        (SAYS | {"command": "acknowledge", "by": "ana\nroot"}, "by: expected a line of 1 to 200 characters, found "),
        (SAYS | {"command": "acknowledge", "by": "\ud800"}, "by: expected a line of 1 to 200 characters, found "),
        (SAYS | {"command": "acknowledge", "reason": "x" * 201}, "reason: expected a line of 0 to 200 characters"),
        (SAYS | {"command": "acknowledge", "id": "a b"}, "id: expected 1 to 64 letters, digits and _.:-"),
        (SAYS | {"command": "acknowledge", "untill": 1}, "keys: expected among id, at, command, alarm, by, reason"),
        (SAYS | {"command": "acknowledge", "at": "08:30"}, "at: expected a time with its zone"),
        (SAYS | {"command": "acknowledge", "at": "2026-01-01T00:00:00"}, "at: expected a time with its zone"),
        (SAYS | {"command": "acknowledge", "for_s": 5}, "acknowledge: expected neither for_s nor until, found for_s"),
        (SAYS | {"command": "shelve"}, "shelve: expected exactly one of for_s and until, found none"),
        (
            SAYS | {"command": "shelve", "for_s": 5, "until": "2026-01-01T01:00:00Z"},
            "shelve: expected exactly one of for_s and until, found for_s and until",
        ),
        (SAYS | {"command": "shelve", "for_s": float("nan")}, "for_s: expected 1 to 2592000 seconds, found nan"),
        (SAYS | {"command": "shelve", "for_s": 10**400}, "for_s: expected 1 to 2592000 seconds, found 1000"),
        (SAYS | {"command": "shelve", "for_s": True}, "for_s: expected 1 to 2592000 seconds, found True"),
        (SAYS | {"command": "shelve", "until": "2025-12-31T00:00:00Z"}, "alarm hx/t/tolerance: expected an end after"),
        (SAYS | {"command": "shelve", "until": "2026-02-01T00:00:00Z"}, "until: expected at most 30 days from now"),
        (SAYS | {"command": "accept"}, "alarm hx/t/tolerance: only"),
        (
            SAYS | {"command": "acknowledge", "alarm": "hx/t/tolerence"},
            "no alarm is named 'hx/t/tolerence'; the nearest: hx/t/tolerance",
        ),
        (
            SAYS | {"command": "acknowledge", "alarm": "?"},
            "no alarm is named '?'; `givre alarms list --all` names them",
        ),
        (
            SAYS | {"command": "acknowledge", "max_age_s": 60, "at": "2025-12-31T23:58:00Z"},
            "at: it is 120 s old, older than 60 s; look again and send it anew",
        ),
        (
            SAYS | {"command": "acknowledge", "max_age_s": 60, "at": "2026-01-01T00:00:06Z"},
            "at: it is 6 s in the future; set the clock",
        ),
        (SAYS | {"command": "acknowledge", "max_age_s": 60}, "at: expected the time of the command, found none"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    lane: FastLane, text: str | dict[str, object], answer: str
) -> None:
    reply = obey(text if isinstance(text, str) else json.dumps(text), lane, T0)
    assert reply.text.startswith(f"refused, {answer}")
    assert not reply.done
    assert reply.text.isprintable()
    assert lane.harvest().records == []


def test_a_command_as_old_as_may_be_is_obeyed_and_until_is_the_end_of_the_shelving(lane: FastLane) -> None:
    sent = {"id": "k-1", "command": "shelve", "at": "2026-01-01T00:59:00+01:00", "until": "2026-01-01T00:10:00Z"}
    reply = obey(json.dumps(SAYS | sent | {"max_age_s": 60}), lane, T0)
    assert (reply.id, reply.done, reply.alarm, reply.by) == ("k-1", True, "hx/t/tolerance", "ana")
    assert lane.alarms["hx/t/tolerance"].memory.silent_until == T0 + timedelta(minutes=10)


def test_a_command_is_the_same_after_it_has_waited_as_text() -> None:
    command = parse(json.dumps(SAYS | {"id": "k", "command": "shelve", "for_s": 5, "at": "2026-01-01T00:00:00Z"}))
    assert parse(command.text) == command

"""How alarms, commands and floods are listed, for a person and for a program."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from config.load import Loaded, load
from detectors.alarm import Memory
from detectors.records import AlarmState, Alert, Priority, Reply
from stream.alarm_memory import dump
from stream.assemble import open_journal
from stream.cli.print_alarms import AlarmQuery, print_alarms, print_commands, print_flood

if TYPE_CHECKING:
    from pathlib import Path

T0 = datetime(2026, 1, 1, tzinfo=UTC)
FILE = """\
site: test
state_folder: state
sources: {broker: {type: mqtt, host: 127.0.0.1, client_id: in}}
assets:
  hx:
    tags:
      a:
        unit: degC
        period_s: 1
        hold_s: 30
        tolerance: {setpoint: 5, tolerance: 0.2, priority: low}
        limits: {high: {at: 8, priority: critical}, high_high: {at: 9, priority: high}}
        source: {name: broker, topic: plant/a}
"""


def alert(seconds: float, rule: str = "tolerance") -> Alert:
    moment = T0 + timedelta(seconds=seconds)
    states = {"state": AlarmState.UNACKNOWLEDGED, "previous": AlarmState.NORMAL}
    return Alert(
        tag="hx/a", rule=rule, sequence=1, at=moment, since=moment, priority=Priority.LOW, text="It is hot.", **states
    )


def reply(name: str, seconds: float, *, done: bool = True, alarm: str = "hx/a/high") -> Reply:
    return Reply(
        id=name,
        at=T0 + timedelta(seconds=seconds),
        command="shelve",
        alarm=alarm,
        by="ana",
        reason="cleaning",
        via="alerts",
        done=done,
        text="hx/a/high shelved by ana" if done else "refused, too old",
    )


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    path = tmp_path / "givre.yaml"
    path.write_text(FILE)
    found = load(path)
    raised = AlarmState.UNACKNOWLEDGED
    memories = {
        "hx/a/tolerance": Memory(state=raised, sequence=1, since=T0),
        "hx/a/high": Memory(silence=AlarmState.SHELVED, silent_until=T0 + timedelta(hours=1), sequence=1),
        "hx/a/high_high": Memory(state=raised, suppressed=True),
        "hx/a/stale": Memory(sequence=2),
    }
    journal = open_journal(found)
    journal.append([alert(0), reply("k-1", 1), reply("k-1", 1), reply("k-2", 2, done=False)], memory=dump(memories))
    journal.close()
    return found


def said(loaded: Loaded, as_json: bool = True, **query) -> list:
    out = io.StringIO()
    console = Console(file=out, width=200)
    assert print_alarms(loaded, AlarmQuery(**query), console=console, as_json=as_json) == ""
    lines = out.getvalue().splitlines()
    return [json.loads(line) for line in lines] if as_json else lines


def test_the_most_urgent_comes_first_and_what_is_suppressed_is_shown(loaded: Loaded) -> None:
    assert [(line["alarm"], line["state"]) for line in said(loaded)] == [
        ("hx/a/high", "shelved"),
        ("hx/a/high_high", "suppressed"),
        ("hx/a/tolerance", "unacknowledged"),
    ]
    lines = said(loaded, as_json=False)
    assert "shelved  hx/a/high  critical  until 2026-01-01 01:00:00" in lines[0]
    assert lines[-1].strip() == "It is hot."


@pytest.mark.parametrize(
    ("query", "rules"),
    [
        ({"states": ("suppressed", "shelved")}, ["high", "high_high"]),
        ({"states": ("normal",)}, ["quality", "stale"]),
        ({"priorities": ("low",)}, ["tolerance"]),
        ({"tag": "hx/a", "active": True}, ["high_high", "tolerance"]),
        ({"silenced": True, "priorities": ("critical",)}, ["high"]),
        ({"tag": "source/broker"}, []),
    ],
)
def test_filters_take_what_they_say(loaded: Loaded, query: dict, rules: list[str]) -> None:
    found = [line["alarm"].rpartition("/")[2] for line in said(loaded, **query)]
    assert [rule for rule in found if rule != "lost"] == rules


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"states": ("loud",)}, "--state: expected one of normal, unacknowledged, "),
        ({"priorities": ("urgent",)}, "--priority: expected one of low, medium, high, critical, found 'urgent'"),
        ({"tag": "hx/z"}, "--tag: expected one of hx/a, source/broker, found 'hx/z'"),
    ],
)
def test_a_filter_of_nothing_is_refused(loaded: Loaded, query: dict, problem: str) -> None:
    answer = print_alarms(loaded, AlarmQuery(**query), console=Console(file=io.StringIO()), as_json=False)
    assert answer.startswith(problem)


def test_who_did_what_and_why_is_told_once_each(loaded: Loaded) -> None:
    out = io.StringIO()
    assert print_commands(loaded, alarm="", limit=9, console=Console(file=out, width=200), as_json=False) == ""
    assert out.getvalue().splitlines() == [
        "2026-01-01 00:00:01  done    ana, alerts: shelve hx/a/high (cleaning)",
        "2026-01-01 00:00:02  refused ana, alerts: shelve hx/a/high (cleaning): refused, too old",
    ]
    out = io.StringIO()
    print_commands(loaded, alarm="hx/a/high", limit=1, console=Console(file=out), as_json=True)
    assert json.loads(out.getvalue())["id"] == "k-2"


def test_a_day_of_alarms_names_its_flood_and_what_chatters(loaded: Loaded) -> None:
    journal = open_journal(loaded)
    journal.append([alert(3600 + i) for i in range(12)])
    journal.close()
    out = io.StringIO()
    now = T0 + timedelta(hours=20)
    assert print_flood(loaded, now=now, console=Console(file=out, width=200), as_json=False) == ""
    assert out.getvalue().splitlines() == [
        "13 alarms raised in 24 h, 12 at most within 10 min, 0 in the last 10 min",
        "flood from 2026-01-01 01:00:00 to 2026-01-01 01:10:07: 12 alarms, most often hx/a/tolerance (12)",
        "raised 3 times within 60 s, give them a deadband or delays: hx/a/tolerance",
        "    13  hx/a/tolerance",
    ]
    out = io.StringIO()
    print_flood(loaded, now=now, console=Console(file=out), as_json=True)
    assert json.loads(out.getvalue())["most_in_10_min"] == 12

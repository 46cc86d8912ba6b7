"""Commands on their way from the command line into the journal."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from config.load import load
from stream.assemble import open_journal
from stream.cli.app import app
from stream.cli.ask import seconds
from stream.command import ask

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
site: demo
state_folder: state
sources:
  plc: {type: opcua, endpoint: "opc.tcp://h:1/x", namespace: "urn:p"}
assets:
  hx:
    tags:
      t:
        unit: degC
        period_s: 10
        hold_s: 60
        source: {name: plc, node: s=t}
        tolerance: {setpoint: 5, tolerance: 0.2, deadband: 0.1}
sinks:
  store: {type: influxdb, url: "http://h:8086", bucket: b}
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("30s", 30),
        ("45m", 2700),
        ("2h", 7200),
        ("30d", 2592000),
        ("31d", None),
        ("0s", None),
        ("2", None),
        ("-1h", None),
    ],
)
def test_a_time_to_shelve_is_a_number_and_a_unit(text: str, found: float | None) -> None:
    assert seconds(text) == found


def test_a_command_waits_in_the_journal_for_the_service(tmp_path: Path) -> None:
    config = tmp_path / "givre.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    shelve = ["alarms", "shelve", str(config), "hx/t/tolerance", "--reason", "cleaning", "--by", "ana", "--for"]
    assert CliRunner().invoke(app, [*shelve, "2h"]).exit_code == 0
    assert CliRunner().invoke(app, [*shelve, "soon"]).exit_code == 1
    assert CliRunner().invoke(app, ["alarms", "accept", str(config), "hx/t/nothing"]).exit_code == 1
    journal = open_journal(load(config))
    try:
        (left,) = journal.commands()
    finally:
        journal.close()
    expected = json.loads(ask("shelve", "hx/t/tolerance", by="ana", for_s=7200.0, reason="cleaning"))
    # Each asking has its own id: that is what keeps one command from being done twice.
    assert json.loads(left[1]) | {"id": None} == expected | {"id": None}


@pytest.mark.parametrize("command", [["list"], ["ack", "hx/t/tolerance"]])
def test_a_journal_of_a_later_version_in_use_is_one_line_and_stays(tmp_path: Path, command: list[str]) -> None:
    config = tmp_path / "givre.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    path = tmp_path / "state/journal.sqlite3"
    with closing(open_journal(load(config))), closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        done = CliRunner().invoke(app, ["alarms", command[0], str(config), *command[1:]])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "found version 99 of a later Givre" in done.output
    assert path.exists()

"""The unit file, really started: this machine's systemd as PID 1 of private namespaces (`tests/servers/nested_systemd.sh`).

What runs under it is `standin.py`. To put the service itself there, change `PROGRAM`; nothing below speaks of the stand-in
except SIGUSR1, which makes it hang.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.faults.conftest import Nest

REPOSITORY = Path(__file__).parents[2]
PROGRAM = "/opt/repository/tests/faults/standin.py"
WATCHDOG_S = 2
ALLOWED = {
    "write state",
    "write cache",
    "read config",
    "write private tmp",
    "make itself nice",
    "write code",
    "read cpuinfo",
    "open a socket",
}


def _lay_out(folder: Path) -> None:
    """What install.sh would have left behind, with this interpreter in the place of its virtual environment."""
    units = folder / "etc/systemd/system"
    (units / "givre.service.d").mkdir(parents=True)
    unit = (REPOSITORY / "deploy/systemd/givre.service").read_text()
    for wait, shorter in (("WatchdogSec=30", f"WatchdogSec={WATCHDOG_S}"), ("RestartSec=5", "RestartSec=0.2")):
        assert wait in unit
        unit = unit.replace(wait, shorter)
    (units / "givre.service").write_text(unit)
    (units / "givre.service.d/test.conf").write_text("[Service]\nLoadCredential=probe:/etc/givre/credentials/probe\n")
    program = folder / "opt/givre/bin/givre"
    program.parent.mkdir(parents=True)
    # An interpreter may lie under /root or /home, which the unit hides: it is mounted beside, with its own libraries.
    python = f"/opt/python/bin/{Path(sys._base_executable).resolve().name}"
    packages = next(p for p in sys.path if p.startswith(sys.prefix) and p.endswith("-packages"))
    program.write_text(
        "#!/bin/sh\n"
        f"export PYTHONPATH=/opt/repository:/opt/venv{packages.removeprefix(sys.prefix)}\n"
        f'LD_LIBRARY_PATH=/opt/python/lib PYTHONDONTWRITEBYTECODE=1 exec {python} {PROGRAM} "$@"\n'
    )
    program.chmod(0o755)
    for open_to_all in ("etc", "usr", "opt/givre", "var/lib", "srv", "home"):
        (folder / open_to_all / "open").mkdir(parents=True)
        (folder / open_to_all / "open").chmod(0o777)
    config = folder / "etc/givre"
    (config / "credentials").mkdir(parents=True)
    (config / "givre.yaml").write_text("site: test\n")
    (config / "credentials/probe").write_text("of the plant")
    (config / "credentials/probe").chmod(0o600)
    for name, line in (("passwd", "givre:x:990:990::/var/lib/givre:/usr/sbin/nologin"), ("group", "givre:x:990:")):
        (folder / "etc" / name).write_text(Path("/etc", name).read_text() + line + "\n")
    os.chown(config, 0, 990)
    config.chmod(0o750)


@pytest.fixture(scope="module")
def nest(
    tmp_path_factory: pytest.TempPathFactory, nested_systemd: Callable[[Path], AbstractContextManager[Nest]]
) -> Iterator[Nest]:
    folder = tmp_path_factory.mktemp("nest")
    _lay_out(folder)
    with nested_systemd(folder) as booted:
        yield booted


@pytest.fixture
def unit(nest: Nest) -> Iterator[Nest]:
    """The service, started."""
    begun = nest.run("systemctl start givre")
    assert begun.returncode == 0, begun.stderr + nest.run("journalctl --unit=givre --no-pager").stdout
    yield nest
    nest.run("systemctl stop givre; systemctl reset-failed givre")


def test_it_is_active_once_it_has_said_ready(unit: Nest) -> None:
    assert unit.show("ActiveState") == "active"
    assert unit.show("StatusText") == "standing in"


def test_it_lives_on_while_it_makes_progress(unit: Nest) -> None:
    pid = unit.started()
    time.sleep(2 * WATCHDOG_S)  # longer than the watchdog's patience: that it passes is what is tested
    assert unit.show("MainPID") == pid
    assert unit.show("NRestarts") == "0"


def test_it_is_killed_and_started_again_when_it_makes_none(unit: Nest) -> None:
    pid = unit.started()
    unit.run(f"kill -USR1 {pid}")
    unit.wait(lambda: unit.show("NRestarts") == "1", 3 * WATCHDOG_S, "the watchdog has had it restarted")
    assert unit.started() != pid
    journal = unit.run("journalctl --unit=givre --no-pager --output=cat").stdout
    assert "Fatal Python error: Aborted" in journal
    assert "in hang" in journal, "Python says where it stood"


def test_a_process_that_is_killed_comes_back(unit: Nest) -> None:
    pid = unit.started()
    unit.run(f"kill -KILL {pid}")
    unit.wait(lambda: unit.show("MainPID") not in (pid, "0"), 5, "another process has taken its place")
    unit.started()


def test_it_can_do_what_it_must_and_nothing_else(unit: Nest) -> None:
    found = json.loads(unit.run("cat /var/lib/givre/attempts.json").stdout)
    assert found.pop("uid") == 990
    assert found.pop("credential") == "of the plant"
    assert {name for name, result in found.items() if result == "done"} == ALLOWED
    assert unit.run("find / -xdev -name probe -path '*/open/*'").stdout == ""


def test_its_folders_are_its_own(unit: Nest) -> None:
    said = unit.run("stat -c '%U %a' /var/lib/givre /var/cache/givre /var/lib/givre/attempts.json").stdout
    assert said.split("\n")[:3] == ["givre 750", "givre 750", "givre 640"]


def test_a_stop_is_clean(unit: Nest) -> None:
    unit.started()
    assert unit.run("systemctl stop givre").returncode == 0
    assert (unit.show("Result"), unit.show("ExecMainStatus")) == ("success", "0")


def test_a_reload_has_the_same_process_read_it_anew(unit: Nest) -> None:
    pid = unit.started()
    assert unit.run("systemctl reload givre").returncode == 0
    unit.wait(lambda: unit.show("StatusText") == "read anew", 5, "it has read the file")
    assert unit.started() == pid


def test_a_reload_of_a_broken_configuration_leaves_it_alone(unit: Nest) -> None:
    pid = unit.started()
    unit.run("cp -p /etc/givre/givre.yaml /etc/good; echo broken > /etc/givre/givre.yaml")
    try:
        assert unit.run("systemctl reload givre").returncode != 0
        assert (unit.show("MainPID"), unit.show("ActiveState")) == (pid, "active")
    finally:
        unit.run("mv /etc/good " + shlex.quote("/etc/givre/givre.yaml"))


def test_it_keeps_trying_while_its_configuration_is_broken_and_starts_when_it_is_good(nest: Nest) -> None:
    nest.run("cp -p /etc/givre/givre.yaml /etc/good; echo broken > /etc/givre/givre.yaml")
    try:
        assert nest.run("systemctl start givre").returncode != 0
        nest.wait(lambda: int(nest.show("NRestarts")) >= 2, 5, "it has tried twice more")
    finally:
        nest.run("mv /etc/good /etc/givre/givre.yaml")
    nest.started()
    nest.run("systemctl stop givre")

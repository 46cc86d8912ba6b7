"""install.sh for real: as root, on a machine of its own that forgets everything afterwards."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.manual import INSTALL, PYTHON, install, let_in, make_wheel, start, states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.faults.conftest import Nest


@pytest.fixture(scope="module")
def nest(
    tmp_path_factory: pytest.TempPathFactory, nested_systemd: Callable[[Path], AbstractContextManager[Nest]]
) -> Iterator[Nest]:
    folder = tmp_path_factory.mktemp("nest")
    wheel = make_wheel(tmp_path_factory.mktemp("wheel"))
    (folder / "opt/wheel").mkdir(parents=True)
    shutil.copy(wheel, folder / "opt/wheel")
    with nested_systemd(folder) as booted:
        booted.wheel = f"/opt/wheel/{wheel.name}"
        yield booted


@pytest.fixture
def installed(nest: Nest) -> Iterator[Nest]:
    """A machine with Givre on it, as install.sh leaves it."""
    install(nest, nest.wheel)
    yield nest
    nest.run(f"{INSTALL} --uninstall --purge")


def test_an_installed_givre_answers_to_its_name(installed: Nest) -> None:
    said = installed.run("givre --help")
    assert said.returncode == 0, said.stderr
    assert "Usage: givre" in said.stdout


def test_its_files_belong_to_root_and_only_the_service_may_read_them(installed: Nest) -> None:
    places = "/etc/givre /etc/givre/givre.yaml /etc/givre/credentials /opt/givre /etc/systemd/system/givre.service"
    said = installed.run(f"stat -c '%n %U:%G %a' {places}")
    assert said.stdout.splitlines() == [
        "/etc/givre root:givre 750",
        "/etc/givre/givre.yaml root:givre 640",
        "/etc/givre/credentials root:root 700",
        "/opt/givre root:root 755",
        "/etc/systemd/system/givre.service root:root 644",
    ]
    assert "nologin" in installed.run("getent passwd givre").stdout
    assert installed.run("runuser -u givre -- cat /etc/givre/givre.yaml").stdout.startswith("## Givre")
    assert "\nstate_folder: /var/lib/givre\n" in installed.run("cat /etc/givre/givre.yaml").stdout
    assert installed.run("runuser -u nobody -- cat /etc/givre/givre.yaml").returncode != 0


def test_systemd_knows_the_unit_and_finds_nothing_wrong_with_it(installed: Nest) -> None:
    assert installed.run("systemctl show --value --property=LoadState givre").stdout.strip() == "loaded"
    said = installed.run("systemd-analyze verify --recursive-errors=no --man=no givre.service")
    assert (said.returncode, said.stderr) == (0, "")


def test_a_second_run_changes_nothing_that_is_the_owners(installed: Nest) -> None:
    installed.run("echo 'site: mine' > /etc/givre/givre.yaml; echo secret > /etc/givre/credentials/influx_token")
    installed.run("echo '# mine' >> /etc/systemd/system/givre.service.d/credentials.conf")
    again = installed.run(f"{INSTALL} --wheel {installed.wheel} --no-fetch", limit_s=60)
    assert again.returncode == 0, again.stderr
    assert "stays as it is" in again.stdout
    assert installed.run("cat /etc/givre/givre.yaml").stdout == "site: mine\n"
    assert installed.run("cat /etc/givre/credentials/influx_token").stdout == "secret\n"
    assert installed.run("tail -1 /etc/systemd/system/givre.service.d/credentials.conf").stdout == "# mine\n"


def test_uninstalled_it_leaves_what_is_the_owners_and_purged_nothing(installed: Nest) -> None:
    places = "/opt/givre /usr/local/bin/givre /etc/systemd/system/givre.service"
    kept = "/etc/givre/givre.yaml /var/lib/givre/journal.sqlite3 /etc/systemd/system/givre.service.d/credentials.conf"
    installed.run("mkdir -p /var/lib/givre /var/cache/givre; touch /var/lib/givre/journal.sqlite3")
    assert installed.run(f"{INSTALL} --uninstall").returncode == 0
    assert installed.run(f"ls -d {places} {kept} 2>/dev/null").stdout.split() == sorted(kept.split())
    assert installed.run(f"{INSTALL} --uninstall --purge").returncode == 0
    assert installed.run(f"ls -d {kept} /etc/givre /var/lib/givre /var/cache/givre 2>/dev/null").stdout == ""
    assert installed.run("id givre").returncode != 0


def test_the_way_of_the_manual_leads_to_an_alarm(installed: Nest, require: Callable[[str], str]) -> None:
    """Every step of docs/install.md, against the broker and the database of the distribution, up to the first alarm."""
    for program in ("mosquitto", "mosquitto_pub", "influxd", "influx"):
        require(program)
    run = installed.run
    let_in(installed)
    checked = run("givre check --connect /etc/givre/givre.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    start(installed)
    told = run("mosquitto_sub -u operator -P rotarepo -t givre/plant1/exchanger/trial/alarm/tolerance -C 1 -W 5").stdout
    assert json.loads(told)["state"] == "unacknowledged"
    listed = run("givre alarms list /etc/givre/givre.yaml")
    assert "exchanger/trial/tolerance" in listed.stdout, listed.stderr
    run("givre alarms ack /etc/givre/givre.yaml exchanger/trial/tolerance --by operator")
    installed.wait(lambda: ",acknowledged" in states(installed), 10, "the alarm is acknowledged")
    assert run("ss -Hltnp | grep -c python").stdout == "0\n", "Givre opens no port"

    # Who looks for what happened finds it by its id, and trouble by its weight.
    begun = json.loads(
        run("journalctl --unit=givre GIVRE_EVENT=GV100 --output=json --no-pager").stdout.splitlines()[-1]
    )
    assert begun["PRIORITY"] == "6"
    assert "GV100 start: givre " in begun["MESSAGE"]
    warned = run("journalctl --unit=givre --priority=warning --output=cat --no-pager").stdout
    assert "GV100" not in warned

    process = installed.show("MainPID")
    assert run("systemctl reload givre").returncode == 0, run(
        "journalctl --unit=givre --no-pager; systemctl status givre"
    ).stdout
    used = "journalctl --unit=givre GIVRE_EVENT=GV110 --output=cat --no-pager"
    installed.wait(lambda: "GV110 SIGHUP: configuration /etc/givre/givre.yaml" in run(used).stdout, 10, "it is used")
    assert installed.started() == process


def test_another_prefix_reaches_the_unit_and_the_link(nest: Nest) -> None:
    done = nest.run(f"{INSTALL} --wheel {nest.wheel} --no-fetch --gpu --prefix /usr/local/givre", limit_s=60)
    try:
        assert done.returncode == 0, done.stderr
        unit = nest.run("cat /etc/systemd/system/givre.service").stdout
        assert "ExecStart=/usr/local/givre/bin/givre run" in unit
        assert "/opt/givre" not in unit
        assert nest.run("readlink /usr/local/bin/givre").stdout.strip() == "/usr/local/givre/bin/givre"
        assert nest.run("ls /etc/systemd/system/givre.service.d").stdout.split() == ["credentials.conf", "gpu.conf"]
    finally:
        nest.run(f"{INSTALL} --uninstall --purge --prefix /usr/local/givre")


def test_a_python_that_the_service_cannot_run_is_named(nest: Nest) -> None:
    nest.run(f"mkdir -p /root/bin && cp {PYTHON} /root/bin/python3")
    done = nest.run(
        f"{INSTALL} --wheel {nest.wheel} --no-fetch".replace(
            f"PYTHON={PYTHON}", "PYTHON=/root/bin/python3 PYTHONHOME=/opt/python"
        ),
        limit_s=60,
    )
    try:
        assert done.returncode == 1
        assert "the user givre cannot run /root/bin/python3" in done.stderr
    finally:
        nest.run(f"{INSTALL} --uninstall --purge")


def test_a_folder_of_somebody_elses_is_neither_taken_nor_removed(nest: Nest) -> None:
    nest.run("mkdir -p /opt/precious && touch /opt/precious/file")
    taken = nest.run(f"{INSTALL} --wheel {nest.wheel} --no-fetch --prefix /opt/precious")
    removed = nest.run(f"{INSTALL} --uninstall --prefix /opt/precious")
    assert (taken.returncode, removed.returncode) == (1, 1)
    assert "was not made by this script" in taken.stderr
    assert nest.run("ls -A /opt/precious").stdout == "file\n"
    nest.run(f"{INSTALL} --uninstall --purge")

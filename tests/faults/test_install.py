"""install.sh for real: as root, on a machine of its own that forgets everything afterwards."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.faults.conftest import Nest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = Path(pytest.__file__).parents[1]
PYTHON = f"/opt/python/bin/{Path(sys._base_executable).resolve().name}"
# No network inside: the wheel is built outside, and what it depends on is lent from this test's own environment.
ENVIRONMENT = f"PYTHON={PYTHON} LD_LIBRARY_PATH=/opt/python/lib PIP_NO_INDEX=1 PIP_NO_DEPS=1 PIP_NO_CACHE_DIR=1"
INSTALL = f"{ENVIRONMENT} sh /opt/repository/deploy/install.sh"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for part in ("config", "detectors", "stream", "plant"):
        shutil.copytree(REPOSITORY / part, folder / "source" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder / "source")
    (folder / "source/README.md").touch()  # named by pyproject.toml; what it says has no part in this
    build = "import setuptools.build_meta as b; print(b.build_wheel('..'))"
    made = subprocess.run(
        [sys.executable, "-c", build], cwd=folder / "source", capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr[-2000:]
    return folder / made.stdout.split()[-1]


@pytest.fixture(scope="module")
def nest(
    tmp_path_factory: pytest.TempPathFactory,
    wheel: Path,
    nested_systemd: Callable[[Path], AbstractContextManager[Nest]],
) -> Iterator[Nest]:
    folder = tmp_path_factory.mktemp("nest")
    (folder / "opt/wheel").mkdir(parents=True)
    shutil.copy(wheel, folder / "opt/wheel")
    with nested_systemd(folder) as booted:
        booted.wheel = f"/opt/wheel/{wheel.name}"
        yield booted


@pytest.fixture
def installed(nest: Nest) -> Iterator[Nest]:
    """A machine with Givre on it, as install.sh leaves it."""
    done = nest.run(f"{INSTALL} --wheel {nest.wheel} --no-fetch", limit_s=60)
    assert done.returncode == 0, done.stderr
    site = nest.run("echo /opt/givre/lib/python3*/site-packages").stdout.strip()
    nest.run(f"echo /opt/venv{str(PACKAGES).removeprefix(sys.prefix)} > {site}/lent.pth")
    yield nest
    nest.run(f"{INSTALL} --uninstall --purge")


def test_an_installed_givre_answers_to_its_name(installed: Nest) -> None:
    said = installed.run("LD_LIBRARY_PATH=/opt/python/lib givre --help")
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
    for program in ("mosquitto", "influxd"):
        require(program)
    run, deploy = installed.run, "/opt/repository/deploy"
    blocks = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs/install.md").read_text(), re.DOTALL)
    config, v1 = blocks
    before, sink, after = re.split(r"(?m)(^  store:\n(?:    .*\n)+)", config)
    assert "version" not in sink, "the manual's own sink is of version 2; the server of this test needs the other one"

    run(f"cp {deploy}/mosquitto/givre.conf /etc/mosquitto/conf.d/; cp {deploy}/mosquitto/givre.acl /etc/mosquitto/")
    accounts = "".join(f"{name}:{name[::-1]}\n" for name in ("givre-in", "givre-out", "plant", "operator"))
    run(f"printf '{accounts}' > /etc/mosquitto/givre.passwd; mosquitto_passwd -U /etc/mosquitto/givre.passwd")
    run("chown mosquitto /etc/mosquitto/givre.*; chmod 0600 /etc/mosquitto/givre.*")
    for unit in ("mosquitto", "influxdb"):
        done = run(f"systemctl restart {unit}")
        assert done.returncode == 0, (
            done.stderr + run(f"journalctl --unit={unit} --no-pager; cat /var/log/mosquitto/*").stdout
        )
    installed.wait(lambda: run(f"{deploy}/influxdb/setup-v1.sh").returncode == 0, 15, "the database is made")

    for name, secret in (("broker_password", "ni-ervig"), ("alerts_password", "tuo-ervig")):
        run(f"umask 077; echo {secret} > /etc/givre/credentials/{name}")
        run(f"sed -i 's/^# \\(LoadCredential={name}:\\)/\\1/' /etc/systemd/system/givre.service.d/credentials.conf")
    # The interpreter of this test brings its own libraries: nothing of the manual's.
    run(
        "printf '[Service]\\nEnvironment=LD_LIBRARY_PATH=/opt/python/lib\\n' > /etc/systemd/system/givre.service.d/test.conf"
    )
    run("systemctl daemon-reload")
    run(f"cat > /etc/givre/givre.yaml << 'END'\n{before}{v1}{after}END\n")
    givre = "LD_LIBRARY_PATH=/opt/python/lib givre"
    checked = run(f"CREDENTIALS_DIRECTORY=/etc/givre/credentials {givre} check --connect /etc/givre/givre.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    started = run("systemctl start givre")
    assert started.returncode == 0, started.stderr + run("journalctl --unit=givre --no-pager").stdout
    publish = "mosquitto_pub -u plant -P tnalp -q 1 -t plant/trial"
    run(f"{publish} -m 5.1")

    def states() -> str:
        return run("influx -database givre -execute 'SELECT state FROM alarm' -format csv").stdout

    def raised() -> bool:
        # Again and again, as a plant does: what is published before the first subscription stands is nobody's.
        run(f"{publish} -m 9.0")
        return ",unacknowledged" in states()

    installed.wait(raised, 60, "the alarm stands in the database")
    told = run("mosquitto_sub -u operator -P rotarepo -t givre/plant1/exchanger/trial/alarm/tolerance -C 1 -W 5").stdout
    assert json.loads(told)["state"] == "unacknowledged"
    listed = run(f"runuser -u givre -- env {givre} alarms list /etc/givre/givre.yaml")
    assert "exchanger/trial/tolerance" in listed.stdout, listed.stderr
    run(f"runuser -u givre -- env {givre} alarms ack /etc/givre/givre.yaml exchanger/trial/tolerance --by operator")
    installed.wait(lambda: ",acknowledged" in states(), 10, "the alarm is acknowledged")
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
    installed.wait(lambda: installed.show("MainPID") not in (process, "0"), 30, "it runs anew")
    assert installed.started()


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

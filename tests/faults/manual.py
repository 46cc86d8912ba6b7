"""Givre on a nested machine as docs/install.md puts it there: installed, let in at broker and database, started."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Nest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = Path(pytest.__file__).parents[1]
PYTHON = f"/opt/python/bin/{Path(sys._base_executable).resolve().name}"
# No network inside: the wheel is built outside, and what it depends on is lent from this test's own environment.
ENVIRONMENT = f"PYTHON={PYTHON} PIP_NO_INDEX=1 PIP_NO_DEPS=1 PIP_NO_CACHE_DIR=1"
INSTALL = f"{ENVIRONMENT} sh /opt/repository/deploy/install.sh"
PUBLISH = "mosquitto_pub -u plant -P tnalp -q 1 -t plant/trial"
"""The value of the manual's one tag, by the account of the plant: put `-m 5.1` behind it."""


def make_wheel(folder: Path, change: Callable[[Path], None] = lambda _source: None) -> Path:
    """A wheel of this checkout, made in `folder`, with the change made to a copy of its source first."""
    source = folder / "source"
    for part in ("config", "detectors", "stream", "plant"):
        shutil.copytree(REPOSITORY / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", source)
    (source / "README.md").touch()  # named by pyproject.toml; what it says has no part in this
    change(source)
    build = "import setuptools.build_meta as b; print(b.build_wheel('..'))"
    made = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2000:]
    return folder / made.stdout.split()[-1]


def install(nest: Nest, wheel: str) -> None:
    """Runs install.sh, and lends it what the wheel depends on."""
    # The interpreter of this test brings its own libraries: nothing of the manual's.
    nest.run("echo /opt/python/lib > /etc/ld.so.conf.d/python.conf; ldconfig")
    done = nest.run(f"{INSTALL} --wheel {wheel} --no-fetch", limit_s=60)
    assert done.returncode == 0, done.stderr
    site = nest.run("echo /opt/givre/lib/python3*/site-packages").stdout.strip()
    nest.run(f"echo /opt/venv{str(PACKAGES).removeprefix(sys.prefix)} > {site}/lent.pth")


def let_in(nest: Nest) -> None:
    """Sections 3 to 6 of the manual: broker, database, secrets, and its configuration with one tag."""
    run, deploy = nest.run, "/opt/repository/deploy"
    blocks = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs/install.md").read_text(), re.DOTALL)
    config, v1, _ = blocks
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
    nest.wait(lambda: run(f"{deploy}/influxdb/setup-v1.sh").returncode == 0, 15, "the database is made")

    for name, secret in (("broker_password", "ni-ervig"), ("alerts_password", "tuo-ervig")):
        run(f"umask 077; echo {secret} > /etc/givre/credentials/{name}")
        run(f"sed -i 's/^# \\(LoadCredential={name}:\\)/\\1/' /etc/systemd/system/givre.service.d/credentials.conf")
    run("systemctl daemon-reload")
    run(f"cat > /etc/givre/givre.yaml << 'END'\n{before}{v1}{after}END\n")


def states(nest: Nest) -> str:
    """What the database has of the alarm: a line for each transition."""
    return nest.run("influx -database givre -execute 'SELECT state FROM alarm' -format csv").stdout


def start(nest: Nest) -> None:
    """Sections 7 and 9: the service runs, and its first alarm stands in the database."""
    started = nest.run("systemctl start givre")
    assert started.returncode == 0, started.stderr + nest.run("journalctl --unit=givre --no-pager").stdout
    nest.run(f"{PUBLISH} -m 5.1")

    def raised() -> bool:
        # Again and again, as a plant does: what is published before the first subscription stands is nobody's.
        nest.run(f"{PUBLISH} -m 9.0")
        return ",unacknowledged" in states(nest)

    nest.wait(raised, 60, "the alarm stands in the database")

"""A machine of its own for tests of the service: this machine's systemd in private namespaces, over a throw-away copy of /."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

REPOSITORY = Path(__file__).parents[2]
NAMESPACES = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net")
SCRIPT = REPOSITORY / "tests/servers/nested_systemd.sh"


class Nest:
    """A booted system; `run` runs a command inside it."""

    def __init__(self, pid: str) -> None:
        self._pid = pid

    def run(self, command: str, limit_s: float = 20) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "--target", self._pid, "--all", "sh", "-c", command]
        return subprocess.run(enter, capture_output=True, text=True, check=False, timeout=limit_s)

    def show(self, name: str) -> str:
        """One property of the service."""
        return self.run(f"systemctl show --value --property={name} givre").stdout.strip()

    def wait(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                journal = self.run("journalctl --unit=givre --no-pager | tail -40").stdout
                pytest.fail(f"not within {limit_s} s: {what}\n{self.run('systemctl status givre').stdout}\n{journal}")
            time.sleep(0.05)

    def started(self) -> str:
        """The service runs; its main process."""
        self.wait(lambda: self.show("ActiveState") == "active", 15, "the service is active")
        return self.show("MainPID")


@pytest.fixture(scope="session")
def nested_systemd(require: Callable[[str], str]) -> Callable[[Path], AbstractContextManager[Nest]]:
    """Call it with a folder whose content is laid over / to get a booted `Nest` for a `with`.

    Inside, this checkout lies at /opt/repository, the interpreter at /opt/python and its packages at /opt/venv: where they
    lie outside, under /root or /home perhaps, the unit would not let a service see them.
    """
    require("systemd-analyze")
    probe = subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        reason = f"the namespaces that a unit is started in need root, and more rights than most containers have: {probe.stderr}"
        if os.environ.get("GIVRE_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return _boot


@contextmanager
def _boot(folder: Path) -> Iterator[Nest]:
    mounts = [f"{sys.base_prefix}:/opt/python", f"{sys.prefix}:/opt/venv", f"{REPOSITORY}:/opt/repository"]
    with subprocess.Popen(
        [str(SCRIPT), str(folder), *mounts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        word, _, pid = process.stdout.readline().strip().partition(" ")
        try:
            assert word == "ready", process.stderr.read()
            yield Nest(pid)
        finally:
            process.stdin.close()
            process.wait(timeout=20)

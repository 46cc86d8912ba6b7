"""Is a password anywhere but in its file and on its way to the broker?"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "brown-Heron-71-under-ice"
WRONG = "grey-Heron-72-on-ice"
LOGIN = ", username: givre, password: {file: password}"


@pytest.fixture
def guarded(mosquitto: Any, require: Callable[[str], str]) -> Any:
    """A broker that asks for a login."""
    mosquitto.stop()
    passwords = mosquitto.folder / "passwords"
    passwords.write_text(f"givre:{SECRET}\n")
    subprocess.run([require("mosquitto_passwd"), "-U", str(passwords)], check=True, timeout=20)
    mosquitto.start("allow_anonymous false", f"password_file {passwords}")
    return mosquitto


def write_password(folder: Path, text: str) -> None:
    (folder / "password").write_text(text)
    (folder / "password").chmod(0o600)


def leaks(folder: Path, secret: str) -> list[str]:
    """Files of the folder, but its own, that hold the secret."""
    own = folder / "password"
    return [str(p) for p in folder.rglob("*") if p.is_file() and p != own and secret.encode() in p.read_bytes()]


def test_no_secret_is_on_disk_in_the_log_on_a_command_line_or_in_a_child(
    guarded: Any, run_service: Any, witness: Any, configuration: Any, tmp_path: Path
) -> None:
    write_password(tmp_path, SECRET + "\n")
    seen = witness(guarded.port, "givre", SECRET)
    service = run_service(configuration(guarded.port, LOGIN))
    service.until(lambda: any(topic.startswith("givre/test/") for topic, _ in seen.messages))
    seen.publish("plant/water", "5.5")
    service.until(lambda: any(topic.endswith("/event") for topic, _ in seen.messages))
    service.until(lambda: len(service.family()) > 1)
    for process in service.family():
        (core,) = [line for line in (process / "limits").read_text().splitlines() if line.startswith("Max core file")]
        assert core.split()[4:6] == ["0", "0"]
        for file in ("cmdline", "environ"):
            assert SECRET.encode() not in (process / file).read_bytes()
    assert not [topic for topic, payload in seen.messages if SECRET.encode() in payload]
    assert leaks(tmp_path, SECRET) == []
    assert service.close() == 0
    assert leaks(tmp_path, SECRET) == []


def test_a_wrong_password_is_said_and_not_repeated(
    guarded: Any, run_service: Any, configuration: Any, tmp_path: Path
) -> None:
    write_password(tmp_path, WRONG)
    service = run_service(configuration(guarded.port, LOGIN))
    service.until(lambda: "refuses user 'givre'" in service.log)
    assert service.close() == 0
    assert leaks(tmp_path, WRONG) == []


def test_a_password_that_others_may_read_is_refused(run_service: Any, configuration: Any, tmp_path: Path) -> None:
    write_password(tmp_path, SECRET)
    (tmp_path / "password").chmod(0o644)
    service = run_service(configuration(1, LOGIN))
    assert service._process.wait(20) != 0
    assert "found mode 0644. chmod 600" in service.log
    assert "Traceback" not in service.log and SECRET not in service.log

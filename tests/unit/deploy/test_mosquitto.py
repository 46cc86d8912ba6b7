"""The broker's sample configuration under a real mosquitto: who may log in, and who may do what."""

from __future__ import annotations

import itertools
import os
import pwd
import queue
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEPLOY = Path(__file__).parents[3] / "deploy"
ACCOUNTS = ("givre-in", "givre-out", "plant", "operator", "desk")
NOT_AUTHORISED = 0x87
NUMBERS = itertools.count()
ALARM = "givre/demo/exchanger/chilled_water/alarm/tolerance"
VALUE = "plant/exchanger/power"
COMMAND = "givre/demo/command"


def adapted(port: int, folder: Path) -> str:
    """The sample with this test's port and folders."""
    text = (DEPLOY / "mosquitto/givre.conf").read_text()
    assert "listener 1883 127.0.0.1" in text
    text = text.replace("listener 1883 ", f"listener {port} ").replace("/etc/mosquitto/", f"{folder}/")
    return f"{text}\npersistence_location {folder}/\n"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], str]) -> Iterator[int]:
    """A running broker's port; each account's password is its name backwards."""
    program, folder = require("mosquitto"), tmp_path_factory.mktemp("broker")
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    (folder / "givre.passwd").write_text("".join(f"{name}:{name[::-1]}\n" for name in ACCOUNTS))
    subprocess.run([require("mosquitto_passwd"), "-U", str(folder / "givre.passwd")], check=True, timeout=20)
    (folder / "givre.acl").write_bytes((DEPLOY / "mosquitto/givre.acl").read_bytes())
    (folder / "givre.conf").write_text(adapted(port, folder))
    if os.geteuid() == 0:  # as root it becomes its own user, which must reach the files
        owner = pwd.getpwnam("mosquitto")
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        for parent in list(folder.parents)[:4]:
            if parent.stat().st_uid == os.geteuid() and parent.name.startswith(("pytest-", "popen-")):
                parent.chmod(parent.stat().st_mode | 0o011)
    process = subprocess.Popen([program, "-c", str(folder / "givre.conf")], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, process.stderr and process.stderr.read()
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=10)


class Account:
    """A client of MQTT 5, which is told when something is refused."""

    def __init__(self, client: mqtt.Client) -> None:
        self.client = client
        self.heard: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[int] = queue.SimpleQueue()
        client.on_message = lambda _c, _u, message: self.heard.put((message.topic, message.payload))
        client.on_publish = lambda _c, _u, _m, reason, _p: self.answers.put(reason.value)

    def may_write(self, topic: str, payload: bytes = b"1") -> bool:
        self.client.publish(topic, payload, qos=1)
        return self.answers.get(timeout=5) != NOT_AUTHORISED

    def follow(self, topic: str) -> None:
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.client.on_subscribe = lambda *_: done.put(None)
        self.client.subscribe(topic, qos=1)
        done.get(timeout=5)


@contextmanager
def logged_in(port: int, name: str, password: str | None = None) -> Iterator[Account]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"test-{next(NUMBERS)}", protocol=mqtt.MQTTv5)
    client.username_pw_set(name, name[::-1] if password is None else password)
    reasons: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.on_connect = lambda _c, _u, _f, reason, _p: reasons.put(reason)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        reason = reasons.get(timeout=5)
        if reason.is_failure:
            raise PermissionError(str(reason))
        yield Account(client)
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.parametrize(("name", "password"), [("givre-in", "wrong"), ("nobody", "ydobon"), ("", "")])
def test_who_has_no_account_is_not_let_in(broker: int, name: str, password: str) -> None:
    with pytest.raises(PermissionError, match="Not authorized"), logged_in(broker, name, password):
        pass


@pytest.mark.parametrize(
    ("name", "topic", "allowed"),
    [
        ("givre-in", "givre/demo/status/source/broker", True),
        ("givre-in", VALUE, False),
        ("givre-in", ALARM, False),
        ("givre-out", ALARM, True),
        ("givre-out", "givre/demo/event", True),
        ("givre-out", "givre/demo/status", True),
        ("givre-out", VALUE, False),
        ("plant", VALUE, True),
        ("plant", ALARM, False),
        ("operator", VALUE, False),
        ("operator", ALARM, False),
        ("operator", COMMAND, False),
        ("plant", COMMAND, False),
        ("givre-in", COMMAND, False),
        ("desk", COMMAND, True),
        ("desk", ALARM, False),
        ("desk", f"{COMMAND}/reply", False),
        ("desk", VALUE, False),
    ],
)
def test_an_account_writes_what_is_its_own(broker: int, name: str, topic: str, allowed: bool) -> None:
    with logged_in(broker, name) as account:
        assert account.may_write(topic) is allowed


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("operator", {VALUE, ALARM}),
        ("givre-in", {VALUE}),
        ("plant", set()),
    ],
)
def test_an_account_hears_what_it_may(broker: int, name: str, expected: set[str]) -> None:
    with (
        logged_in(broker, name) as listener,
        logged_in(broker, "plant") as plant,
        logged_in(broker, "givre-out") as sink,
    ):
        listener.follow("#")
        assert plant.may_write(VALUE)
        assert sink.may_write(ALARM)
        # What the broker has accepted from those two is on its way before the answer to another subscription.
        listener.follow("end")
        heard = set()
        while not listener.heard.empty():
            heard.add(listener.heard.get()[0])
        assert heard == expected


def test_compose_starts_the_broker_with_the_same_rules() -> None:
    [script] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["mosquitto"]["command"]
    for name in ACCOUNTS[:-1]:  # an account that may silence alarms is made by hand
        assert f'"{name}:$$' in script
    assert "listener 1883 " in (DEPLOY / "mosquitto/givre.conf").read_text(), (
        "compose.yaml opens this line to its network"
    )

"""Operators' commands over a real broker: carried out once, answered with their id, and refused where they must be."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Follower, Service

ALARM = "hx/water/tolerance"
SEND = "ops/command"


class Operator:
    """Sends commands at the follower's connection and reads the replies."""

    def __init__(self, service: Service, follower: Follower) -> None:
        self._service, self._follower = service, follower
        follower._client.subscribe(f"{SEND}/reply", 1)

    def send(self, **fields: Any) -> None:
        said = {"at": datetime.now(UTC).isoformat(), "alarm": ALARM, "by": "ana"} | fields
        self._follower.publish(SEND, json.dumps(said))

    def raw(self, payload: bytes, *, retain: bool = False) -> None:
        self._follower._client.publish(SEND, payload, qos=1, retain=retain).wait_for_publish(5)

    @property
    def replies(self) -> list[tuple[str, str, str]]:
        """Id, result and text of each, in order."""
        return [
            (m["id"], m["result"], m["text"])
            for topic, m, _ in list(self._follower.messages)
            if topic == f"{SEND}/reply"
        ]

    def reply(self, number: int) -> tuple[str, str, str]:
        self._service.until(lambda: len(self.replies) >= number, f"there is no reply {number} among {self.replies}")
        return self.replies[number - 1]


@pytest.fixture
def listening(service: Service) -> Callable[[], None]:
    """Starts the service and waits until it listens for commands."""
    text = service.config.read_text()
    service.config.write_text(text.replace("client_id: out}", f"client_id: out, commands: {{topic: {SEND}}}}}"))

    def start() -> None:
        begin = len(service.log.read_text()) if service.log.exists() else 0
        service.start()
        service.until(lambda: "commands.alerts: listening" in service.log.read_text()[begin:], "it does not listen")

    return start


def test_a_command_is_carried_out_once_and_answered_with_its_id_also_after_kill_9(
    service: Service, follower: Follower, listening: Callable[[], None]
) -> None:
    operator = Operator(service, follower)
    listening()
    follower.publish("plant/water", "5.5")
    service.until(lambda: follower.states("tolerance") == ["unacknowledged"], "no alarm was raised")
    sent = {"id": "k-1", "command": "shelve", "for_s": 600, "at": datetime.now(UTC).isoformat()}
    operator.send(**sent)
    first = operator.reply(1)
    assert first == ("k-1", "done", f"{ALARM} shelved by ana")
    operator.send(**sent)
    assert operator.reply(2) == first
    service.end(signal.SIGKILL)
    listening()
    operator.send(**sent)
    assert operator.reply(3) == first
    operator.send(id="k-1", command="unshelve")
    assert operator.reply(4)[1:] == (
        "refused",
        f"refused, id: expected a new one for each command, found that of shelve {ALARM}",
    )
    operator.send(id="k-2", command="unshelve")
    assert operator.reply(5) == ("k-2", "done", f"{ALARM} no longer shelved, ended by ana")
    service.until(lambda: len(follower.states("tolerance")) == 3, "it is still shelved")
    assert follower.states("tolerance") == ["unacknowledged", "shelved", "unacknowledged"]
    sequences = [m["sequence"] for topic, m, _ in follower.messages if topic.endswith("/event")]
    assert sequences == [1, 2, 3]
    assert "GV302 repeated: id='k-1' command='shelve'" in service.log.read_text()


def test_what_must_be_refused_is_refused_with_a_reason_and_counted(
    service: Service, follower: Follower, listening: Callable[[], None]
) -> None:
    operator = Operator(service, follower)
    now = datetime.now(UTC)
    kept = {"id": "r-0", "command": "acknowledge", "alarm": ALARM, "by": "eve", "at": now.isoformat()}
    operator.raw(json.dumps(kept).encode(), retain=True)
    listening()
    assert operator.reply(1)[:2] == ("r-0", "refused")
    assert "expected a command that is not retained" in operator.reply(1)[2]
    operator.raw(b"", retain=True)
    follower.publish("plant/water", "5.5")
    service.until(lambda: follower.states("tolerance") == ["unacknowledged"], "no alarm was raised")
    operator.send(id="r-1", command="acknowledge", at=(now - timedelta(minutes=5)).isoformat())
    operator.send(id="r-2", command="acknowledge", at=(now + timedelta(minutes=5)).isoformat())
    operator.send(id="r-3", command="acknowledge", alarm="hx/water/tolerence")
    operator.send(id="r-4", command="open_valve")
    operator.send(command="acknowledge")
    operator.send(id="r-6", command="acknowledge", via="terminal", max_age_s=1e6)
    for payload in (b"ack", b"\xff\xfe", b"[" * 4000, b"x" * 5000, b'{"id": "a", "id": "b"}'):
        operator.raw(payload)
    operator.send(id="r-9", command="acknowledge")
    operator.reply(13)
    assert [result for _, result, _ in operator.replies] == ["refused"] * 12 + ["done"]
    said = {name: text for name, _, text in operator.replies[1:]}
    assert "s old, older than 60 s" in said["r-1"]
    assert "s in the future" in said["r-2"]
    assert "the nearest: hx/water/tolerance, " in said["r-3"]
    assert "command: expected one of acknowledge" in said["r-4"]
    assert "Givre's own" in said["r-6"]
    nameless = "\n".join(text for name, _, text in operator.replies if not name)
    assert "id: expected 1 to 64" in nameless
    assert nameless.count("expected a command as a JSON object") == 3
    assert "at most 4096 bytes, found 5000" in nameless
    assert "expected each key once, found 'id' twice" in nameless
    assert follower.states("tolerance") == ["unacknowledged", "acknowledged"]
    assert "Traceback" not in service.log.read_text()


def test_a_command_that_was_sent_while_the_service_was_away_is_obeyed_late_if_it_is_young_enough(
    service: Service, follower: Follower, listening: Callable[[], None]
) -> None:
    operator = Operator(service, follower)
    listening()
    follower.publish("plant/water", "5.5")
    service.until(lambda: follower.states("tolerance") == ["unacknowledged"], "no alarm was raised")
    service.end(signal.SIGTERM)
    operator.send(id="old", command="acknowledge", at=(datetime.now(UTC) - timedelta(seconds=70)).isoformat())
    operator.send(id="young", command="acknowledge")
    assert operator.replies == []
    listening()
    assert [operator.reply(n)[:2] for n in (1, 2)] == [("old", "refused"), ("young", "done")]

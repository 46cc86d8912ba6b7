"""kill -9 at random moments while values and commands come in: no transition is lost, none is told twice.

Of two tags that swing in and out of their band, one is left alone: what is told of it must be the wave, swing by swing. On the
other an operator acts meanwhile, and asks again until there is an answer: each command is done once, or refused once. A third
counts the swings, as bare numbers without a time: each is kept once, though the broker sends it again.
`GIVRE_KILLS` is how often the service is killed in the longer run (marker `slow_fault`).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest

from config.load import load
from detectors.records import Alert, Reply, Sample
from stream.cli.recorded_day import judge_again
from stream.journal.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONFIG = """\
site: test
state_folder: state
lateness_s: 0.2
panel: {{members: [persistence]}}
sources:
  broker: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: in}}
sinks:
  alerts: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: out, commands: {{max_age_s: 600}}}}
assets:
  hx:
    tags:
      wave: {tag}
      desk: {tag}
      bare: {{unit: m3, period_s: 1, hold_s: 3600, source: {{name: broker, topic: plant/bare}}}}
"""
TAG = (
    "{unit: degC, period_s: 1, hold_s: 3600, tolerance: {setpoint: 5, tolerance: 0.5}, "
    "source: {name: broker, topic: plant/NAME, value: $.v, time: $.t}}"
)
WAVE, DESK = "hx/wave/tolerance", "hx/desk/tolerance"
TICK_S = 0.05
ASKS_EVERY = 6
"""Ticks from one command to the next."""
PATIENCE_S = 2.0
"""So long an operator waits for an answer before asking again."""
MOST_UNANSWERED = 20
"""With so many open questions nothing new is asked."""


class Plant:
    """Two square waves, each value another, and an operator; a client at the broker that sees all that Givre says."""

    def __init__(self, port: int, seed: int) -> None:
        self.swings = 0
        self.commands: dict[str, dict[str, Any]] = {}
        self._asked: dict[str, float] = {}
        self.replies: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.states: dict[str, dict[str, Any]] = {}
        self._random = random.Random(seed)
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="plant", clean_session=False, protocol=mqtt.MQTTv311
        )
        self._client.max_inflight_messages_set(1000)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        for topic in ("event", "command/reply", "+/+/alarm/+"):
            self._client.subscribe(f"givre/test/{topic}", 1)
        self._client.loop_start()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._swing)

    def start(self) -> None:
        self._thread.start()

    def rest(self) -> None:
        """No swing and no new command from now on; ends low."""
        self._over.set()
        self._thread.join()

    @property
    def unanswered(self) -> list[str]:
        answered = {reply["id"] for reply in list(self.replies)}
        return [name for name in self.commands if name not in answered]

    def ask_again(self) -> None:
        """Asks again for what has had no answer for a while."""
        now = time.monotonic()
        for name in self.unanswered:
            if now < self._asked.get(name, 0.0) + PATIENCE_S:
                continue
            self._asked[name] = now
            self._client.publish("givre/test/command", json.dumps(self.commands[name]), qos=1)

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_message = None  # it would keep its sockets until somebody collects the circle

    def _swing(self) -> None:
        while not self._over.is_set() or self.swings % 2:
            high, swing = self.swings % 2 == 0, self.swings
            self.swings += 1
            payload = json.dumps({"v": value(swing, high), "t": datetime.now(UTC).isoformat()})
            for tag in ("wave", "desk"):
                self._client.publish(f"plant/{tag}", payload, qos=1)
            self._client.publish("plant/bare", str(swing), qos=1)
            if self.swings % ASKS_EVERY == 0:
                self._ask()
            time.sleep(TICK_S)

    def _ask(self) -> None:
        self.ask_again()
        if len(self.unanswered) >= MOST_UNANSWERED:
            return
        name = f"k-{len(self.commands)}"
        command = self._random.choice(["acknowledge"] * 3 + ["shelve", "unshelve", "out_of_service", "in_service"])
        said = {"id": name, "at": datetime.now(UTC).isoformat(), "command": command, "alarm": DESK, "by": f"ana-{name}"}
        self.commands[name] = said | ({"for_s": self._random.choice([1, 2, 600])} if command == "shelve" else {})
        self.ask_again()

    def _hear(self, _client: object, _user: object, message: mqtt.MQTTMessage) -> None:
        said = json.loads(message.payload)
        if message.topic.endswith("/event"):
            self.events.append(said)
        elif message.topic.endswith("/reply"):
            self.replies.append(said)
        else:
            self.states[said["alarm"]] = said


def value(swing: int, high: bool) -> float:
    """Says by its last digits which swing it is of."""
    return round((6 if high else 5) + swing * 1e-5, 5)


@pytest.fixture
def service(mosquitto: Any, tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path, mosquitto.port)
    yield made
    made.kill()


class Service:
    """`givre run`, to be killed."""

    def __init__(self, folder: Path, port: int) -> None:
        self.config = folder / "givre.yaml"
        tags = {"wave": TAG.replace("NAME", "wave"), "desk": TAG.replace("NAME", "desk")}
        text = CONFIG.format(port=port, tag="{tag}").replace("wave: {tag}", f"wave: {tags['wave']}")
        self.config.write_text(text.replace("desk: {tag}", f"desk: {tags['desk']}"))
        self.log = folder / "log"
        self.started_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.started_s = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([sys.executable, "-m", "stream", "run", str(self.config)], stderr=log)

    @property
    def up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        return "source.broker: connected" in self.log.read_text()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(15)
            self._process = None

    def end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(30) == 0, self.log.read_text()[-3000:]
        self._process = None


def until(true: Callable[[], bool], otherwise: Callable[[], str], limit_s: float = 40) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.02)


def test_after_8_kills_no_transition_is_lost_or_told_twice(service: Service, mosquitto: Any) -> None:
    torment(service, mosquitto.port, kills=8, seed=1)


@pytest.mark.slow_fault
@pytest.mark.timeout(1800)
def test_after_100_kills_no_transition_is_lost_or_told_twice(
    service: Service, mosquitto: Any, record_property: Callable[[str, object], None]
) -> None:
    took_s = torment(service, mosquitto.port, kills=int(os.environ.get("GIVRE_KILLS", "100")), seed=2)
    record_property("figure", f"{len(took_s)} starts: {median(took_s):.1f} s, the slowest {max(took_s):.1f} s")
    assert max(took_s) < 5


def torment(service: Service, port: int, *, kills: int, seed: int) -> list[float]:
    """Kills the service and has it start again; seconds that each start took which was waited for."""
    moment = random.Random(seed)
    took_s: list[float] = []
    service.start()
    until(lambda: service.up, service.log.read_text)
    plant = Plant(port, seed)
    try:
        plant.start()
        for i in range(kills):
            if i % 5 != 4:  # every fifth dies on its way up
                until(lambda: service.up, service.log.read_text)
                took_s.append(time.monotonic() - service.started_s)
            time.sleep(moment.uniform(0.02, 0.9))
            service.kill()
            service.start()
        until(lambda: service.up, service.log.read_text)
        plant.rest()
        asked = time.monotonic()
        while plant.unanswered and time.monotonic() - asked < 40:
            plant.ask_again()
            time.sleep(0.5)
        assert not plant.unanswered, service.log.read_text()[-3000:]
        until(lambda: raised(plant.events)[-1:] == [plant.swings - 2], lambda: f"{plant.swings}: {plant.events[-1:]}")
        service.end()
        with closing(Journal(service.config.parent / "state/journal.sqlite3", max_size_mb=1024, keep_days=30)) as kept:
            examine(plant, kept)
        agrees(service)
        print(
            f"{kills} kills, {plant.swings} swings, {len(plant.events)} events, {len(plant.commands)} commands, "
            f"{len(plant.replies)} replies, states {dict(Counter(event['state'] for event in plant.events))}"
        )
        return took_s
    finally:
        plant.close()


def raised(events: list[dict[str, Any]]) -> list[int]:
    """The swings of the wave at which its alarm was raised, once each."""
    seen: dict[int, int] = {}
    for event in list(events):
        if event["alarm"] == WAVE and event["state"] == "unacknowledged":
            seen.setdefault(event["sequence"], round((event["value"] - 6) * 1e5))
    return list(seen.values())


def examine(plant: Plant, kept: Journal) -> None:
    """What was told, and what is kept, against what the plant did and the operator asked for."""
    samples = [record for record in kept.history(kinds={Sample}) if isinstance(record, Sample)]
    bare = [sample.value for sample in samples if sample.tag == "hx/bare"]
    assert sorted(Counter(bare).items()) == [(swing, 1) for swing in range(plant.swings)]
    assert len(samples) == 3 * plant.swings
    alerts = [record for record in kept.history(kinds={Alert}) if isinstance(record, Alert)]
    for alarm in (WAVE, DESK):
        mine = [alert for alert in alerts if alert.alarm == alarm]
        assert [alert.sequence for alert in mine] == list(range(1, len(mine) + 1))
        assert all(after.previous is before.state for before, after in pairwise(mine))
        # A message may come twice, as always at QoS 1, and is then the same.
        told = {event["sequence"]: event for event in plant.events if event["alarm"] == alarm}
        assert all(event == told[event["sequence"]] for event in plant.events if event["alarm"] == alarm)
        assert [(event["sequence"], event["state"]) for event in told.values()] == [(a.sequence, a.state) for a in mine]
        assert plant.states[alarm] == told[len(mine)]
    wave = [alert for alert in alerts if alert.alarm == WAVE]
    assert raised(plant.events) == list(range(0, plant.swings, 2))
    swings = [value(swing, swing % 2 == 0) for swing in range(plant.swings)]
    assert [alert.verdict and alert.verdict.value for alert in wave] == swings
    replies = {reply["id"]: reply for reply in plant.replies}
    assert all(reply == replies[reply["id"]] for reply in plant.replies)
    done = Counter(f"ana-{name}" for name, reply in replies.items() if reply["result"] == "done")
    assert Counter(alert.by for alert in alerts if alert.by) == done
    assert done
    known = {record.id for record in kept.history(kinds={Reply}) if isinstance(record, Reply)}
    assert known == set(plant.commands)


def agrees(service: Service) -> None:
    """Judged again from the journal, all runs and kills included, the day gives the same alerts."""
    loaded = load(service.config)
    with closing(Journal(service.config.parent / "again.sqlite3", max_size_mb=1024, keep_days=30)) as again:
        outcome = judge_again(loaded, service.config.parent / "state/journal.sqlite3", again)
    assert outcome.same, outcome.first_difference

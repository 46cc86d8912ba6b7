"""What the soak's plant says, number by number, and what is heard of Givre: each message is known and can be looked for."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as mqtt

__all__ = ["FLOWS", "WAVE", "Observer", "Plant", "Said", "wave_value"]

FLOWS = ("flow0", "flow1", "flow2", "flow3", "flow4")
"""Tags that count: the n-th value of each is n."""
WAVE = "hx/wave/tolerance"
TICK_S = 0.2
SWING_TICKS = 12
"""The wave goes up or down every so many ticks."""


@dataclass(frozen=True, slots=True)
class Said:
    """One tick: the number that all flows show, the wave's value where it swings, and their time."""

    number: int
    wave: float | None
    at: float


def wave_value(swing: int) -> float:
    """5 or 6 in turn, and by its last digits the swing it is of."""
    return round((6 if swing % 2 == 0 else 5) + swing * 1e-5, 5)


class Plant:
    """Publishes at QoS 1, keeps all it has said, and says it again from a point on where a broker has forgotten it."""

    def __init__(self, port: int) -> None:
        self.said: list[Said] = []
        self.swings = 0
        self._port = port
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._client: mqtt.Client | None = self._connected(fresh=True)
        self._thread = threading.Thread(target=self._speak)

    def start(self) -> None:
        self._thread.start()

    def rest(self) -> None:
        """Says nothing new from now on; ends low."""
        self._over.set()
        self._thread.join()

    def lose_broker(self) -> None:
        """The broker is about to be gone, with all that it holds: what is said from now on waits."""
        with self._lock:
            self._leave()

    def find_broker(self, first: int) -> None:
        """It is there again: all from tick `first` on is said again, in its order, before anything new."""
        client = self._connected(fresh=True)
        with self._lock:
            self._client = client
            for said in self.said[first:]:
                self._publish(said)

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._leave()

    def _leave(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _connected(self, *, fresh: bool) -> mqtt.Client:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="plant", clean_session=fresh)
        client.max_inflight_messages_set(200)
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        return client

    def _speak(self) -> None:
        began = time.time()
        tick = 0
        while not self._over.is_set() or self.swings % 2:
            with self._lock:
                wave = None
                if tick % SWING_TICKS == 0:
                    wave, self.swings = wave_value(self.swings), self.swings + 1
                # Whole milliseconds are the same number wherever they are written.
                self.said.append(Said(tick, wave, round(began + tick * TICK_S, 3)))
                self._publish(self.said[-1])
            tick += 1
            time.sleep(max(began + tick * TICK_S - time.time(), 0))

    def _publish(self, said: Said) -> None:
        if self._client is None:
            return
        at = datetime.fromtimestamp(said.at, UTC).isoformat()
        for tag in FLOWS:
            self._client.publish(f"plant/{tag}", json.dumps({"v": said.number, "t": at}), qos=1)
        if said.wave is not None:
            self._client.publish("plant/wave", json.dumps({"v": said.wave, "t": at}), qos=1)


class Observer:
    """A client with a session of its own that keeps every event and the retained state of every alarm."""

    def __init__(self, port: int, site: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.states: dict[str, dict[str, Any]] = {}
        self._topics = [(f"givre/{site}/{topic}", 1) for topic in ("event", "+/+/alarm/+")]
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="observer", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topics)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port, keepalive=10)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, _client: object, _user: object, message: mqtt.MQTTMessage) -> None:
        said = json.loads(message.payload)
        if message.topic.endswith("/event"):
            self.events.append(said)
        else:
            self.states[said["alarm"]] = said

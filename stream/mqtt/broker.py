"""How does the event loop hold one connection to an MQTT broker?

paho-mqtt speaks the protocol; the event loop drives it, without paho's own network thread: a thread that dies takes nothing
down with it and the service lives on deaf, whereas here whatever breaks ends the connection and says so. It is also quicker
(no hand-over per message), and back-pressure is simply not reading.

A `Connection` lives from CONNECT to its loss and is never used again; whoever wants to stay connected opens another after a
wait (`stream.backoff`). Nothing can therefore leak from one connection into the next, such as an acknowledgement whose
number means another message by now.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from stream.mqtt.answer import goodbye, refusal, silence, words
from stream.mqtt.dial import BrokerError, Stream, dial
from stream.mqtt.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from stream.mqtt.address import Address
    from stream.mqtt.message import Will

__all__ = ["BrokerError", "Connection", "RefusedError"]

OPEN_LIMIT_S = 10.0
TICK_S = 1.0
SILENT_KEEPALIVES = 1.5  # as the standard has it for the broker
SESSION_EXPIRY_S = 7 * 86_400  # MQTT 5: so long the broker keeps what arrives while we are away
RECEIVE_MAXIMUM = 2000  # MQTT 5: messages we may have in hand without having acknowledged them
WINDOW = 20  # messages sent and not yet confirmed, at most; a broker may allow fewer
PACKET_MAXIMUM = 1 << 20  # MQTT 5: the broker drops what is larger instead of sending it

# PUBACK codes that say the same message would never be taken: topic name invalid, payload format invalid.
NEVER = frozenset({0x90, 0x99})


class RefusedError(Exception):
    """The broker will never take this message; the connection is well."""


class Connection:
    """One connection to a broker; made by `open`.

    `lost` is a future with the reason, a sentence, once the connection is gone, however that came about.
    """

    def __init__(
        self, address: Address, *, session: bool, will: Will | None, on_message: Callable[[Message], None]
    ) -> None:
        self._address = address
        self._session = session
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.session_present = False
        self.packet_maximum = 268_435_455
        self.retains = True
        self._opened_at = time.monotonic()
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._stream: Stream | None = None
        self._reader: int | None = None
        self._paused = False
        self._flush_due = False
        self._waits_to_write = False
        self._tick: asyncio.TimerHandle | None = None
        self._window = WINDOW
        self._outbox: deque[tuple[str, bytes, bool, asyncio.Future[None]]] = deque()
        self._published: dict[int, asyncio.Future[None]] = {}
        self._subscribed: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._client = self._make_client(will)

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        session: bool = False,
        will: Will | None = None,
        on_message: Callable[[Message], None] = lambda _: None,
    ) -> Connection:
        """Connects, and returns when the broker has accepted us. Raises BrokerError with what stands in the way.

        With `session` the broker keeps our subscriptions, and what arrives for them, while we are away, and messages are
        acknowledged by `acknowledge` alone. `on_message` is called on the event loop.
        """
        connection = cls(address, session=session, will=will, on_message=on_message)
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                connection._start(await dial(address))
                await connection._accepted
        except TimeoutError:
            connection._lose("no answer")
            said = silence(address, f"did not answer within {OPEN_LIMIT_S:g} s")
            raise BrokerError(f"{address}: {said}") from None
        except BaseException:
            connection._lose("not accepted")
            raise
        return connection

    @property
    def lasted_s(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._opened_at

    async def subscribe(self, filters: Sequence[str]) -> dict[str, str]:
        """Subscribes at QoS 1; returns the filters the broker refuses, with its reason. Raises BrokerError if lost."""
        if self.lost.done():
            raise BrokerError(self.lost.result())
        _, mid = self._client.subscribe([(topic_filter, 1) for topic_filter in filters])
        if mid is None:
            raise BrokerError(f"{self._address}: connection lost")
        answer = self._subscribed[mid] = self._loop.create_future()
        codes = await answer
        return {f: code.getName() for f, code in zip(filters, codes, strict=True) if code.is_failure}

    def unsubscribe(self, topic_filter: str) -> None:
        """Ends a subscription, without waiting for the answer."""
        if not self.lost.done():
            self._client.unsubscribe(topic_filter)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> asyncio.Future[None]:
        """Sends at QoS 1, in the order of the calls; the future is done when the broker has taken it.

        It fails with RefusedError where the broker says never, with BrokerError for all that may be better later.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        if self.lost.done():
            done.set_exception(BrokerError(self.lost.result()))
        else:
            self._outbox.append((topic, payload, retain, done))
            self._send()
        return done

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Tells the broker that these messages are ours now; nothing happens if the connection that brought them is gone."""
        if not self.lost.done():
            for mid in mids:
                self._client.ack(mid, 1)

    def pause(self) -> None:
        """Stops reading: the broker is held back by TCP."""
        if self._reader is not None and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._reader)

    def resume(self) -> None:
        """Reads again."""
        if self._reader is not None and self._paused:
            self._paused = False
            self._loop.add_reader(self._reader, self._readable)
            self._loop.call_soon(self._readable)  # what was read ahead never wakes the selector

    async def close(self) -> None:
        """Says goodbye, so that the will stays unsaid, and releases everything."""
        if not self.lost.done():
            self._client.disconnect()
            self._flush()
        self._lose("closed")

    def abandon(self, reason: str) -> None:
        """Drops the connection without goodbye: nothing more of it leaves, and the broker tells our will."""
        self._lose(reason)

    # -- the life of the connection

    def _make_client(self, will: Will | None) -> _Client:
        newer = self._address.protocol == "5"
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._address.client_id,
            clean_session=None if newer else not self._session,
            protocol=paho.MQTTv5 if newer else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.max_inflight_messages_set(0)  # the window is ours: paho's cannot follow what the broker allows
        if self._address.username is not None:
            client.username_pw_set(self._address.username, self._address.password)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._arrived
        client.on_publish = self._confirmed
        client.on_subscribe = self._answered
        client.on_socket_close = self._closing
        return client

    def _start(self, stream: Stream) -> None:
        self._stream = self._client.stream = stream
        self._client.on_socket_register_write = self._writable_soon
        settings: dict[str, Any] = {}
        if self._address.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it so
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            properties.MaximumPacketSize = PACKET_MAXIMUM
            if self._session:
                properties.SessionExpiryInterval = SESSION_EXPIRY_S
            settings = {"clean_start": not self._session, "properties": properties}
        self._reader = stream.fileno()
        self._loop.add_reader(self._reader, self._readable)
        self._client.connect(self._address.host, self._address.port, self._address.keepalive_s, **settings)
        self._tick = self._loop.call_later(TICK_S, self._tock)

    def _lose(self, reason: str) -> None:
        """The end, once: whoever waits for anything is told."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        if self._tick is not None:
            self._tick.cancel()
        if self._reader is not None:
            self._forget_socket()
        if self._stream is not None:
            self._stream.close()
        error = BrokerError(reason)
        waiters: list[asyncio.Future[Any]] = [*self._published.values(), *self._subscribed.values(), self._accepted]
        waiters += [entry[-1] for entry in self._outbox]
        for waiting in waiters:
            if not waiting.done():
                _fail(waiting, error)
        self._outbox.clear()
        self._published.clear()
        self._subscribed.clear()

    def _send(self) -> None:
        while self._outbox and len(self._published) < self._window:
            topic, payload, retain, done = self._outbox.popleft()
            self._published[self._client.publish(topic, payload, qos=1, retain=retain).mid] = done

    def _forget_socket(self) -> None:
        if self._reader is not None:
            self._loop.remove_reader(self._reader)
            self._loop.remove_writer(self._reader)
            self._reader = None

    # -- what the event loop calls

    def _readable(self) -> None:
        stream = self._stream
        if stream is None or self._paused:
            return
        try:
            while True:
                self._client.loop_read()
                if self._reader is None or self._paused or not stream.pending():
                    return
        except Exception as error:  # noqa: BLE001 - whatever broke, this connection cannot be trusted any more
            self._lose(self._broken(error))

    def _flush(self) -> None:
        """Sends what paho has queued, in one system call."""
        self._flush_due = False
        stream = self._stream
        if stream is None or self._reader is None:
            return
        try:
            stream.cork()
            self._client.loop_write()
            if self._reader is None:
                return
            sent = stream.uncork()
        except Exception as error:  # noqa: BLE001 - as above
            self._readable()  # the broker's last words may lie there unread, and say more than our own error
            self._lose(self._broken(error))
            return
        if sent == self._waits_to_write:
            self._waits_to_write = not sent
            if sent:
                self._loop.remove_writer(self._reader)
            else:
                self._loop.add_writer(self._reader, self._flush)

    def _tock(self) -> None:
        self._tick = self._loop.call_later(TICK_S, self._tock)
        assert self._stream is not None
        silent_s = time.monotonic() - self._stream.received_at
        if not self._paused and silent_s > SILENT_KEEPALIVES * self._address.keepalive_s:
            self._lose(f"{self._address}: silent for {silent_s:.0f} s, not even an answer to our ping")
            return
        try:
            self._client.loop_misc()
        except Exception as error:  # noqa: BLE001 - as above
            self._lose(self._broken(error))

    def _broken(self, error: Exception) -> str:
        if not isinstance(error, OSError):
            return f"{self._address}: connection given up after an unexpected error: {error!r}"
        if not self._accepted.done():
            return f"{self._address}: {silence(self._address, f'broke off ({words(error)})')}"
        return f"{self._address}: connection lost: {words(error)}"

    # -- what paho calls

    def _writable_soon(self, *_: object) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _closing(self, *_: object) -> None:
        self._forget_socket()

    def _connected(
        self, _c: object, _u: object, flags: paho.ConnectFlags, code: ReasonCode, found: Properties | None
    ) -> None:
        if code.is_failure:
            self._lose(f"{self._address}: {refusal(code, self._address)}")
            return
        self.session_present = flags.session_present
        self.packet_maximum = getattr(found, "MaximumPacketSize", self.packet_maximum)
        self.retains = bool(getattr(found, "RetainAvailable", 1))
        # More would be a protocol error; paho does not look at it itself.
        self._window = min(getattr(found, "ReceiveMaximum", WINDOW), WINDOW)
        if not self._accepted.done():
            self._accepted.set_result(None)

    def _disconnected(self, _c: object, _u: object, flags: paho.DisconnectFlags, code: ReasonCode, *_: object) -> None:
        ours = self._address.client_id
        if flags.is_disconnect_packet_from_server:
            self._lose(f"{self._address}: {goodbye(code, ours)}")
            return
        error = self._stream.error if self._stream is not None else None
        if error is not None:
            self._lose(self._broken(error))
        elif not self._accepted.done():
            self._lose(f"{self._address}: {silence(self._address, 'closed it without an answer')}")
        elif code.getName() == "Protocol error":
            self._lose(f"{self._address}: connection given up: it sent what is not MQTT {self._address.protocol}")
        else:
            question = f"is it stopping, or does another client use client_id {ours!r}?"
            self._lose(f"{self._address}: it closed the connection without a word: {question}")

    def _arrived(self, _c: object, _u: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # no broker should pass it on; it is nobody's topic
        mid = message.mid if message.qos else 0
        self._on_message(Message(topic, bytes(message.payload), message.retain, mid, message.dup))

    def _confirmed(self, _c: object, _u: object, mid: int, code: ReasonCode, _p: object) -> None:
        done = self._published.pop(mid, None)
        self._send()
        if done is None or done.done():
            return
        if not code.is_failure:
            done.set_result(None)
        elif code.value in NEVER:
            _fail(done, RefusedError(f"{self._address}: {code.getName()}"))
        else:
            _fail(done, BrokerError(f"{self._address}: it does not take the message: {code.getName()}"))

    def _answered(self, _c: object, _u: object, mid: int, codes: list[ReasonCode], _p: object) -> None:
        answer = self._subscribed.pop(mid, None)
        if answer is not None and not answer.done():
            answer.set_result(codes)


class _Client(paho.Client):
    """paho's client on a stream that is connected already."""

    stream: Stream

    def _create_socket(self) -> Any:
        """A stream that is connected already; the base class would connect another, blocking."""
        return self.stream


def _fail(waiting: asyncio.Future[Any], error: Exception) -> None:
    waiting.set_exception(error)
    waiting.exception()  # marks it as seen: nobody need be waiting for it any more

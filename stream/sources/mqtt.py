"""How do tags that an MQTT broker publishes become samples, without losing one on the way?

QoS 1 in a session that the broker keeps under our client id, and a message is acknowledged only when the journal holds its
sample: what is in hand when the process dies is sent again. Tags have an allow-list of topics; a filter with ``+`` or ``#``
serves its tag with every topic it matches, and one topic may serve many tags. Nothing is published but the source's own
state on its status topic.

In hand at once are at most `stream.mqtt.broker.RECEIVE_MAXIMUM` messages (MQTT 5), or as many as the broker allows (3.1.1); what
comes without acknowledgement (QoS 0) is held back by not reading.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paho.mqtt.matcher import MQTTMatcher

from detectors.records import Quality, Sample, Status
from stream.backoff import Backoff
from stream.mqtt.address import Address, Tls
from stream.mqtt.broker import BrokerError, Connection
from stream.mqtt.message import Message, Will
from stream.sources.payload import Layout, PayloadError, Reading, decode, parse, read
from stream.sources.receipt import Receipts
from stream.sources.source import NOTHING, Rejection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from stream.clock import Clock
    from stream.sources.source import Intake

__all__ = ["MqttSource", "MqttTag", "Tls"]

BATCH = 500  # messages handed over at once; more would hold the event loop for longer than a few milliseconds
WAITING = 4000  # messages read and not yet handed over; reading stops there
KNOWN_TOPICS = 10_000  # topics whose tags are remembered
FAREWELL_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTag:
    """One tag: its topic (`+` matches one level, a last `#` all below), and the paths of what stands in the payload.

    `value` None is a plain number, `time` None the time of arrival, `quality` None always good.
    """

    tag: str
    topic: str
    value: str | None = None
    time: str | None = None
    quality: str | None = None


@dataclass(frozen=True, slots=True)
class _Reader:
    """A tag and how its payload is read."""

    tag: str
    layout: Layout


class MqttSource:
    """Follows tags on one broker; see `stream.sources.source.Source`.

    `receipts` is what the journal remembers under `stream.sources.receipt.prefix`. Raises ValueError for a topic filter or a
    path that can never work.
    """

    def __init__(
        self,
        *,
        name: str,
        host: str,
        port: int,
        protocol: str,
        client_id: str,
        keepalive_s: int,
        tls: Tls | None,
        username: str | None,
        password: str | None,
        tags: Sequence[MqttTag],
        status_topic: str,
        clock: Clock,
        receipts: Mapping[str, str] = NOTHING,
    ) -> None:
        self._name = name
        self._address = Address(
            host=host,
            port=port,
            protocol=protocol,
            client_id=client_id,
            keepalive_s=keepalive_s,
            tls=tls,
            username=username,
            password=password,
        )
        self._tags = tuple(tags)
        self._status_topic = status_topic
        self._clock = clock
        self._routes = _Routes(tags)
        self._receipts = Receipts(name, receipts)

    @property
    def name(self) -> str:
        """Name of the source in the configuration."""
        return self._name

    async def run(self, intake: Intake) -> None:
        """Follows the tags for ever."""
        backoff = Backoff()
        while True:
            inbox = _Inbox(self._clock)
            lasted_s = 0.0
            try:
                connection = await Connection.open(self._address, session=True, will=self._will(), on_message=inbox.put)
            except BrokerError as error:
                reason = str(error)
            else:
                try:
                    reason = await self._follow(connection, inbox, intake)
                finally:
                    await self._leave(connection)
                lasted_s = connection.lasted_s
            intake.report(self._status(ok=False, detail=reason))
            await asyncio.sleep(backoff.next_s(lasted_s))

    async def probe(self) -> list[str]:
        """Connects beside a running service, under a client id of its own, and subscribes to each topic once."""
        beside = replace(self._address, client_id=f"{self._address.client_id}-check")
        try:
            connection = await Connection.open(beside)
        except BrokerError as error:
            return [str(error)]
        try:
            return self._refusals(await connection.subscribe(self._routes.filters))
        except BrokerError as error:
            return [str(error)]
        finally:
            await connection.close()

    async def _follow(self, connection: Connection, inbox: _Inbox, intake: Intake) -> str:
        """Hands over what comes in until the connection is lost, and says why it was."""
        inbox.attach(connection)
        connection.publish(self._status_topic, self._message(ok=True, detail="connected"), retain=True)
        # Always: it costs one packet, and a broker that lost its disk has forgotten us even where it says it has not.
        subscribing = asyncio.create_task(self._subscribe(connection, intake), name=f"{self._name}: subscribe")
        try:
            while True:
                batch = inbox.take(BATCH)
                if batch:
                    await self._hand_over(connection, inbox, batch, intake)
                elif connection.lost.done():
                    return connection.lost.result()
                else:
                    await inbox.wait()
        except asyncio.CancelledError:
            # What was handed over is on its way to the disk: the broker hears of it before we go, or it would send it again.
            connection.pause()
            await inbox.settled()
            connection.resume()
            raise
        finally:
            subscribing.cancel()

    async def _subscribe(self, connection: Connection, intake: Intake) -> None:
        try:
            refusals = self._refusals(await connection.subscribe(self._routes.filters))
        except BrokerError:
            return  # lost: `_follow` sees it as well, and says so
        intake.report(self._status(ok=not refusals, detail=" ".join(refusals) or "connected"))

    async def _hand_over(
        self, connection: Connection, inbox: _Inbox, batch: list[tuple[Message, datetime]], intake: Intake
    ) -> None:
        samples: list[Sample] = []
        mids: list[int] = []
        notes: dict[str, str] = {}
        for message, came_at in batch:
            arrived_at = self._receipts.arrival(message, came_at)
            if message.mid:
                mids.append(message.mid)  # a refused message as well, or it comes again for ever
            readers = self._routes.of(message.topic)
            if not readers:
                self._stranger(connection, message, arrived_at, intake)
                continue
            document, timeless = None, False
            for reader in readers:
                try:
                    if len(readers) == 1 or reader.layout.value is None:
                        reading = parse(message.payload, reader.layout)
                    else:
                        document = decode(message.payload) if document is None else document
                        reading = read(document, reader.layout)
                except PayloadError as error:
                    intake.reject(self._rejection(reader.tag, error.reason, error.detail, arrived_at))
                    continue
                samples.append(_sample(reader.tag, reading, message, arrived_at))
                timeless = timeless or reading.source_at is None
            if timeless:
                notes |= self._receipts.note(message, arrived_at)
        if not samples:
            connection.acknowledge(mids)
            return

        def accepted() -> None:
            connection.acknowledge(mids)
            inbox.settle()

        await intake.deliver(samples, accepted, memory=notes)
        inbox.owe()

    def _stranger(self, connection: Connection, message: Message, arrived_at: datetime, intake: Intake) -> None:
        """A topic of nobody: the broker's session still holds a subscription of an earlier configuration."""
        detail = f"topic {message.topic[:80]!r} belongs to no tag"
        intake.reject(self._rejection("", "unknown_topic", detail, arrived_at))
        if message.topic:
            connection.unsubscribe(message.topic)

    async def _leave(self, connection: Connection) -> None:
        """Says that we go, where anybody can hear it, and lets go of everything."""
        try:
            if not connection.lost.done():
                gone = connection.publish(self._status_topic, self._message(ok=False, detail="stopped"), retain=True)
                async with asyncio.timeout(FAREWELL_LIMIT_S):
                    await gone
        except (TimeoutError, BrokerError):
            pass  # we leave all the same, and the broker will find out
        finally:
            await connection.close()

    def _refusals(self, refused: dict[str, str]) -> list[str]:
        """One sentence for each tag that the broker does not let us follow."""
        return [
            f"{self._address}: tag {tag.tag}: it refuses topic {tag.topic!r}: {refused[tag.topic]}."
            for tag in self._tags
            if tag.topic in refused
        ]

    def _rejection(self, tag: str, reason: str, detail: str, at: datetime) -> Rejection:
        return Rejection(source=self._name, tag=tag, reason=reason, detail=detail, at=at)

    def _status(self, *, ok: bool, detail: str) -> Status:
        return Status(subject=f"source.{self._name}", ok=ok, detail=detail, at=self._clock.now())

    def _will(self) -> Will:
        # Without a time: nobody can say today when it will be.
        return Will(topic=self._status_topic, payload=self._message(ok=False, detail="connection lost", timed=False))

    def _message(self, *, ok: bool, detail: str, timed: bool = True) -> bytes:
        at = self._clock.now().isoformat().replace("+00:00", "Z") if timed else None
        return json.dumps(
            {"schema": "givre.status/1", "subject": self._name, "ok": ok, "detail": detail, "at": at}
        ).encode()


class _Inbox:
    """Messages read and not yet handed over, oldest first, each with its time of arrival; bounded by not reading on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._connection: Connection | None = None
        self._waiting: deque[tuple[Message, datetime]] = deque()
        self._news = asyncio.Event()
        self._owed = 0
        self._settled = asyncio.Event()

    def attach(self, connection: Connection) -> None:
        """From here on it holds the connection back when it is full, and its loss is news."""
        self._connection = connection
        connection.lost.add_done_callback(lambda _: self._news.set())

    def put(self, message: Message) -> None:
        self._waiting.append((message, self._clock.now()))
        self._news.set()
        if len(self._waiting) >= WAITING and self._connection is not None:
            self._connection.pause()

    def take(self, most: int) -> list[tuple[Message, datetime]]:
        self._news.clear()
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(min(most, len(waiting)))]
        if self._connection is not None and len(waiting) <= WAITING // 2:
            self._connection.resume()
        return batch

    async def wait(self) -> None:
        """Until there is a message, or the connection is lost."""
        await self._news.wait()

    def owe(self) -> None:
        """A batch was handed over that is not on disk yet."""
        self._owed += 1

    def settle(self) -> None:
        """One of them is."""
        self._owed -= 1
        self._settled.set()

    async def settled(self) -> None:
        """Until all are, or it takes too long: on a full disk it would be for ever, and then the broker sends them again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_LIMIT_S):
                while self._owed > 0 and self._connection is not None and not self._connection.lost.done():
                    self._settled.clear()
                    await self._settled.wait()


class _Routes:
    """Which tags a topic serves."""

    def __init__(self, tags: Iterable[MqttTag]) -> None:
        self._matcher = MQTTMatcher()  # type: ignore[no-untyped-call]  # paho leaves it so
        readers: dict[str, list[_Reader]] = {}
        for tag in tags:
            _check_filter(tag)
            layout = Layout(value=tag.value, time=tag.time, quality=tag.quality)
            readers.setdefault(tag.topic, []).append(_Reader(tag.tag, layout))
        for topic_filter, group in readers.items():
            self._matcher[topic_filter] = group
        self.filters = list(readers)
        self._known: dict[str, tuple[_Reader, ...]] = {}

    def of(self, topic: str) -> tuple[_Reader, ...]:
        """The readers of a topic, remembered: the look-up through wildcards is slow."""
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= KNOWN_TOPICS:
                self._known.clear()
            groups = self._matcher.iter_match(topic) if topic else ()  # type: ignore[no-untyped-call]  # as above
            known = tuple(reader for group in groups for reader in group)
            self._known[topic] = known
        return known


def _sample(tag: str, reading: Reading, message: Message, arrived_at: datetime) -> Sample:
    quality, reason = reading.quality, reading.reason
    if message.retained and reading.source_at is None and quality is Quality.GOOD:
        # The broker kept it, nobody knows for how long: its time of arrival says nothing about when it was true.
        quality, reason = Quality.UNCERTAIN, "retained"
    return Sample(
        tag=tag,
        value=reading.value,
        source_at=reading.source_at or arrived_at,
        arrived_at=arrived_at,
        quality=quality,
        reason=reason,
    )


def _check_filter(tag: MqttTag) -> None:
    levels = tag.topic.split("/")
    alone = all(level in ("+", "#") or not set(level) & set("+#\0") for level in levels)
    if not tag.topic or not alone or "#" in levels[:-1] or len(tag.topic.encode()) > 65_535:
        raise ValueError(
            f"tag {tag.tag}: topic {tag.topic[:80]!r}: expected levels with / between them, + for a whole level, "
            "# for the last one only"
        )

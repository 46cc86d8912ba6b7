"""How do operators' commands come in over MQTT? A topic of an alarm sink's broker, off unless the configuration names it.

A connection of its own, in a session that the broker keeps: a command that is sent while Givre is away arrives late, and is
refused if it is too old by then. One is acknowledged to the broker once it waits in the journal, and taken from there
(`stream.orders`); the reply goes the way of all records, through the journal to the sink. What is no command is refused at
the door. Commands are read no faster than `PER_S`: more of them wait at the broker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from detectors.records import Status
from stream.backoff import Backoff
from stream.command import Command, CommandError, parse
from stream.mqtt.broker import BrokerError, Connection

if TYPE_CHECKING:
    from stream.clock import Clock
    from stream.mqtt.address import Address
    from stream.mqtt.message import Message

__all__ = ["CommandTopic", "Desk"]

PER_S = 50
"""Commands a second (machine time), so that a sender gone mad cannot fill the journal."""
WAITING = 200
LONGEST_BYTES = 4096


class Desk(Protocol):
    """Where commands are handed in."""

    async def post(self, text: str) -> None:
        """Takes a command; returns when it is on disk."""

    def refuse(self, error: CommandError, *, via: str, said_before: bool = False) -> None:
        """Answers what is no command; one that was `said_before` is not answered where its id has been."""

    def report(self, status: Status) -> None:
        """Says how the connection is doing."""


class CommandTopic:
    """One topic that commands come in by; each must be `max_age_s` old at most."""

    def __init__(self, *, name: str, address: Address, topic: str, max_age_s: float, clock: Clock) -> None:
        self._name = name
        self._address = address
        self._topic = topic
        self._max_age_s = max_age_s
        self._clock = clock

    @property
    def name(self) -> str:
        """Name of the sink whose broker it is."""
        return self._name

    async def run(self, desk: Desk) -> None:
        """Listens for ever."""
        backoff = Backoff()
        while True:
            lasted_s = 0.0
            inbox = _Inbox()
            try:
                connection = await Connection.open(self._address, session=True, on_message=inbox.put)
            except BrokerError as error:
                reason = str(error)
            else:
                try:
                    reason = await self._listen(connection, inbox, desk)
                finally:
                    await connection.close()
                lasted_s = connection.lasted_s
            desk.report(self._status(ok=False, detail=reason))
            await asyncio.sleep(backoff.next_s(lasted_s))

    async def probe(self) -> list[str]:
        """Subscribes once, beside a running service; one sentence if that is refused."""
        beside = replace(self._address, client_id=f"{self._address.client_id}-check")
        try:
            connection = await Connection.open(beside)
            try:
                refused = await connection.subscribe([self._topic])
            finally:
                await connection.close()
        except BrokerError as error:
            return [str(error)]
        return [self._no(refused[self._topic])] if refused else []

    async def _listen(self, connection: Connection, inbox: _Inbox, desk: Desk) -> str:
        inbox.attach(connection)
        subscribing = asyncio.create_task(
            self._subscribe(connection, desk), name=f"{self._name}: subscribe to commands"
        )
        try:
            while (message := await inbox.get()) is not None:
                await self._hand_in(message, desk)
                if message.mid:
                    connection.acknowledge([message.mid])
                await asyncio.sleep(1 / PER_S)
        finally:
            subscribing.cancel()
        return connection.lost.result()

    async def _subscribe(self, connection: Connection, desk: Desk) -> None:
        try:
            refused = await connection.subscribe([self._topic])
        except BrokerError:
            return  # lost: `_listen` sees it as well, and says so
        detail = self._no(refused[self._topic]) if refused else "listening"
        desk.report(self._status(ok=not refused, detail=detail))

    async def _hand_in(self, message: Message, desk: Desk) -> None:
        if message.topic != self._topic or not message.payload:
            return  # a subscription of an earlier configuration, or the end of a retained message
        try:
            command = self._read(message.payload)
        except CommandError as error:
            desk.refuse(error, via=self._name)
            return
        if message.retained:
            fields = {"id": command.id, "command": command.command, "alarm": command.alarm, "by": command.by}
            wrong = "expected a command that is not retained; send it without, and clear the topic"
            desk.refuse(CommandError(wrong, fields), via=self._name, said_before=True)
            return
        await desk.post(replace(command, via=self._name, max_age_s=self._max_age_s).text)

    def _read(self, payload: bytes) -> Command:
        if len(payload) > LONGEST_BYTES:
            raise CommandError(f"expected a command of at most {LONGEST_BYTES} bytes, found {len(payload)}", {})
        command = parse(payload)
        fields = {"id": command.id, "command": command.command, "alarm": command.alarm, "by": command.by}
        if not command.id:
            raise CommandError("id: expected 1 to 64 letters, digits and _.:-, a new one for each command", fields)
        if command.at is None:
            raise CommandError("at: expected the time of the command, such as 2026-03-01T08:30:00Z", fields)
        if command.via or command.max_age_s is not None:
            raise CommandError("keys: expected neither via nor max_age_s, they are Givre's own", fields)
        return command

    def _no(self, reason: str) -> str:
        return f"{self._address}: it refuses topic {self._topic!r}: {reason}; let this account read it."

    def _status(self, *, ok: bool, detail: str) -> Status:
        return Status(subject=f"commands.{self._name}", ok=ok, detail=detail, at=self._clock.now())


class _Inbox:
    """Messages read and not yet taken, oldest first; bounded by not reading on."""

    def __init__(self) -> None:
        self._waiting: deque[Message] = deque()
        self._connection: Connection | None = None
        self._news = asyncio.Event()

    def attach(self, connection: Connection) -> None:
        """The loss of the connection is news, and it is held back when the inbox is full."""
        self._connection = connection
        connection.lost.add_done_callback(lambda _: self._news.set())

    def put(self, message: Message) -> None:
        self._waiting.append(message)
        self._news.set()
        if len(self._waiting) >= WAITING and self._connection is not None:
            self._connection.pause()

    async def get(self) -> Message | None:
        """The next message; None once the connection is lost: the broker sends again what was not acknowledged."""
        assert self._connection is not None
        while not self._waiting and not self._connection.lost.done():
            self._news.clear()
            await self._news.wait()
        if self._connection.lost.done():
            return None
        if len(self._waiting) <= WAITING // 2:
            self._connection.resume()
        return self._waiting.popleft()

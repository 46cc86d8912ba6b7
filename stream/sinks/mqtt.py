"""How do alarms and states reach other systems over MQTT?

Each alarm has a retained topic that always holds its present state, and every transition is an event beside it; each part
of Givre has a retained topic with its own state, and the broker itself says when Givre has vanished. The messages are those
of docs/alert.schema.json, all at QoS 1. Writing one twice leaves the retained topics as writing it once; followers of the
event topic know a repeat by its alarm and sequence number.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from detectors.facts import Facts
from detectors.records import Alert, Explanation, Reply, Status
from stream.backoff import Backoff
from stream.clock import SystemClock
from stream.mqtt.address import Address, Tls
from stream.mqtt.broker import BrokerError, Connection, RefusedError
from stream.mqtt.message import Will
from stream.sinks.sink import Refused, SinkUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from detectors.records import Record
    from stream.clock import Clock

__all__ = ["ALERT_SCHEMA", "STATUS_SCHEMA", "MqttSink", "Tls", "alert_message", "explanation_message", "status_message"]

ALERT_SCHEMA = "givre.alert/1"
STATUS_SCHEMA = "givre.status/1"
EXPLANATION_SCHEMA = "givre.explanation/1"
REPLY_SCHEMA = "givre.reply/1"
WRITE_LIMIT_S = 10.0
FAREWELL_LIMIT_S = 2.0
TOPIC_BYTES = 65_535

# A level of a topic: nothing that MQTT, a log or a follower's file system takes for anything but a name.
_LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,127}")

_Message = tuple[str, bytes, bool]  # topic, payload, retained


class MqttSink:
    """Publishes alerts and statuses; see `stream.sinks.sink.Sink`.

    The first `write` connects; from then on the connection is kept, and opened again when it is lost, until `close`.
    """

    def __init__(
        self,
        *,
        name: str,
        site: str,
        host: str,
        port: int,
        protocol: str,
        client_id: str,
        prefix: str,
        keepalive_s: int,
        tls: Tls | None,
        username: str | None,
        password: str | None,
        clock: Clock | None = None,
        reply_topic: str | None = None,
    ) -> None:
        self._name = name
        self._site = site
        self._reply_topic = reply_topic
        self._root = f"{prefix}/{site}"
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
        self._clock = clock or SystemClock()
        self._connection: Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()  # an attempt to connect has ended since we were last without connection
        self._problem = "not connected yet"
        self._next_try = 0.0  # time.monotonic

    @property
    def name(self) -> str:
        """Name of the sink in the configuration."""
        return self._name

    @property
    def kinds(self) -> frozenset[type]:
        """Alerts, what explains them, replies to commands, and statuses: points are for databases."""
        return frozenset({Alert, Explanation, Reply, Status})

    async def write(self, records: Sequence[Record]) -> list[Refused]:
        """Publishes the records in their order; returns when the broker has confirmed them all."""
        connection = await self._connected()
        refused: list[Refused] = []
        sent: list[tuple[int, asyncio.Future[None]]] = []
        for index, record in enumerate(records):
            try:
                messages = self._messages(record, connection)
            except (TypeError, ValueError) as error:
                refused.append(Refused(index=index, reason=str(error)))
                continue
            sent += [(index, connection.publish(topic, body, retain=retain)) for topic, body, retain in messages]
        try:
            async with asyncio.timeout(WRITE_LIMIT_S):
                for index, done in sent:
                    try:
                        await done
                    except RefusedError as error:
                        if not refused or refused[-1].index != index:
                            refused.append(Refused(index=index, reason=str(error)))
        except BrokerError as error:
            raise SinkUnavailableError(str(error)) from error
        except TimeoutError:
            # What of it is still on its way must not arrive between the messages of the next attempt.
            connection.abandon(f"{self._address}: it did not confirm within {WRITE_LIMIT_S:g} s")
            raise SinkUnavailableError(connection.lost.result()) from None
        return sorted(refused, key=lambda r: r.index)

    async def probe(self) -> list[str]:
        """Connects beside a running service, under a client id of its own; publishes nothing."""
        beside = replace(self._address, client_id=f"{self._address.client_id}-check")
        try:
            connection = await Connection.open(beside)
        except BrokerError as error:
            return [str(error)]
        keeps = connection.retains
        await connection.close()
        return [] if keeps else [f"{self._address}: {_NO_RETAIN}"]

    async def close(self) -> None:
        """Says that the service stops, and releases the connection."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait((keeper,))

    async def _connected(self) -> Connection:
        """The connection; raises SinkUnavailableError with what stands in its way, at once where that is known already."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"{self._name}: connection")
        if self._connection is None:
            await self._tried.wait()  # an attempt ends within `stream.mqtt.broker.OPEN_LIMIT_S`
        if self._connection is None:
            retry_after_s = max(self._next_try - time.monotonic(), 0.0) + 0.1
            raise SinkUnavailableError(self._problem, retry_after_s=retry_after_s)
        return self._connection

    async def _keep(self) -> None:
        """Connects for ever."""
        backoff = Backoff()
        while True:
            lasted_s = 0.0
            try:
                connection = await Connection.open(self._address, will=self._will())
            except BrokerError as error:
                self._problem = str(error)
            else:
                try:
                    self._problem = await self._stay(connection)
                finally:
                    self._connection = None
                    await self._leave(connection)
                lasted_s = connection.lasted_s
            wait_s = backoff.next_s(lasted_s)
            self._next_try = time.monotonic() + wait_s
            self._tried.set()
            await asyncio.sleep(wait_s)
            self._tried.clear()

    async def _stay(self, connection: Connection) -> str:
        """Offers the connection for as long as it lives, and says why it ended."""
        if not connection.retains:
            return f"{self._address}: {_NO_RETAIN}"
        connection.publish(*self._presence(ok=True, detail="running"), retain=True)
        self._connection = connection
        self._tried.set()
        return await asyncio.shield(connection.lost)

    async def _leave(self, connection: Connection) -> None:
        try:
            if not connection.lost.done():
                async with asyncio.timeout(FAREWELL_LIMIT_S):
                    await connection.publish(*self._presence(ok=False, detail="stopped"), retain=True)
        except (TimeoutError, BrokerError, RefusedError):
            pass  # we leave all the same, and the broker will find out
        finally:
            await connection.close()

    def _presence(self, *, ok: bool, detail: str, timed: bool = True) -> tuple[str, bytes]:
        at = self._clock.now() if timed else None
        return f"{self._root}/status", status_message("service", ok=ok, detail=detail, at=at)

    def _will(self) -> Will:
        # Without a time: nobody can say today when it will be.
        topic, payload = self._presence(ok=False, detail="connection lost", timed=False)
        return Will(topic=topic, payload=payload)

    def _messages(self, record: Record, connection: Connection) -> list[_Message]:
        """What a record becomes. Raises ValueError or TypeError for one that no broker could ever take."""
        if isinstance(record, Alert):
            asset, tag = _levels(record.tag, 2)
            (rule,) = _levels(record.rule, 1)
            payload = alert_message(record, self._site)
            topic = f"{self._root}/{asset}/{tag}/alarm/{rule}"
            messages = [(topic, payload, True), (f"{self._root}/event", payload, False)]
        elif isinstance(record, Status):
            subject = "/".join(_levels(record.subject, None))
            payload = status_message(record.subject, ok=record.ok, detail=record.detail, at=record.at)
            messages = [(f"{self._root}/status/{subject}", payload, True)]
        elif isinstance(record, Explanation):
            asset, tag = _levels(record.tag, 2)
            (rule,) = _levels(record.rule, 1)
            messages = [
                (f"{self._root}/{asset}/{tag}/explanation/{rule}", explanation_message(record, self._site), False)
            ]
        elif isinstance(record, Reply):
            messages = (
                [] if self._reply_topic is None else [(self._reply_topic, reply_message(record, self._site), False)]
            )
        else:
            raise TypeError(f"expected an alert or a status, found {type(record).__name__}")
        for topic, body, _ in messages:
            size = len(topic.encode()) + len(body) + 16
            if size > connection.packet_maximum:
                raise ValueError(f"{size} bytes, the broker takes {connection.packet_maximum} at most")
            if len(topic.encode()) > TOPIC_BYTES:
                raise ValueError(f"topic of {len(topic.encode())} bytes, MQTT knows {TOPIC_BYTES} at most")
        return messages


def alert_message(alert: Alert, site: str) -> bytes:
    """The message about a transition, as docs/alert.schema.json has it."""
    asset, _, tag = alert.tag.partition("/")
    verdict = alert.verdict
    return _json(
        {
            "schema": ALERT_SCHEMA,
            "alarm": alert.alarm,
            "site": site,
            "asset": asset,
            "tag": tag,
            "rule": alert.rule,
            "state": alert.state.value,
            "previous": alert.previous.value,
            "active": alert.state.active,
            "priority": alert.priority.value,
            "at": _iso(alert.at),
            "since": _iso(alert.since),
            "text": alert.text,
            **{name: _finite(getattr(verdict, name, None)) for name in _FIGURES},
            "sequence": alert.sequence,
            "by": alert.by,
            "unit": alert.unit,
            **_facts(alert),
        }
    )


def _facts(alert: Alert) -> dict[str, object]:
    verdict = alert.verdict
    facts = (None if verdict is None else verdict.facts) or Facts()
    return {
        "age_s": None if verdict is None else max((alert.at - verdict.at).total_seconds(), 0.0),
        "code": facts.code,
        "facts": {name: _finite(value) for name, value in facts.figures},
        "contributions": [
            {
                "tag": part.tag,
                "unit": part.unit,
                **{name: _finite(getattr(part, name)) for name in ("value", "expected", "usual", "share")},
            }
            for part in facts.parts
        ],
    }


def explanation_message(explanation: Explanation, site: str) -> bytes:
    """The message that explains an alert at more length."""
    return _json(
        {
            "schema": EXPLANATION_SCHEMA,
            "alarm": explanation.alarm,
            "site": site,
            "sequence": explanation.sequence,
            "at": _iso(explanation.at),
            "text": explanation.text,
            "by_model": explanation.by_model,
        }
    )


def reply_message(reply: Reply, site: str) -> bytes:
    """The answer to a command, as docs/command.schema.json has it."""
    return _json(
        {
            "schema": REPLY_SCHEMA,
            "id": reply.id,
            "site": site,
            "result": "done" if reply.done else "refused",
            "text": reply.text,
            "at": _iso(reply.at),
            "command": reply.command,
            "alarm": reply.alarm,
            "by": reply.by,
            "reason": reply.reason,
        }
    )


def status_message(subject: str, *, ok: bool, detail: str, at: datetime | None) -> bytes:
    """The message about the state of a part of Givre; `at` is None in a last will."""
    return _json({"schema": STATUS_SCHEMA, "subject": subject, "ok": ok, "detail": detail, "at": at and _iso(at)})


_FIGURES = ("value", "low", "high", "score", "probability", "lead_s")
_NO_RETAIN = "it keeps no retained messages, and the state of an alarm is one: allow them in the broker"


def _levels(name: str, count: int | None) -> list[str]:
    """The levels of a name; nothing in one may mean anything to MQTT. Raises ValueError."""
    levels = name.split("/")
    if (count is not None and len(levels) != count) or not all(map(_LEVEL.fullmatch, levels)):
        expected = "names" if count is None else f"{count} name" + "s" * (count > 1)
        raise ValueError(f"expected {expected} of letters, digits and _.- with / between them, found {name[:80]!r}")
    return levels


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _finite(number: float | None) -> float | None:
    """JSON has no word for the others."""
    return number if number is not None and math.isfinite(number) else None


def _json(message: dict[str, object]) -> bytes:
    # ASCII alone: a lone surrogate out of a foreign text would not become UTF-8.
    return json.dumps(message, allow_nan=False).encode()

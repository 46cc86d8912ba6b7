"""How do values come from an OPC UA server? One subscription for all tags of a source, and a watch on the data itself.

"Connected" does not mean that data flows: a server may have restarted, forgotten the subscription or moved its namespaces.
So the server's own clock is followed beside the tags: when nothing at all arrives for `silent_after_s`, or when the server
turns out to have started anew, everything is made anew, from a fresh client on: namespaces looked up, nodes subscribed.
Within a connection asyncua's own reconnection is used: over a short cut the server's queues keep what was sent, and it is
fetched again. Nothing is ever written to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asyncua import Client, ua
from asyncua.common.subscription import DataChangeEvent, OverflowPolicy

from detectors.records import Status
from stream.backoff import Backoff
from stream.sources.opcua_security import UaSecurity, UaSecurityError, secure
from stream.sources.opcua_value import UaValueError, read
from stream.sources.source import Rejection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from asyncua.common.node import Node
    from asyncua.common.subscription import Subscription

    from detectors.records import Sample
    from stream.clock import Clock
    from stream.sources.source import Intake

__all__ = ["OpcuaSource", "UaSecurity", "UaTag"]

REQUEST_S = 4.0
CONNECT_S = 15.0
"""A connection must stand within this, whatever asyncua is still waiting for."""
CLOSE_S = 2.0
CHECK_S = 2.0
"""How often the server is asked whether it is still the one that we subscribed at (machine seconds)."""
AWAY_S = 60.0
"""A session that cannot be asked for so long is given up, and a new one is tried."""
RETRY_TAGS_S = 30.0
BUFFERED = 100_000
"""Notifications that wait for the intake; more are dropped, oldest first, and said."""
BATCH = 500
CLOCK_NODE = ua.NodeId(2258)  # Server_ServerStatus_CurrentTime
START_NODE = ua.NodeId(2257)  # Server_ServerStatus_StartTime
OVERFLOW = 0x480  # InfoType DataValue with the overflow bit (OPC UA Part 4, 7.39)


@dataclass(frozen=True, slots=True, kw_only=True)
class UaTag:
    """A tag and its node: ``s=...``, ``i=...`` in the source's namespace, or ``nsu=URI;s=...``."""

    tag: str
    node: str
    deadband: float = 0.0


class _Lost(Exception):  # noqa: N818 - a state of the connection, not an error of a caller
    """The connection is no use any more: the text says why."""


class OpcuaSource:
    """Follows the tags of one server; intervals are plant seconds, and pass faster on a fast clock."""

    def __init__(
        self,
        *,
        name: str,
        endpoint: str,
        namespace: str,
        tags: Sequence[UaTag],
        publishing_interval_s: float,
        sampling_interval_s: float,
        queue_size: int,
        silent_after_s: float,
        security: UaSecurity | None,
        username: str | None,
        password: str | None,
        clock: Clock,
        trigger: Literal["value", "timestamp"] = "value",
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.namespace = namespace
        self.tags = tuple(tags)
        self.publishing_ms = 1000 * publishing_interval_s / clock.speed
        self.sampling_ms = 1000 * sampling_interval_s / clock.speed
        self.queue_size = queue_size
        self.silent_after_s = silent_after_s / clock.speed
        self._security = security
        self._username = username
        self._password = password
        self.clock = clock
        self.trigger = trigger

    async def run(self, intake: Intake) -> None:
        """Follows the tags for ever."""
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                async with self._connected() as client:
                    await _Session(self, client, intake).follow()
            except (_Lost, UaSecurityError, ua.UaError, OSError, TimeoutError, ConnectionError) as error:
                self.say(intake, ok=False, detail=self._why(error))
            await asyncio.sleep(backoff.next_s(loop.time() - began))

    async def probe(self) -> list[str]:
        """Connects once and returns a sentence per thing that cannot be had."""
        try:
            async with self._connected() as client:
                index = await self.index_of(client)
                problems = []
                for tag in self.tags:
                    try:
                        value = await client.get_node(_node_id(tag.node, index)).read_data_value(
                            raise_on_bad_status=False
                        )
                        read(value, self.clock.now())
                    except (ua.UaError, UaValueError, ValueError, KeyError) as error:
                        problems.append(f"tag {tag.tag}: node {tag.node!r} at {self.endpoint}: {_reason(error)}")
                return problems
        except (_Lost, UaSecurityError, ua.UaError, OSError, TimeoutError, ConnectionError) as error:
            return [self._why(error)]

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        # A client per connection: one that is used again may wait for ever in connect.
        client = Client(self.endpoint, timeout=REQUEST_S, watchdog_intervall=5.0, auto_reconnect=False)
        client.name = client.description = f"givre {self.name}"
        try:
            async with asyncio.timeout(CONNECT_S):
                if self._security is not None:
                    await secure(client, self._security)
                if self._username is not None and self._password is not None:
                    client.set_user(self._username)
                    client.set_password(self._password)
                await client.connect(auto_reconnect=True, reconnect_max_delay=4.0, reconnect_request_timeout=REQUEST_S)
            yield client
        finally:
            # A frozen server would hold the farewell up for long, and ours is a courtesy.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await client.disconnect()

    async def index_of(self, client: Client) -> dict[str, int]:
        """Namespace URI -> index at this server now; the source's own stands under "" as well."""
        uris = await client.get_namespace_array()
        index = {uri: i for i, uri in enumerate(uris)}
        if self.namespace not in index:
            known = ", ".join(repr(uri) for uri in uris[1:]) or "none of its own"
            raise _Lost(f"namespace {self.namespace!r} is not at {self.endpoint}; it has {known}: correct `namespace`")
        return {"": index[self.namespace], **index}

    def say(self, intake: Intake, *, ok: bool, detail: str) -> None:
        """Reports how the source is doing."""
        intake.report(Status(subject=f"source.{self.name}", ok=ok, detail=detail, at=self.clock.now()))

    def _why(self, error: BaseException) -> str:
        if isinstance(error, _Lost | UaSecurityError):
            return str(error)
        if isinstance(error, TimeoutError):
            hint = (
                "" if self._security is None else " (a server that does not trust our certificate may just be silent)"
            )
            return f"{self.endpoint} did not answer in time{hint}"
        if isinstance(error, ConnectionRefusedError):
            return f"nobody listens at {self.endpoint}"
        if isinstance(error, OSError):
            return f"{self.endpoint} cannot be reached: {error.strerror or error}"
        return f"{self.endpoint} refused: {_reason(error)}"


class _Session:
    """One connection: its subscription, what waits for the intake, and the watch over both."""

    def __init__(self, source: OpcuaSource, client: Client, intake: Intake) -> None:
        self._source = source
        self._client = client
        self._intake = intake
        self._arrived: deque[tuple[Sequence[str], ua.DataValue, datetime]] = deque()
        self._some = asyncio.Event()
        self._tags_of: dict[ua.NodeId, list[str]] = {}
        self._missing: dict[UaTag, str] = {}
        self._heard = asyncio.get_running_loop().time()
        self._dropped = 0
        self._overflowed: set[str] = set()

    async def follow(self) -> None:
        """Subscribes and hands over until the connection is lost; raises `_Lost` with the reason."""
        index = await self._source.index_of(self._client)
        started = await self._client.get_node(START_NODE).read_value()
        subscription = await self._client.create_subscription(
            self._source.publishing_ms,
            queue_maxsize=BUFFERED,
            overflow=OverflowPolicy.DROP_OLDEST,
        )
        tasks: list[asyncio.Task[None]] = []
        try:
            tasks = [
                asyncio.create_task(self._listen(subscription)),
                asyncio.create_task(self._hand_over()),
            ]
            with contextlib.suppress(ua.UaError):
                # The server's clock ticks whatever the plant does: as long as it is heard, data can flow.
                await subscription.subscribe_data_change(self._client.get_node(CLOCK_NODE), sampling_interval=1000.0)
            await self._subscribe(subscription, self._source.tags, index)
            tasks.append(asyncio.create_task(self._watch(subscription, index, started)))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise _Lost(f"the subscription at {self._source.endpoint} was closed")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _subscribe(self, subscription: Subscription, tags: Sequence[UaTag], index: dict[str, int]) -> None:
        """Subscribes node by node in one request; what cannot be had is named, and stops nothing else."""
        wanted: list[tuple[UaTag, Node]] = []
        for tag in tags:
            try:
                wanted.append((tag, self._client.get_node(_node_id(tag.node, index))))
            except (ValueError, KeyError, ua.UaError) as error:
                self._missing[tag] = _reason(error)
        for with_deadband in (True, False):
            group = [(tag, node) for tag, node in wanted if (tag.deadband > 0) == with_deadband]
            for tag, node in group:
                # Before the request: the first value may come before its answer.
                self._tags_of.setdefault(node.nodeid, [])
                if tag.tag not in self._tags_of[node.nodeid]:
                    self._tags_of[node.nodeid].append(tag.tag)
            if not group:
                continue
            requests = [self._request(subscription, node, deadband=tag.deadband) for tag, node in group]
            results = await subscription.create_monitored_items(requests)
            for (tag, node), result in zip(group, results, strict=True):
                refused = result if isinstance(result, ua.StatusCode) else None
                if refused is not None and tag.deadband > 0 and "Filter" in refused.name:
                    plain = self._request(subscription, node, deadband=0.0)
                    (again,) = await subscription.create_monitored_items([plain])
                    refused = again if isinstance(again, ua.StatusCode) else None
                if refused is None:
                    self._missing.pop(tag, None)
                else:
                    self._missing[tag] = refused.name
        self._say_missing()

    def _request(self, subscription: Subscription, node: Node, *, deadband: float) -> ua.MonitoredItemCreateRequest:
        filter_ = ua.DataChangeFilter()
        on_time = self._source.trigger == "timestamp"
        filter_.Trigger = ua.DataChangeTrigger.StatusValueTimestamp if on_time else ua.DataChangeTrigger.StatusValue
        if deadband > 0:
            filter_.DeadbandType = ua.DeadbandType.Absolute
            filter_.DeadbandValue = deadband
        return subscription._make_monitored_item_request(  # noqa: SLF001 - asyncua's public call takes one filter for all
            node,
            ua.AttributeIds.Value,
            filter_ if on_time or deadband > 0 else None,
            self._source.queue_size,
            ua.MonitoringMode.Reporting,
            self._source.sampling_ms,
        )

    def _say_missing(self) -> None:
        source = self._source
        if not self._missing:
            source.say(self._intake, ok=True, detail=f"following {len(source.tags)} tags at {source.endpoint}")
            return
        named = "; ".join(
            f"{tag.tag} ({tag.node}): {why}" for tag, why in sorted(self._missing.items(), key=lambda m: m[0].tag)
        )
        detail = f"{len(self._missing)} of {len(source.tags)} tags cannot be had at {source.endpoint}: {named}"
        source.say(self._intake, ok=False, detail=detail)

    async def _listen(self, subscription: Subscription) -> None:
        async for event in subscription:
            self._heard = asyncio.get_running_loop().time()
            if not isinstance(event, DataChangeEvent):
                continue
            tags = self._tags_of.get(event.node.nodeid)
            if tags is None:
                continue
            if len(self._arrived) >= BUFFERED:
                self._arrived.popleft()
                self._dropped += 1
            self._arrived.append((tags, event.data.monitored_item.Value, self._source.clock.now()))
            self._some.set()

    async def _hand_over(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._arrived:
                samples: list[Sample] = []
                while self._arrived and len(samples) < BATCH:
                    tags, value, arrived_at = self._arrived.popleft()
                    if value.StatusCode is not None and value.StatusCode.value & OVERFLOW == OVERFLOW:
                        self._overflow(tags)
                    try:
                        made = read(value, arrived_at)
                    except UaValueError as error:
                        for tag in tags:
                            self._intake.reject(
                                Rejection(
                                    source=self._source.name,
                                    tag=tag,
                                    reason=error.reason,
                                    detail=str(error),
                                    at=arrived_at,
                                )
                            )
                        continue
                    samples += [made(tag) for tag in tags]
                if samples:
                    await self._intake.deliver(samples)

    def _overflow(self, tags: Sequence[str]) -> None:
        for tag in tags:
            if tag not in self._overflowed:
                self._overflowed.add(tag)
                detail = (
                    f"the server's queue for {tag} ran over, values are lost: raise queue_size or publish more often"
                )
                self._source.say(self._intake, ok=False, detail=detail)

    async def _watch(self, subscription: Subscription, index: dict[str, int], started: datetime) -> None:
        """Raises `_Lost` when data cannot be flowing any more; tries missing tags again now and then."""
        loop = asyncio.get_running_loop()
        endpoint = self._source.endpoint
        answered = tried = loop.time()
        away = False
        while True:
            await asyncio.sleep(min(CHECK_S, self._source.silent_after_s / 2))
            now = loop.time()
            if self._dropped:
                detail = f"{self._dropped} values dropped: more arrive than can be judged"
                self._source.say(self._intake, ok=False, detail=detail)
                self._dropped = 0
            try:
                async with asyncio.timeout(REQUEST_S):
                    start = await self._client.get_node(START_NODE).read_value()
            except (ua.UaError, OSError, TimeoutError, ConnectionError) as error:
                if not away:
                    away = True
                    detail = f"{endpoint} does not answer ({type(error).__name__}): reconnecting"
                    self._source.say(self._intake, ok=False, detail=detail)
                if loop.time() - answered > AWAY_S:
                    raise _Lost(f"{endpoint} has not answered for {AWAY_S:g} s") from None
                continue
            answered = now = loop.time()
            if start != started:
                raise _Lost(f"the server at {endpoint} has started anew: looking its nodes up again")
            if now - self._heard > self._source.silent_after_s:
                raise _Lost(f"{endpoint} answers, but no data came for {now - self._heard:.0f} s: connecting anew")
            if away:
                away = False
                self._say_missing()
            if self._missing and now - tried > RETRY_TAGS_S:
                tried = now
                await self._subscribe(subscription, list(self._missing), index)


def _node_id(text: str, index: dict[str, int]) -> ua.NodeId:
    """The node of a text as it is numbered at this server now; raises ValueError or KeyError for what is none."""
    uri = ""
    if text.startswith("nsu="):
        uri, _, text = text.removeprefix("nsu=").partition(";")
        if uri not in index:
            raise KeyError(f"namespace {uri!r} is not at this server")
    elif text.startswith("ns="):
        raise ValueError("expected nsu=URI;... instead of ns=NUMBER: the number may move when the server restarts")
    return ua.NodeId.from_string(f"ns={index[uri]};{text}")


def _reason(error: BaseException) -> str:
    """The symbolic name of a status code, or the words of another error."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return str(ua.StatusCode(code).name)
    words = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return words or type(error).__name__

"""Does data flow? One connection: its subscription for all tags, and the watch over it.

"Connected" does not mean that data flows: a server may have restarted, forgotten the subscription or moved its namespaces, and
its client still says that all is well. So three things are watched: whether the server answers, whether it is still the one
that we subscribed at, and, when no tag has reported for long, whether its values are still those that we were told.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from asyncua import Client, ua
from asyncua.common.subscription import DataChangeEvent, StatusChangeEvent

from stream.portion import portions
from stream.sources.opcua_node import index_of, node_id, portion_of, why
from stream.sources.opcua_state import State
from stream.sources.opcua_subscription import Overseer, data_filter, publishing_s_of, subscribe
from stream.sources.opcua_value import UaValueError, decoded, has_overflowed, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from asyncua.common.subscription import SubEvent, Subscription

    from stream.sources.opcua_inbox import Inbox
    from stream.sources.opcua_node import UaTag
    from stream.sources.opcua_plan import Plan
    from stream.sources.opcua_report import Answer
    from stream.sources.source import Intake

__all__ = ["REQUEST_S", "Lost", "Session"]

REQUEST_S = 4.0
CHECK_S = 2.0
"""How often the server is asked whether it is still the one that we subscribed at (machine seconds)."""
AWAY_S = 60.0
"""A session that cannot be asked for so long is given up. Until then the server may still hold what it could not send."""
GRACE_S = 5.0
"""For so long may asyncua's own reconnection fail at a server that answers others; it has been seen to hang."""
RETRY_S = 30.0
"""How often tags that cannot be had are tried again, give or take a quarter."""
UNDER_WAY_S = 10.0
"""For so long may a change be on its way beyond twice its intervals: a controller may sample it more slowly than asked."""
START_NODE = ua.NodeId(ua.Int32(ua.ObjectIds.Server_ServerStatus_StartTime))
SAME_START_S = 1.0


class Lost(Exception):  # noqa: N818 - a state of the connection, not an error of a caller
    """The connection is no use any more: the text says why.

    `at_once` where the server is known to be up: there is nothing to wait for.
    """

    def __init__(self, reason: str, *, at_once: bool = False) -> None:
        super().__init__(reason)
        self.at_once = at_once


class _Item:
    """A tag that is subscribed: its node, and what was last told of it."""

    __slots__ = ("last", "node", "tag")

    def __init__(self, tag: UaTag, node: ua.NodeId) -> None:
        self.tag = tag
        self.node = node
        self.last: ua.DataValue | bytes | None = None


class Session:
    """Follows the tags of one connection until it is lost."""

    def __init__(self, plan: Plan, client: Client, inbox: Inbox, intake: Intake) -> None:
        self._plan = plan
        self._client = client
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._overseer = Overseer()
        self._index: dict[str, int] = {}
        self._portion = 1
        self._patience_s = 0.0
        self._started: datetime | None = None
        self._items: dict[int, _Item] = {}
        self._heard = self._loop.time()
        self._differs_since: float | None = None
        self._up_since: float | None = None
        self._state = State(plan, inbox, intake)

    async def follow(self) -> None:
        """Subscribes and takes in until the connection is lost; raises `Lost` with the reason."""
        self._index = await index_of(self._client, self._plan.namespace)
        self._started = await self._start_time()
        self._portion = await portion_of(self._client)
        subscription = await subscribe(self._client, self._plan.publishing_s, self._overseer, self._take_reports)
        under_way_s = min(self._plan.silent_after_s, UNDER_WAY_S)
        self._patience_s = 2 * (publishing_s_of(subscription) + self._plan.sampling_s) + under_way_s
        listening = asyncio.create_task(self._listen(subscription))
        tasks = [listening, asyncio.create_task(self._renewed())]
        try:
            await self._subscribe(subscription, self._plan.tags)
            self._state.say(self._loop.time())
            tasks.append(asyncio.create_task(self._watch(subscription)))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise Lost(f"{self._plan.endpoint} closed the subscription: connecting anew")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(StopAsyncIteration):  # what had come by now is ours
                while (event := await subscription.next_event(0)) is not None:
                    self._take(event)

    # What comes

    async def _listen(self, subscription: Subscription) -> None:
        async for event in subscription:
            if isinstance(event, StatusChangeEvent) and event.notification.Status.is_bad():
                status = name_of(event.notification.Status)
                raise Lost(f"{self._plan.endpoint} ended the subscription ({status}): connecting anew")
            self._take(event)

    def _take(self, event: SubEvent) -> None:
        if not isinstance(event, DataChangeEvent) or self._overseer.renewed.is_set():
            return
        item = self._items.get(event.data.monitored_item.ClientHandle)
        value = event.data.monitored_item.Value
        if item is None or value is None:
            return
        self._heard = self._loop.time()
        item.last = value
        if has_overflowed(value):
            self._state.overflowed(item.tag.tag)
        arrived_at = self._plan.clock.now()
        self._inbox.hear(arrived_at, more=False)  # as far as asyncua's events say
        self._inbox.put(item.tag.tag, value, arrived_at)

    def _take_reports(self, answer: Answer) -> None:
        if self._overseer.renewed.is_set():
            return
        self._heard, arrived_at = self._loop.time(), self._plan.clock.now()
        self._inbox.hear(arrived_at, more=answer.more)
        for handle, value, overflowed in answer.reports:
            item = self._items.get(handle)
            if item is None:
                continue
            item.last = value
            if overflowed:
                self._state.overflowed(item.tag.tag)
            self._inbox.put(item.tag.tag, value, arrived_at)

    async def _renewed(self) -> None:
        await self._overseer.renewed.wait()
        endpoint = self._plan.endpoint
        raise Lost(f"{endpoint} has forgotten our subscription: looking its nodes up again", at_once=True)

    # What is asked for

    async def _subscribe(self, subscription: Subscription, tags: Sequence[UaTag]) -> None:
        """Asks for tags, many in a request; what cannot be had is noted, and stops nothing else."""
        wanted: list[_Item] = []
        for tag in tags:
            try:
                wanted.append(_Item(tag, node_id(tag.node, self._index)))
            except ValueError as error:
                self._state.missing[tag] = str(error)
        for portion in portions(wanted, self._portion):
            results = await self._request(subscription, portion)
            # A server may know no deadband, or no filter at all: then every change comes, and that is said.
            refused = [i for i, r in zip(portion, results, strict=True) if r is not None and "Filter" in r]
            plain = [_Item(replace(item.tag, deadband=0.0), item.node) for item in refused]
            again = dict(zip(refused, await self._request(subscription, plain, filtered=False), strict=True))
            for item, result in zip(portion, results, strict=True):
                outcome = again.get(item, result)
                if outcome is None:
                    self._state.missing.pop(item.tag, None)
                    if item in again:
                        self._state.unfiltered.add(item.tag.tag)
                else:
                    self._state.missing[item.tag] = outcome

    async def _request(
        self, subscription: Subscription, items: Sequence[_Item], *, filtered: bool = True
    ) -> list[str | None]:
        """Subscribes; the answer is None, or the name of the status code, per item."""
        if not items:
            return []
        requests = []
        for item in items:
            request = subscription._make_monitored_item_request(  # noqa: SLF001 - asyncua's public call takes one filter for all
                self._client.get_node(item.node),
                ua.AttributeIds.Value,
                data_filter(item.tag.deadband, on_time=self._plan.trigger == "timestamp") if filtered else None,
                self._plan.queue_size,
                ua.MonitoringMode.Reporting,
                1000 * self._plan.sampling_s,
            )
            requests.append(request)
            # Before the request: the first value may come before its answer.
            self._items[request.RequestedParameters.ClientHandle] = item
        results = await subscription.create_monitored_items(requests)
        outcomes = [name_of(result) if isinstance(result, ua.StatusCode) else None for result in results]
        for request, outcome in zip(requests, outcomes, strict=True):
            if outcome is not None:
                del self._items[request.RequestedParameters.ClientHandle]
        return outcomes

    # What is watched

    async def _watch(self, subscription: Subscription) -> None:
        """Raises `Lost` when data cannot be flowing any more; tries missing tags again now and then."""
        answered = self._loop.time()
        retry_at = answered + _retry_s()
        while True:
            await asyncio.sleep(max(0.2, min(CHECK_S, self._plan.silent_after_s / 2)))
            try:
                async with asyncio.timeout(REQUEST_S):
                    await self._check_server()
                    await self._check_silence()
                if self._state.missing and self._loop.time() > retry_at:
                    retry_at = self._loop.time() + _retry_s()
                    async with asyncio.timeout(2 * REQUEST_S):
                        await self._subscribe(subscription, list(self._state.missing))
                answered, self._up_since, self._state.away = self._loop.time(), None, ""
                self._inbox.alive_at = self._plan.clock.now()
            except (ua.UaError, OSError, TimeoutError) as error:
                self._state.away = (
                    self._state.away or f"{self._plan.endpoint} does not answer ({why(error)}): reconnecting"
                )
                self._state.say(self._loop.time())
                await self._check_others()
                if self._loop.time() - answered > AWAY_S:
                    raise Lost(f"{self._plan.endpoint} has not answered for {AWAY_S:g} s: connecting anew") from None
            self._state.say(self._loop.time())

    async def _check_server(self) -> None:
        started = await self._start_time()
        if started and self._started and abs((started - self._started).total_seconds()) > SAME_START_S:
            raise Lost(f"{self._plan.endpoint} has started anew: looking its nodes up again", at_once=True)
        if await index_of(self._client, self._plan.namespace) != self._index:
            raise Lost(f"the namespaces of {self._plan.endpoint} have moved: looking its nodes up again", at_once=True)

    async def _check_others(self) -> None:
        """We are cut off: are others, too? Then what the server keeps for us is worth waiting for."""
        other = Client(self._plan.endpoint, timeout=CHECK_S)
        try:
            async with asyncio.timeout(CHECK_S):
                await other.connect_and_get_server_endpoints()
        except (ua.UaError, OSError, TimeoutError):
            self._up_since = None
            return
        finally:
            other.disconnect_socket()
        self._up_since = self._up_since or self._loop.time()
        if self._loop.time() - self._up_since > GRACE_S:
            raise Lost(f"{self._plan.endpoint} is up, but our session there is not: connecting anew", at_once=True)

    async def _check_silence(self) -> None:
        """Nothing has come for long: has nothing changed, or are we not told?"""
        now = self._loop.time()
        if now - self._heard <= self._plan.silent_after_s or not self._items:
            return
        if not await self._differs():
            self._heard, self._differs_since = now, None
            return
        # The change may be a moment old, and its report under way.
        self._differs_since = self._differs_since or now
        if self._heard < self._differs_since < now - self._patience_s:
            raise Lost(
                f"{self._plan.endpoint} has new values and has reported none for {now - self._heard:.0f} s: connecting anew"
            )

    async def _differs(self) -> bool:
        for portion in portions(list(self._items.values()), self._portion):
            nodes = [self._client.get_node(item.node) for item in portion]
            for item, value in zip(portion, await self._client.read_attributes(nodes), strict=True):
                if _news(value, item.last, item.tag.deadband, on_time=self._plan.trigger == "timestamp"):
                    return True
        return False

    async def _start_time(self) -> datetime | None:
        (value,) = await self._client.read_attributes([self._client.get_node(START_NODE)])
        started = None if value.Value is None else value.Value.Value
        return started if hasattr(started, "year") else None


def _news(value: ua.DataValue, reported: ua.DataValue | bytes | None, deadband: float, *, on_time: bool) -> bool:
    """Whether a value should have been reported after the last that was."""
    if reported is None:
        return True
    try:
        last = decoded(reported)
    except UaValueError:
        return False  # nobody can say what it was, and it was rejected as that
    if value.StatusCode != last.StatusCode:
        return True
    if on_time and value.SourceTimestamp != last.SourceTimestamp:
        return True
    new, old = (None if v.Value is None else v.Value.Value for v in (value, last))
    if isinstance(new, int | float) and isinstance(old, int | float):
        return abs(new - old) > deadband
    return bool(new != old)


def _retry_s() -> float:
    return RETRY_S * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, no secret

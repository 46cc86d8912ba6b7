"""What do we ask of a server's subscription, and what does asyncua do with it by itself?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asyncua import Client, ua
from asyncua.common.subscription import OverflowPolicy
from asyncua.observer import Observer, SubscriptionEvent
from asyncua.ua.ua_binary import struct_from_binary
from asyncua.ua.uaerrors import UaStructParsingError

from stream.sources.opcua_report import UnusualError, take_apart

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncua.client.ua_session import UaSession
    from asyncua.common.subscription import Subscription
    from asyncua.common.utils import Buffer

    from stream.sources.opcua_report import Answer

__all__ = ["KEPT_S", "Overseer", "data_filter", "publishing_s_of", "subscribe"]

ANSWER = 25_000
"""Values in one answer of the server, at most."""
QUEUE = 2 * ANSWER
"""Room in asyncua's queue, which is emptied at each answer."""
KEEP_ALIVE_S = 30.0
"""How often the server shows that the subscription lives while nothing changes."""
KEPT_S = 120.0
"""How long the server keeps our session and subscription should we die: longer than we wait for it over a cut of the network,
and no longer than a controller with room for a few sessions can bear (asyncua asks for an hour)."""


class Overseer(Observer):  # type: ignore[misc]  # asyncua is read without its types
    """Notices what asyncua does with our subscription by itself.

    It may have subscribed anew, at node ids that may mean something else by now. And a keep-alive carries the number of the
    message that comes next, which asyncua 2.1 takes for one that has come: lost in a cut, it would never be fetched again.
    """

    def __init__(self) -> None:
        self.renewed = asyncio.Event()
        self.subscription: Subscription | None = None
        self._number: int | None = None

    def on_notification(self, subscription_id: int | None, count: int) -> None:
        """Puts right, after a keep-alive, which message is the last that came."""
        if self.subscription is None or subscription_id != self.subscription.subscription_id:
            return
        if count:
            self._number = self.subscription.last_sequence_number
        else:
            self.subscription.last_sequence_number = self._number

    def on_reports(self, number: int) -> None:
        """Notes a message of values that asyncua is not told of: for it the message is empty, as a keep-alive is."""
        self._number = number

    def on_subscription_event(self, subscription_id: int | None, event: SubscriptionEvent) -> None:  # noqa: ARG002 - asyncua's
        """Notes that another subscription stands in for ours."""
        if event is SubscriptionEvent.RECREATED:
            self.renewed.set()


async def subscribe(
    client: Client, publishing_s: float, overseer: Overseer, take: Callable[[Answer], None]
) -> Subscription:
    """A subscription without nodes yet, under the eyes of an overseer; `take` is given what it reports.

    What is unusual comes as an event of the subscription: values of other types, what is fetched again after a cut.
    """
    keep_alive = max(1, round(KEEP_ALIVE_S / publishing_s))
    parameters = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=ua.Double(1000 * publishing_s),
        RequestedLifetimeCount=ua.UInt32(max(3 * keep_alive, round(KEPT_S / publishing_s))),
        RequestedMaxKeepAliveCount=ua.UInt32(keep_alive),
        MaxNotificationsPerPublish=ua.UInt32(ANSWER),
        PublishingEnabled=True,
    )
    client.uaclient.observer = overseer
    _hear(client.uaclient.session, overseer, take)
    overseer.subscription = await client.create_subscription(
        parameters, queue_maxsize=QUEUE, overflow=OverflowPolicy.DROP_OLDEST
    )
    return overseer.subscription


def _hear(session: UaSession, overseer: Overseer, take: Callable[[Answer], None]) -> None:
    """Stands in for how asyncua asks for the next message: the same request, and an answer that is not read through."""

    async def publish(acks: list[ua.SubscriptionAcknowledgement]) -> ua.PublishResponse:
        request = ua.PublishRequest()
        request.Parameters.SubscriptionAcknowledgements = acks
        data = await session._send_request(request, timeout=0)  # noqa: SLF001 - as its own `publish` does
        subscription = overseer.subscription
        try:
            answer = take_apart(data.copy())
            if subscription is None or answer.subscription != subscription.subscription_id:
                raise UnusualError  # noqa: TRY301 - it is one
        except Exception:  # noqa: BLE001 - unusual, or broken: asyncua knows what to do
            return _read(data)
        overseer.on_reports(answer.number)
        take(answer)
        # What remains of it for asyncua: a message of this number, to be acknowledged.
        message = ua.NotificationMessage(
            SequenceNumber=ua.UInt32(answer.number), NotificationData=[ua.DataChangeNotification()]
        )
        result = ua.PublishResult(
            SubscriptionId=ua.UInt32(answer.subscription),
            MoreNotifications=answer.more,
            NotificationMessage=message,
        )
        return ua.PublishResponse(Parameters=result)

    session.publish = publish


def _read(data: Buffer) -> ua.PublishResponse:
    try:
        return struct_from_binary(ua.PublishResponse, data)
    except Exception as error:
        raise UaStructParsingError from error


def publishing_s_of(subscription: Subscription) -> float:
    """How often the server publishes: it may have made more of what it was asked for, and asyncua notes that."""
    return float(subscription.parameters.RequestedPublishingInterval) / 1000


def data_filter(deadband: float, *, on_time: bool) -> ua.DataChangeFilter | None:
    """What is worth a report; None where that is what servers do anyway: a new value, or a new status."""
    if not on_time and not deadband:
        return None
    wanted = ua.DataChangeFilter()
    wanted.Trigger = ua.DataChangeTrigger.StatusValueTimestamp if on_time else ua.DataChangeTrigger.StatusValue
    if deadband:
        wanted.DeadbandType = ua.UInt32(ua.DeadbandType.Absolute)
        wanted.DeadbandValue = ua.Double(deadband)
    return wanted

"""How does the plant answer MQTT clients?

An embedded amqtt broker (MQTT 3.1.1) that anyone may use: it publishes the tags itself, and carries whatever others
publish, retained messages and persistent sessions included. It is the broker of a demo: what a client had received but
not acknowledged when its connection broke is not sent again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from amqtt.broker import Broker  # type: ignore[import-untyped]  # amqtt has no types
from amqtt.contexts import BrokerConfig, ListenerConfig  # type: ignore[import-untyped]  # amqtt has no types
from amqtt.errors import BrokerError  # type: ignore[import-untyped]  # amqtt has no types
from amqtt.plugins.base import BaseAuthPlugin  # type: ignore[import-untyped]  # amqtt has no types

from plant.record import stamp

if TYPE_CHECKING:
    from datetime import datetime

    from amqtt.session import Session  # type: ignore[import-untyped]  # amqtt has no types

    from plant.sensor import Reading

__all__ = ["EmbeddedBroker", "OpenDoor", "payload"]

TOPIC = "plant/exchanger"

_log = logging.getLogger(__name__)


class OpenDoor(BaseAuthPlugin):  # type: ignore[misc]  # amqtt has no types
    """Lets everyone in.

    amqtt's own plugin for that marks the session anonymous, and such sessions it forgets a second after they disconnect.
    """

    async def authenticate(self, *, session: Session) -> bool:  # noqa: ARG002 - amqtt passes it by name
        """Always true."""
        return True


class _Broker(Broker):  # type: ignore[misc]  # amqtt has no types
    """amqtt's broker with two of its habits mended, so that clients meet what they would meet at any other broker."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # It sends whoever connects the retained messages of everyone's subscriptions.
        subscribers = self._subscriptions.get(subscription[0], [])
        if any(subscriber is session for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _publish_session_retained_messages(self, session: Session) -> None:
        # It marks what it has kept for a client that was away as retained.
        handler = self._get_handler(session)
        kept = session.retained_messages
        sent = []
        while handler and not kept.empty():
            message = kept.get_nowait()
            sent.append(handler.mqtt_publish(message.topic, message.data, message.qos, retain=False))
        for outcome in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(outcome, Exception):
                _log.warning("a message kept for %r was not acknowledged: %s", session.client_id, outcome)


class EmbeddedBroker:
    """The broker on one port; `start` raises OSError where the port cannot be had."""

    def __init__(self, *, host: str, port: int) -> None:
        self.address = f"{host}:{port}"
        self._broker = _Broker(
            BrokerConfig(
                listeners={"default": ListenerConfig(bind=self.address)},
                plugins={f"{__name__}.{OpenDoor.__name__}": {}},
            )
        )

    async def start(self) -> None:
        """Listens."""
        try:
            await self._broker.start()
        except BrokerError as error:
            raise error.__cause__ if isinstance(error.__cause__, OSError) else error from None

    async def report(self, reading: Reading, source_at: datetime) -> None:
        """Publishes one report, with the quality of service that each subscriber was granted."""
        await self._broker.internal_message_broadcast(f"{TOPIC}/{reading.tag}", payload(reading, source_at))

    async def stop(self) -> None:
        """Takes leave of the clients."""
        await self._broker.shutdown()


def payload(reading: Reading, source_at: datetime) -> bytes:
    """The JSON object that is published for a report."""
    body: dict[str, object] = {"value": reading.value, "time": stamp(source_at), "quality": "good"}
    if reading.value is None:
        body |= {"quality": "bad", "reason": reading.reason}
    return json.dumps(body).encode()

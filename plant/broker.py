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

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig
from amqtt.errors import BrokerError
from amqtt.plugins.base import BaseAuthPlugin

from plant.record import stamp

if TYPE_CHECKING:
    from datetime import datetime

    from amqtt.session import Session

    from plant.sensor import Reading

__all__ = ["EmbeddedBroker", "OpenDoor", "payload"]

STOP_S = 1.0
TOPIC = "plant/exchanger"


class OpenDoor(BaseAuthPlugin):
    """Lets everyone in.

    amqtt's own plugin for that marks the session anonymous, and such sessions it forgets a second after they disconnect.
    """

    async def authenticate(self, *, session: Session) -> bool:  # noqa: ARG002 - amqtt passes it by name
        """Always true."""
        return True


class _Broker(Broker):
    """amqtt's broker, which sends every client that connects the retained messages of everyone's subscriptions."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        subscribers = self._subscriptions.get(subscription[0], [])
        if any(subscriber is session for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)


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
        log = logging.getLogger("amqtt")
        level = log.level
        log.setLevel(logging.CRITICAL)  # it logs the traceback of what it raises
        try:
            await self._broker.start()
        except BrokerError as error:
            raise OSError(str(error.__cause__ or error)) from error
        finally:
            log.setLevel(level)

    async def report(self, reading: Reading, source_at: datetime) -> None:
        """Publishes one report, with the quality of service that each subscriber was granted."""
        await self._broker.internal_message_broadcast(f"{TOPIC}/{reading.tag}", payload(reading, source_at))

    async def stop(self) -> None:
        """Takes leave of the clients, but not for longer than a second."""
        async with asyncio.timeout(STOP_S):
            await self._broker.shutdown()


def payload(reading: Reading, source_at: datetime) -> bytes:
    """The JSON object that is published for a report."""
    body: dict[str, object] = {"value": reading.value, "time": stamp(source_at), "quality": "good"}
    if reading.value is None:
        body |= {"quality": "bad", "reason": reading.reason}
    return json.dumps(body).encode()

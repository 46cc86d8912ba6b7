"""How do values come from an OPC UA server? One subscription for all tags of a source, made anew whenever it is in doubt.

Over a short cut of the network asyncua's own reconnection is used: the server's queues keep what could not be sent, and it is
fetched again. For everything else (`opcua_session`) the connection is made anew from a fresh client on: certificates checked,
namespaces looked up, nodes subscribed. Nothing is ever written to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Literal

from asyncua import Client, ua
from asyncua.ua.uaerrors import (
    BadCertificateUntrusted,
    BadIdentityTokenInvalid,
    BadIdentityTokenRejected,
    BadSecurityChecksFailed,
    BadUserAccessDenied,
)

from detectors.records import Status
from stream.backoff import Backoff
from stream.portion import portions
from stream.sources.opcua_inbox import Inbox
from stream.sources.opcua_node import NamespaceError, UaTag, index_of, node_id, portion_of, why
from stream.sources.opcua_plan import Plan
from stream.sources.opcua_security import UaSecurity, UaSecurityError, secure, thumbprint_of
from stream.sources.opcua_session import REQUEST_S, Lost, Session
from stream.sources.opcua_subscription import KEPT_S
from stream.sources.opcua_value import UaValueError, name_of, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from stream.clock import Clock
    from stream.sources.source import Intake

__all__ = ["OpcuaSource", "UaSecurity", "UaTag"]

CONNECT_S = 15.0
"""A connection must stand within this, whatever asyncua is still waiting for."""
PROBE_S = 5.0
CLOSE_S = 1.5
STOOD_S = 5.0
"""A connection that stood so long was a good one, and the next is tried at once where the server is known to be up."""
DEFAULT_PORT = 4840
CANNOT_BE_HAD = {
    "BadAttributeIdInvalid",
    "BadNodeIdInvalid",
    "BadNodeIdUnknown",
    "BadNotReadable",
    "BadSecurityModeInsufficient",
    "BadUserAccessDenied",
}
"""Status codes that speak of the node; any other Bad is the value's, and a value may be better later."""


class OpcuaSource:
    """Follows the tags of one server.

    Intervals are plant seconds, and pass faster on a fast clock. Raises ValueError for a password without `security`.
    """

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
        if username is not None and security is None:
            raise ValueError(f"source {name}: a password is never sent unencrypted: give `security`")
        self._name = name
        self._plan = Plan(
            source=name,
            endpoint=_with_port(endpoint),
            namespace=namespace,
            tags=tuple(tags),
            publishing_s=publishing_interval_s / clock.speed,
            sampling_s=sampling_interval_s / clock.speed,
            queue_size=queue_size,
            silent_after_s=silent_after_s / clock.speed,
            trigger=trigger,
            clock=clock,
        )
        self._security = security
        self._username = username
        self._password = password

    @property
    def name(self) -> str:
        """Name of the source in the configuration."""
        return self._name

    async def run(self, intake: Intake) -> None:
        """Follows the tags for ever."""
        inbox = Inbox(self._name, intake)
        async with asyncio.TaskGroup() as group:
            group.create_task(inbox.hand_over())
            await self._keep_connected(inbox, intake)

    async def probe(self) -> list[str]:
        """Connects once and returns a sentence per thing that cannot be had."""
        try:
            async with self._connected(PROBE_S) as client, asyncio.timeout(PROBE_S):
                return await self._examine(client)
        except Exception as error:  # noqa: BLE001 - whatever a server's nonsense makes of asyncua is an answer here
            return [self._explain(error)]

    async def _keep_connected(self, inbox: Inbox, intake: Intake) -> None:
        backoff = Backoff()
        clock, loop = self._plan.clock, asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                async with self._connected(CONNECT_S) as client:
                    await Session(self._plan, client, inbox, intake).follow()
            except Exception as error:  # noqa: BLE001 - whatever a server's nonsense makes of asyncua must not end the source
                detail = self._explain(error)
                intake.report(Status(subject=f"source.{self._name}", ok=False, detail=detail, at=clock.now()))
                if isinstance(error, Lost) and error.at_once and loop.time() - began > STOOD_S:
                    continue
            await asyncio.sleep(backoff.next_s(loop.time() - began))

    async def _examine(self, client: Client) -> list[str]:
        plan = self._plan
        index = await index_of(client, plan.namespace)
        problems: dict[UaTag, str] = {}
        nodes: list[tuple[UaTag, ua.NodeId]] = []
        for tag in plan.tags:
            try:
                nodes.append((tag, node_id(tag.node, index)))
            except ValueError as error:
                problems[tag] = str(error)
        for portion in portions(nodes, await portion_of(client)):
            values = await client.read_attributes([client.get_node(node) for _, node in portion])
            for (tag, _), value in zip(portion, values, strict=True):
                code = name_of(value.StatusCode) if value.StatusCode is not None else "Good"
                try:
                    read(value, plan.clock.now())
                except UaValueError as error:
                    problems[tag] = str(error)
                if code in CANNOT_BE_HAD:
                    problems[tag] = code
        return [
            f"tag {tag.tag}: node {tag.node!r} at {plan.endpoint}: {problems[tag]}; correct `node`"
            for tag in plan.tags
            if tag in problems
        ]

    @contextlib.asynccontextmanager
    async def _connected(self, within_s: float) -> AsyncIterator[Client]:
        # A client per connection: one that is used again may wait for ever in connect.
        client = Client(self._plan.endpoint, timeout=min(REQUEST_S, within_s), watchdog_intervall=5.0)
        client.name = client.description = f"Givre {self._name}"
        client.session_timeout = round(1000 * KEPT_S)
        client.application_uri = f"urn:givre:{self._name}"
        try:
            async with asyncio.timeout(within_s):
                if self._security is not None:
                    await secure(client, self._security)
                if self._username is not None and self._password is not None:
                    client.set_user(self._username)
                    client.set_password(self._password)
                await client.connect(auto_reconnect=True, reconnect_max_delay=4.0, reconnect_request_timeout=REQUEST_S)
            yield client
        finally:
            # Our farewell is a courtesy: a frozen server must not hold us up with it.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await client.disconnect()
            client.disconnect_socket()

    def _explain(self, error: BaseException) -> str:
        """What happened, and what to do."""
        endpoint = self._plan.endpoint
        match error:
            case Lost() | NamespaceError() | UaSecurityError():
                return str(error)
            case BadCertificateUntrusted() | BadSecurityChecksFailed() if self._security is not None:
                return f"{endpoint} refused: {why(error)}; {self._ours(self._security)}"
            case BadIdentityTokenRejected() | BadIdentityTokenInvalid() | BadUserAccessDenied():
                return f"{endpoint} refused the login: {why(error)}; check `username` and `password`"
            case TimeoutError() | ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
                hint = "" if self._security is None else f"; if it is up: {self._ours(self._security)}"
                return f"{endpoint} does not answer{hint or '; is it an OPC UA server?'}"
            case ConnectionRefusedError():
                return f"nobody listens at {endpoint}: is the server running, and the port right?"
            case socket.gaierror():
                return f"{endpoint}: the host is not known ({error.strerror})"
            case OSError():
                hint = "" if self._security is None else f"; if it is up: {self._ours(self._security)}"
                return f"{endpoint} cannot be reached: {error.strerror or why(error)}{hint}"
            case ua.UaStatusCodeError():
                return f"{endpoint} refused: {why(error)}"
        return f"{endpoint} said what cannot be understood ({type(error).__name__}: {why(error)!r})"

    @staticmethod
    def _ours(security: UaSecurity) -> str:
        return f"it may not trust our certificate {thumbprint_of(security.certificate)}: accept it there"


def _with_port(endpoint: str) -> str:
    scheme, _, rest = endpoint.partition("://")
    host, slash, path = rest.partition("/")
    port = "" if ":" in host.rpartition("]")[2] else f":{DEFAULT_PORT}"
    return f"{scheme}://{host}{port}{slash}{path}"

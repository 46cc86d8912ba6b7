"""A small real OPC UA server for tests: `python opcua_server.py --port PORT [options]`, told what to do on its standard input.

Nodes ``s=x/a`` ... in the namespace ``urn:plant``, and ``s=count``, which counts tenths of a second from `--epoch` on: a
hole in the integers is a lost sample. It prints ``ready`` once it listens; each line of JSON on its input is done and answered
with a line of JSON: ``{"write": "x/a", "value": 1.5, "type": "Double", "status": "Good", "source": ISO or null, "server": ...}``,
``{"add": NODE}``, ``{"delete": NODE}``, ``{"forget": true}`` (drops what clients subscribed, and tells nobody). Each answer says
how many write and call requests, and how many logins, there have been, and for how long (s) the server would keep the sessions
and subscriptions that it has if their clients were gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from asyncua.server.internal_session import InternalSession
from asyncua.server.monitored_item_service import MonitoredItemService
from asyncua.server.subscription_service import SubscriptionService
from asyncua.server.uaprocessor import UaProcessor
from asyncua.server.user_managers import UserManager

NAMESPACE = "urn:plant"
POLICIES = {
    "None": ua.SecurityPolicyType.NoSecurity,
    "Basic128Rsa15": ua.SecurityPolicyType.Basic128Rsa15_SignAndEncrypt,
    "Basic256": ua.SecurityPolicyType.Basic256_SignAndEncrypt,
    "Basic256Sha256": ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    "Aes256Sha256RsaPss": ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
}
LIMITS = (
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
)
FORBIDDEN = {ua.ObjectIds.WriteRequest_Encoding_DefaultBinary, ua.ObjectIds.CallRequest_Encoding_DefaultBinary}
TICK_S = 0.1


class Login(UserManager):
    def __init__(self, login: str) -> None:
        self._login = tuple(login.split(":"))
        self.seen = 0

    def get_user(self, iserver, username=None, password=None, certificate=None):
        self.seen += 1
        return User(role=UserRole.User) if (username, password) == self._login else None


class PlantServer:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.login = Login(options.login)
        self.server = Server(user_manager=self.login) if options.login else Server()
        self.index = 0
        self.forbidden = 0

    async def prepare(self) -> None:
        options, server = self.options, self.server
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{options.port}/plant")
        await server.set_application_uri(options.uri)
        server.set_security_policy([POLICIES[name] for name in options.policy or ["None"]])
        if options.login:
            server.set_identity_tokens([ua.UserNameIdentityToken])
        if options.certificate:
            await server.load_certificate(options.certificate)
            await server.load_private_key(options.key)
        if options.trust:
            store = TrustStore([Path(options.trust)], [])
            await store.load()
            wanted = CertificateValidatorOptions.TRUSTED_VALIDATION | CertificateValidatorOptions.PEER_CLIENT
            server.set_certificate_validator(CertificateValidator(wanted, store))
        for number in range(options.shift):
            shifted = await server.register_namespace(f"urn:newcomer:{number}")
            for node in options.decoy:
                await server.nodes.objects.add_variable(ua.NodeId(node, shifted), node, -1.0)
        self.index = await server.register_namespace(options.namespace)
        for node in [*options.node, "count"]:
            if node not in options.omit:
                await self.add(node)
        self.watch_requests()
        if options.no_filter:
            refuse_filters()
        if options.most:
            limit_operations(options.most)
            for limit in LIMITS:
                await server.get_node(ua.NodeId(limit)).write_value(ua.UInt32(options.most))
        if options.slowest:
            publish_slowly(options.slowest)

    async def add(self, node: str) -> None:
        variable = await self.server.nodes.objects.add_variable(ua.NodeId(node, self.index), node, 0.0)
        waiting = ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData)
        await self.write(variable.nodeid, ua.DataValue(StatusCode=waiting))

    async def write(self, node: ua.NodeId, value: ua.DataValue) -> None:
        space = self.server.iserver.aspace
        space[node].attributes[ua.AttributeIds.Value].value = None  # a value of any type may follow
        (await space.write_attribute_value(node, ua.AttributeIds.Value, value)).check()

    def watch_requests(self) -> None:
        """Counts what a client that only reads never asks for."""
        process = UaProcessor._process_message

        async def counted(processor, typeid, *rest):
            self.forbidden += typeid.Identifier in FORBIDDEN
            return await process(processor, typeid, *rest)

        UaProcessor._process_message = counted

    async def count(self) -> None:
        node = ua.NodeId("count", self.index)
        for tick in itertools.count(int((time.time() - self.options.epoch) / TICK_S) + 1):
            at = self.options.epoch + tick * TICK_S
            await asyncio.sleep(at - time.time())
            moment = datetime.fromtimestamp(at, UTC)
            value = ua.Variant(tick, ua.VariantType.Int64)
            await self.write(node, ua.DataValue(value, SourceTimestamp=moment))

    async def obey(self, order: dict) -> dict:
        if "write" in order:
            kind = ua.VariantType[order.get("type", "Double")]
            raw = order.get("value")
            if kind is ua.VariantType.ByteString and raw is not None:
                raw = raw.encode()
            status = order.get("status", "Good")
            code = getattr(ua.StatusCodes, status) if isinstance(status, str) else status
            times = {
                key: datetime.fromisoformat(order[word])
                for key, word in (("SourceTimestamp", "source"), ("ServerTimestamp", "server"))
                if order.get(word)
            }
            value = None if raw is None and "type" not in order else ua.Variant(raw, kind)
            data = ua.DataValue(value, ua.StatusCode(code), **times)
            await self.write(ua.NodeId(order["write"], self.index), data)
        elif "add" in order:
            await self.add(order["add"])
        elif "delete" in order:
            await self.server.delete_nodes([self.server.get_node(ua.NodeId(order["delete"], self.index))])
        elif "forget" in order:
            for subscription in self.server.iserver.subscription_service.subscriptions.values():
                subscription.monitored_item_srv.delete_all_monitored_items()
        return {"ok": True, "writes": self.forbidden, "logins": self.login.seen, "keeps": self.keeps()}

    def keeps(self) -> dict[str, list[float]]:
        iserver = self.server.iserver
        kept = [s.data for s in iserver.subscription_service.subscriptions.values()]
        return {
            "sessions": [session.session_timeout for session in iserver._external_sessions.values()],
            "subscriptions": [d.RevisedLifetimeCount * d.RevisedPublishingInterval / 1000 for d in kept],
        }


def refuse_filters() -> None:
    """Takes no filter, as some controllers do not."""
    create = MonitoredItemService._create_data_change_monitored_item

    async def strict(service, params):
        if hasattr(params.RequestedParameters.Filter, "Trigger"):  # no filter is an empty extension object
            return ua.MonitoredItemCreateResult(
                StatusCode=ua.StatusCode(ua.StatusCodes.BadMonitoredItemFilterUnsupported)
            )
        return await create(service, params)

    MonitoredItemService._create_data_change_monitored_item = strict


def limit_operations(most: int) -> None:
    """Refuses requests for more nodes than `most`, as small controllers do."""
    create, read = InternalSession.create_monitored_items, InternalSession.read

    async def create_some(session, params):
        if len(params.ItemsToCreate) > most:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)
        return await create(session, params)

    async def read_some(session, params):
        if len(params.NodesToRead) > most:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)
        return await read(session, params)

    InternalSession.create_monitored_items, InternalSession.read = create_some, read_some


def publish_slowly(slowest_s: float) -> None:
    """Publishes no faster than every `slowest_s`, whatever a client asks for."""
    create = SubscriptionService.create_subscription

    async def revised(service, params, *rest, **more):
        params.RequestedPublishingInterval = max(params.RequestedPublishingInterval, 1000 * slowest_s)
        return await create(service, params, *rest, **more)

    SubscriptionService.create_subscription = revised


async def main(options: argparse.Namespace) -> None:
    plant = PlantServer(options)
    await plant.prepare()
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with plant.server:
        counting = asyncio.create_task(plant.count()) if options.epoch else None
        print("ready", flush=True)
        while line := await orders.readline():
            try:
                answer = await plant.obey(json.loads(line))
            except Exception as error:
                answer = {"ok": False, "error": repr(error)}
            print(json.dumps(answer), flush=True)
        if counting is not None:
            counting.cancel()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--uri", default="urn:test:server", help="application URI")
    parser.add_argument("--namespace", default=NAMESPACE)
    parser.add_argument("--node", action="append", default=[])
    parser.add_argument("--omit", action="append", default=[], help="node that is not there")
    parser.add_argument("--shift", type=int, default=0, help="namespaces registered before ours")
    parser.add_argument("--decoy", action="append", default=[], help="node of the same name in those namespaces")
    parser.add_argument(
        "--epoch", type=float, default=0.0, help="Unix time from which `count` counts; 0: it stands still"
    )
    parser.add_argument("--policy", action="append", choices=POLICIES)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--trust")
    parser.add_argument("--login", default="", help="NAME:PASSWORD, the only ones let in")
    parser.add_argument("--no-filter", action="store_true")
    parser.add_argument("--most", type=int, default=0, help="nodes in one request; 0: any number")
    parser.add_argument("--slowest", type=float, default=0.0, help="shortest publishing interval (s)")
    return parser.parse_args()


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(arguments()))

"""How does the plant answer OPC UA clients?

A real asyncua server without security: one variable per tag under a namespace URI of the plant, with the plant's time as
source time and a status code with each value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from plant.sensor import SENSORS

if TYPE_CHECKING:
    from datetime import datetime

    from plant.sensor import Reading

__all__ = ["NAMESPACE", "OpcuaServer"]

NAMESPACE = "urn:givre:plant"
ASSET = "exchanger"


class OpcuaServer:
    """The five tags as `s=exchanger.<tag>`; `start` raises OSError where the port cannot be had."""

    def __init__(self, *, host: str, port: int) -> None:
        self.endpoint = f"opc.tcp://{host}:{port}/givre/plant"
        self._server = Server()
        self._nodes: dict[str, ua.NodeId] = {}

    async def start(self) -> None:
        """Builds the address space and listens."""
        server = self._server
        await server.init()
        server.set_endpoint(self.endpoint)
        server.set_server_name("Givre's simulated plant")
        # Not the namespace's URI: the application's own always has index 1, and a client must look the other one up.
        await server.set_application_uri(f"{NAMESPACE}:server")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken])
        index = ua.Int16(await server.register_namespace(NAMESPACE))
        asset = await server.nodes.objects.add_object(ua.NodeId(ua.String(ASSET), index), ASSET)
        for sensor in SENSORS:
            node_id = ua.NodeId(ua.String(f"{ASSET}.{sensor.tag}"), index)
            node = await asset.add_variable(node_id, sensor.tag, None, datatype=ua.NodeId(ua.Int32(ObjectIds.Double)))
            description = ua.LocalizedText(f"{sensor.description}, {sensor.unit}")
            await node.write_attribute(AttributeIds.Description, ua.DataValue(ua.Variant(description)))
            waiting = ua.StatusCode(ua.UInt32(StatusCodes.BadWaitingForInitialData))
            await server.write_attribute_value(node_id, ua.DataValue(StatusCode=waiting))
            self._nodes[sensor.tag] = node_id
        await server.start()

    async def report(self, reading: Reading, source_at: datetime) -> None:
        """Writes one report to its node; subscribers are notified."""
        if reading.value is None:
            status = ua.StatusCode(ua.UInt32(getattr(StatusCodes, reading.reason)))
            value = None
        else:
            status = ua.StatusCode(ua.UInt32(StatusCodes.Good))
            value = ua.Variant(reading.value, ua.VariantType.Double)
        moment = cast("ua.DateTime", source_at)  # asyncua's own name for a datetime
        data = ua.DataValue(value, status, SourceTimestamp=moment, ServerTimestamp=moment)
        await self._server.write_attribute_value(self._nodes[reading.tag], data)

    async def stop(self) -> None:
        """Takes leave of the clients."""
        await self._server.stop()

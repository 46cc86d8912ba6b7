"""How does the plant answer OPC UA clients?

A real asyncua server without security: one variable per tag under a namespace URI of the plant, with the plant's time as
source time and a status code with each value.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asyncua import Server, ua

from plant.sensor import SENSORS

if TYPE_CHECKING:
    from datetime import datetime

    from plant.sensor import Reading

__all__ = ["NAMESPACE", "OpcuaServer"]

NAMESPACE = "urn:givre:plant"
ASSET = "exchanger"
STOP_S = 1.0


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
        index = await server.register_namespace(NAMESPACE)
        asset = await server.nodes.objects.add_object(ua.NodeId(ASSET, index), ASSET)
        for sensor in SENSORS:
            node_id = ua.NodeId(f"{ASSET}.{sensor.tag}", index)
            node = await asset.add_variable(node_id, sensor.tag, None, datatype=ua.NodeId(ua.ObjectIds.Double))
            description = ua.LocalizedText(f"{sensor.description}, {sensor.unit}")
            await node.write_attribute(ua.AttributeIds.Description, ua.DataValue(ua.Variant(description)))
            waiting = ua.StatusCode(ua.UInt32(ua.StatusCodes.BadWaitingForInitialData))
            await server.write_attribute_value(node_id, ua.DataValue(StatusCode=waiting))
            self._nodes[sensor.tag] = node_id
        await server.start()

    async def report(self, reading: Reading, source_at: datetime) -> None:
        """Writes one report to its node; subscribers are notified."""
        if reading.value is None:
            status = ua.StatusCode(ua.UInt32(getattr(ua.StatusCodes, reading.reason)))
            value = None
        else:
            status = ua.StatusCode(ua.UInt32(ua.StatusCodes.Good))
            value = ua.Variant(reading.value, ua.VariantType.Double)
        data = ua.DataValue(value, status, SourceTimestamp=source_at, ServerTimestamp=source_at)
        await self._server.write_attribute_value(self._nodes[reading.tag], data)

    async def stop(self) -> None:
        """Takes leave of the clients, but not for longer than a second."""
        async with asyncio.timeout(STOP_S):
            await self._server.stop()

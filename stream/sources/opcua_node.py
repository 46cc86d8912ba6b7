"""Which node does a tag mean, at this server, now?

A namespace is known by its URI; its index is the server's own affair and may be another one after every restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncua import ua

from stream.sources.opcua_value import name_of

if TYPE_CHECKING:
    from asyncua import Client

__all__ = ["NamespaceError", "UaTag", "index_of", "node_id", "portion_of", "why"]

PORTION = 200
"""Nodes per request, at most: fewer where the server says that it takes fewer."""
LIMITS = (
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
)


class NamespaceError(Exception):
    """The source's namespace is not at this server; the text says which are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UaTag:
    """A tag and its node: ``s=...``, ``i=...`` in the source's namespace, or ``nsu=URI;s=...``."""

    tag: str
    node: str
    deadband: float = 0.0


async def index_of(client: Client, namespace: str) -> dict[str, int]:
    """Namespace URI -> index at this server now; the source's own stands under "" as well."""
    uris = await client.get_namespace_array()
    index = {uri: i for i, uri in enumerate(uris)}
    if namespace not in index:
        known = ", ".join(repr(uri)[:80] for uri in uris[1:9]) or "none of its own"
        raise NamespaceError(
            f"namespace {namespace!r} is not at {client.server_url.geturl()}; it has {known}: correct `namespace`"
        )
    return {"": index[namespace], **index}


def node_id(text: str, index: dict[str, int]) -> ua.NodeId:
    """The node of a text as it is numbered at this server now; raises ValueError for what is none."""
    uri, rest = "", text
    if text.startswith("nsu="):
        uri, _, rest = text.removeprefix("nsu=").partition(";")
        if uri not in index:
            raise ValueError(f"namespace {uri!r} is not at this server")
    elif text.startswith("ns="):
        raise ValueError("expected nsu=URI;... instead of ns=NUMBER: the number may move when the server restarts")
    try:
        return ua.NodeId.from_string(f"ns={index[uri]};{rest}")
    except ua.UaError:
        raise ValueError("expected s=NAME, i=NUMBER, g=GUID or b=BYTES, or one of these after nsu=URI;") from None


async def portion_of(client: Client) -> int:
    """How many nodes this server takes in one request; a server that says 0, or nothing, takes any number (Part 5, 6.3.11)."""
    values = await client.read_attributes([client.get_node(ua.NodeId(ua.Int32(limit))) for limit in LIMITS])
    limits = [value.Value.Value for value in values if value.Value is not None]
    return min([PORTION, *(limit for limit in limits if isinstance(limit, int) and limit > 0)])


def why(error: BaseException) -> str:
    """The symbolic name of a status code, or the words of another error."""
    code = getattr(error, "code", None)
    return (
        name_of(ua.StatusCode(ua.UInt32(code))) if isinstance(code, int) else str(error)[:200] or type(error).__name__
    )

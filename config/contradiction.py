"""Do the sections agree with each other? What one section says of another and cannot be: a *contradiction*, with its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.endpoint import InfluxSink, OpcuaSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.schema import Settings, TagSource

__all__ = ["Key", "contradictions"]

Key = tuple[str | int, ...]


def contradictions(settings: Settings) -> Iterator[tuple[Key, str]]:
    """Where sections contradict each other, and in what; settings are usable only if there is nothing."""
    for asset_name, asset in settings.assets.items():
        for tag_name, tag in asset.tags.items():
            at = ("assets", asset_name, "tags", tag_name, "source")
            yield from ((at + key, message) for key, message in _source(tag.source, settings))
    yield from _clients(settings)


def _source(source: TagSource, settings: Settings) -> Iterator[tuple[Key, str]]:
    there = settings.sources.get(source.name)
    if there is None:
        known = ", ".join(sorted(settings.sources)) or "none"
        yield ("name",), f"expected one of `sources` ({known}), found {source.name!r}"
    elif isinstance(there, OpcuaSource) and source.node is None:
        yield ("topic",), f"expected `node`, not `topic`: source {source.name!r} is an OPC UA server"
    elif not isinstance(there, OpcuaSource) and source.topic is None:
        yield ("node",), f"expected `topic`, not `node`: source {source.name!r} is an MQTT broker"


def _clients(settings: Settings) -> Iterator[tuple[Key, str]]:
    """A broker throws out the first of two clients with the same identifier, for ever in turn."""
    used: dict[tuple[str, int, str], str] = {}
    for section, parts in (("sources", settings.sources), ("sinks", settings.sinks)):
        for name, part in parts.items():
            if isinstance(part, OpcuaSource | InfluxSink):
                continue
            client = (part.host.lower(), part.port, part.client_id)
            if client in used:
                yield (
                    (section, name, "client_id"),
                    (
                        f"expected a client_id of its own, found that of {used[client]} on the same broker: "
                        "the broker would disconnect one whenever the other connects"
                    ),
                )
            used.setdefault(client, f"{section}.{name}")

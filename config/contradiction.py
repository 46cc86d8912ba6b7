"""Do the sections agree with each other? What one section says of another and cannot be: a *contradiction*, with its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.alarm import Key, suppressions
from config.endpoint import InfluxSink, MqttSink, OpcuaSource
from config.measure import FLOWS, POWERS, TEMPERATURES, conversion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.measure import Conversion
    from config.schema import Asset, Settings, TagSource

__all__ = ["Key", "contradictions"]

_TAKEN = {"source": "sources are called source/NAME/lost", "asset": "whole assets are called asset/NAME/components"}
_LEARN_STEPS = (80, 100_000)
"""Fewest and most steps that a baseline is learnt from: below, nothing can be told from luck; above, it fills the memory."""


def contradictions(settings: Settings) -> Iterator[tuple[Key, str]]:
    """Where sections contradict each other, and in what; settings are usable only if there is nothing."""
    for asset_name, asset in settings.assets.items():
        for tag_name, tag in asset.tags.items():
            at = ("assets", asset_name, "tags", tag_name, "source")
            yield from ((at + key, message) for key, message in _source(tag.source, settings))
        for part in (_setpoints(asset), _balance(asset), _pumps(asset), _baseline(asset)):
            yield from ((("assets", asset_name, *key), message) for key, message in part)
        if asset_name in _TAKEN:
            yield ("assets", asset_name), f"expected another name: alarms of {_TAKEN[asset_name]}"
    yield from _clients(settings)
    yield from suppressions(settings)


def _source(source: TagSource, settings: Settings) -> Iterator[tuple[Key, str]]:
    there = settings.sources.get(source.name)
    if there is None:
        known = ", ".join(sorted(settings.sources)) or "none"
        yield ("name",), f"expected one of `sources` ({known}), found {source.name!r}"
    elif isinstance(there, OpcuaSource) and source.node is None:
        yield ("topic",), f"expected `node`, not `topic`: source {source.name!r} is an OPC UA server"
    elif not isinstance(there, OpcuaSource) and source.topic is None:
        yield ("node",), f"expected `topic`, not `node`: source {source.name!r} is an MQTT broker"


def _setpoints(asset: Asset) -> Iterator[tuple[Key, str]]:
    for name, tag in asset.tags.items():
        told_by = None if tag.tolerance is None else tag.tolerance.setpoint_tag
        if told_by is None:
            continue
        at = ("tags", name, "tolerance", "setpoint_tag")
        if told_by not in asset.tags:
            yield at, _no_tag(told_by, asset)
        elif told_by == name:
            yield at, "expected another tag of the asset: a tag cannot tell its own set point"
        elif (unit := asset.tags[told_by].unit) != tag.unit:
            yield at, f"expected a tag in {tag.unit!r}, as this one is, found {told_by!r} in {unit!r}"


def _balance(asset: Asset) -> Iterator[tuple[Key, str]]:
    balance = asset.balance
    if balance is None:
        return
    periods: dict[float, str] = {}
    kinds = (("power", POWERS), ("flow", FLOWS), ("warm", TEMPERATURES), ("cold", TEMPERATURES))
    used: dict[str, str] = {}
    for key, units in kinds:
        name = getattr(balance, key)
        at = ("balance", key)
        if name not in asset.tags:
            yield at, _no_tag(name, asset)
            continue
        tag = asset.tags[name]
        yield from ((at, message) for message in _unit(name, tag.unit, units))
        if name in used:
            yield at, f"expected a tag of its own, found that of `{used[name]}`: {name!r}"
        used.setdefault(name, key)
        periods.setdefault(tag.period_s, name)
    if len(periods) > 1:
        found = " and ".join(f"{period_s:g} s ({name})" for period_s, name in periods.items())
        yield ("balance",), f"expected four tags with the same period_s, found {found}"


def _unit(name: str, unit: str, units: dict[str, Conversion]) -> Iterator[str]:
    if conversion(unit, units) is None:
        yield f"expected a tag in one of {', '.join(units)}, found {name!r} in {unit!r}: it cannot be balanced"


def _pumps(asset: Asset) -> Iterator[tuple[Key, str]]:
    seen: set[str] = set()
    for pump_name, pump in asset.pumps.items():
        for key in ("command", "flow"):
            if (name := getattr(pump, key)) not in asset.tags:
                yield ("pumps", pump_name, key), _no_tag(name, asset)
        if pump.command == pump.flow:
            yield ("pumps", pump_name, "flow"), "expected another tag than that of the command"
        if pump.command in seen:
            yield ("pumps", pump_name, "command"), f"expected each command once, found {pump.command!r} again"
        seen.add(pump.command)


def _baseline(asset: Asset) -> Iterator[tuple[Key, str]]:
    baseline = asset.baseline
    if baseline is None:
        return
    for place, name in enumerate(baseline.tags):
        if name not in asset.tags:
            yield ("baseline", "tags", place), _no_tag(name, asset)
        elif name in baseline.tags[:place]:
            yield ("baseline", "tags", place), f"expected each tag once, found {name!r} again"
    periods: dict[float, str] = {}
    for name in baseline.tags or asset.tags:
        if name in asset.tags:
            periods.setdefault(asset.tags[name].period_s, name)
    if len(periods) > 1:
        found = " and ".join(f"{period_s:g} s ({name})" for period_s, name in periods.items())
        yield ("baseline", "tags"), f"expected `tags` with the same period_s, found {found}"
        return
    fewest, most = (steps * period_s for steps in _LEARN_STEPS for period_s in periods)
    if not fewest <= baseline.learn_s <= most:
        why = f"{_LEARN_STEPS[0]} to {_LEARN_STEPS[1]} steps"
        yield ("baseline", "learn_s"), f"expected {fewest:g} to {most:g} s ({why}), found {baseline.learn_s:g}"


def _no_tag(name: str, asset: Asset) -> str:
    return f"expected a tag of this asset ({', '.join(sorted(asset.tags))}), found {name!r}"


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
            if isinstance(part, MqttSink) and part.commands is not None:
                used.setdefault((*client[:2], f"{part.client_id}-commands"), f"{section}.{name}.commands")

"""What is legal, and hardly meant? A *doubt* names the key and what will come of it; the service starts all the same."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from config.alarm import alarms
from config.endpoint import InfluxSink, MqttSink, MqttSource, OpcuaSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.contradiction import Key
    from config.schema import Settings, Tag

__all__ = ["doubts"]


def doubts(settings: Settings) -> Iterator[tuple[Key, str]]:
    """Everything that looks like an oversight, with the key where it stands."""
    for asset_name, asset in settings.assets.items():
        for tag_name, tag in asset.tags.items():
            at = ("assets", asset_name, "tags", tag_name)
            for part in (_signal(tag, settings), _band(tag), _alarms(tag, settings)):
                yield from ((at + key, text) for key, text in part)
    yield from _shared(settings)
    yield from _suppressions(settings)
    for source_name, source in settings.sources.items():
        if isinstance(source, MqttSource):
            yield from _wire(("sources", source_name), source)
    for sink_name, sink in settings.sinks.items():
        if isinstance(sink, MqttSink):
            yield from _wire(("sinks", sink_name), sink)
            yield from _commands(("sinks", sink_name, "commands"), sink)
        elif urlsplit(sink.url).scheme == "http" and _has_login(sink) and not _is_here(urlsplit(sink.url).hostname):
            yield ("sinks", sink_name, "url"), "token or password go over the network unencrypted: use https"
    if not settings.sinks:
        yield ("sinks",), "no sinks: alarms and points stay in the journal (givre history, givre alarms list)"


def _signal(tag: Tag, settings: Settings) -> Iterator[tuple[Key, str]]:
    if settings.lateness_s >= tag.hold_s:
        held = f"hold_s {tag.hold_s:g} does not reach beyond lateness_s {settings.lateness_s:g}"
        yield ("hold_s",), f"{held}: when a step closes, its value is stale already"
    source = settings.sources[tag.source.name]
    if isinstance(source, OpcuaSource):
        for what, interval_s in (
            ("publishes", source.publishing_interval_s),
            ("looks at the node", source.sampling_interval_s),
        ):
            if interval_s > tag.period_s:
                yield (
                    ("period_s",),
                    f"the server {what} every {interval_s:g} s only: most steps of {tag.period_s:g} s repeat",
                )
    if tag.source.topic is not None and set(tag.source.topic) & set("+#"):
        yield ("source", "topic"), "several topics match: their values are mixed in one tag"


def _commands(at: Key, sink: MqttSink) -> Iterator[tuple[Key, str]]:
    certified = sink.tls is not None and sink.tls.certificate is not None
    if sink.commands is not None and sink.username is None and not certified:
        yield at, "the broker asks for no login: whoever reaches it may silence every alarm"


def _suppressions(settings: Settings) -> Iterator[tuple[Key, str]]:
    rules = {alarm.name: alarm.rule for alarm in alarms(settings)}
    for alarm in alarms(settings):
        for place, parent in enumerate([] if alarm.rule is None else alarm.rule.suppressed_by):
            explains = rules[parent]
            if alarm.rule is not None and explains is not None and alarm.rule.on_delay_s < explains.on_delay_s:
                delays = f"{explains.on_delay_s:g} s after its condition, this one after {alarm.rule.on_delay_s:g} s"
                text = f"{parent} is raised {delays}: it will be raised first and suppressed then"
                yield (*alarm.key, "suppressed_by", place), text


def _band(tag: Tag) -> Iterator[tuple[Key, str]]:
    band, physical = tag.tolerance, tag.physical
    if band is None:
        return
    middle = band.setpoint
    if (
        middle is not None
        and physical is not None
        and not (physical.low <= middle - band.tolerance and middle + band.tolerance <= physical.high)
    ):
        low, high = middle - band.tolerance, middle + band.tolerance
        reach = f"{physical.low:g} to {physical.high:g}"
        yield ("tolerance",), f"the band {low:g} to {high:g} reaches beyond the physical range {reach}"
    if tag.source.deadband >= band.tolerance:
        smallest = f"the server reports changes of {tag.source.deadband:g} and more"
        yield ("source", "deadband"), f"{smallest}, the tolerance is {band.tolerance:g}: the band can be left unseen"
    if not band.deadband and not band.off_delay_s:
        yield (
            ("tolerance",),
            "neither deadband nor off_delay_s: a value on the limit raises and clears with each report",
        )


def _alarms(tag: Tag, settings: Settings) -> Iterator[tuple[Key, str]]:
    """An alarm that is judged once in a while has no use for a shorter delay, and one that looks ahead none for a longer."""
    source = settings.sources[tag.source.name]
    every_s = source.publishing_interval_s if isinstance(source, OpcuaSource) else 0.0
    for name, rule, judged_s in (
        ("tolerance", tag.tolerance, every_s),
        ("deviation", tag.deviation, tag.period_s),
        ("breach", tag.breach, tag.period_s),
    ):
        if rule is not None and 0 < rule.on_delay_s < judged_s:
            delay = f"on_delay_s {rule.on_delay_s:g} is shorter than the {judged_s:g} s from one look to the next"
            yield (name, "on_delay_s"), f"{delay}: it asks for a second look in any case"
    ahead_s = tag.period_s * settings.panel.horizon
    if tag.breach is not None and tag.breach.on_delay_s >= ahead_s:
        yield (
            ("breach", "on_delay_s"),
            f"forecasts reach {ahead_s:g} s ahead: the band is left before the alarm is raised",
        )
    if tag.deviation is not None and tag.physical is not None:
        reach = tag.physical.high - tag.physical.low
        if tag.deviation.minimum >= reach:
            yield ("deviation", "minimum"), f"not below the physical range of {reach:g}: this alarm can never come"


def _shared(settings: Settings) -> Iterator[tuple[Key, str]]:
    used: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
    for asset_name, asset in settings.assets.items():
        for tag_name, tag in asset.tags.items():
            place = tag.source.node or f"{tag.source.topic} {tag.source.value or ''}".strip()
            used[tag.source.name, place].append(("assets", asset_name, "tags", tag_name, "source"))
    for (_, place), keys in used.items():
        names = ", ".join(f"{key[1]}/{key[3]}" for key in keys)
        if len(keys) > 1:
            yield keys[-1], f"{place} is followed by several tags: {names}"
    for name in settings.sources.keys() - {source for source, _ in used}:
        yield ("sources", name), "no tag follows it: it is not connected"


def _wire(key: Key, part: MqttSource | MqttSink) -> Iterator[tuple[Key, str]]:
    if part.tls is None and part.password is not None and not _is_here(part.host):
        yield (*key, "password"), "the password goes over the network unencrypted: give `tls`"
    if (part.tls is None) == (part.port == 8883) and part.port in {1883, 8883}:
        said = "8883 is the port of TLS, and there is no `tls`" if part.tls is None else "1883 is the port without TLS"
        yield (*key, "port"), said


def _has_login(sink: InfluxSink) -> bool:
    return sink.token is not None or sink.password is not None


def _is_here(host: str | None) -> bool:
    if host is None or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

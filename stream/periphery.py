"""What lies at the other ends of the wires? The sources, sinks and command topics of a configuration, none connected yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.schema import InfluxSink, OpcuaSource, resolve
from config.secret import reveal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from config.load import Loaded
    from config.schema import MqttSink, MqttSource, TagSource
    from config.schema import Tls as TlsSettings
    from stream.clock import Clock
    from stream.command_topic import CommandTopic
    from stream.mqtt.address import Tls
    from stream.sinks.sink import Sink
    from stream.sources.source import Source
    from stream.sources.stored import Stored

__all__ = ["build_command_topics", "build_sinks", "build_sources", "history_at"]


def build_sources(
    loaded: Loaded, clock: Clock, remembered: Callable[[str], Mapping[str, str]] = lambda _: {}
) -> list[Source]:
    """The sources that at least one tag follows; `remembered` gives what the journal knows under a prefix."""
    settings, tags = loaded.settings, loaded.settings.tags()
    sources: list[Source] = []
    for name, source in settings.sources.items():
        mine = {tag: body.source for tag, body in tags.items() if body.source.name == name}
        if not mine:
            continue
        if isinstance(source, OpcuaSource):
            sources.append(_opcua(name, source, mine, loaded, clock))
        else:
            sources.append(_mqtt(name, source, mine, loaded, clock, remembered=remembered))
    return sources


def build_sinks(loaded: Loaded, clock: Clock) -> list[Sink]:
    """The sinks, none of them connected yet."""
    return [
        _influxdb(name, sink, loaded) if isinstance(sink, InfluxSink) else _alerts(name, sink, loaded, clock)
        for name, sink in loaded.settings.sinks.items()
    ]


def build_command_topics(loaded: Loaded, clock: Clock) -> list[CommandTopic]:
    """Where commands come in, for each sink that says so; none of them connected yet."""
    from stream.command_topic import CommandTopic
    from stream.mqtt.address import Address

    found = []
    for name, sink in loaded.settings.sinks.items():
        if isinstance(sink, InfluxSink) or sink.commands is None:
            continue
        address = Address(
            host=sink.host,
            port=sink.port,
            protocol=sink.protocol,
            client_id=f"{sink.client_id}-commands",
            keepalive_s=sink.keepalive_s,
            tls=_tls(sink.tls, loaded),
            username=sink.username,
            password=reveal(sink.password, loaded, "sinks", name, "password"),
        )
        topic = _command_topic(sink, loaded)
        found.append(
            CommandTopic(name=name, address=address, topic=topic, max_age_s=sink.commands.max_age_s, clock=clock)
        )
    return found


def history_at(loaded: Loaded, path: Path, *, timezone: str = "UTC") -> Path | Stored:
    """A file as it is, or the history that `sink:NAME` or `sink:NAME@FROM/TO` names.

    Raises HistoryError for a sink that is not there or keeps no history, or a period that is none, and SecretError.
    """
    from stream.sources.history import HistoryError, read_span
    from stream.sources.stored import PREFIX, Stored

    text = str(path)
    if not text.startswith(PREFIX):
        return path
    name, at, span = text.removeprefix(PREFIX).partition("@")
    sink = loaded.settings.sinks.get(name)
    if not isinstance(sink, InfluxSink):
        known = ", ".join(key for key, one in loaded.settings.sinks.items() if isinstance(one, InfluxSink)) or "none"
        raise HistoryError(f"history {text[:80]!r}: expected an InfluxDB sink of the configuration ({known})")
    since, until = read_span(span, timezone, subject=f"history {PREFIX}{name}") if at else (None, None)
    return Stored(
        name=name,
        url=sink.url,
        database=sink.bucket,
        site=loaded.settings.site,
        tags=tuple(loaded.settings.tags()),
        token=reveal(sink.token, loaded, "sinks", name, "token"),
        username=sink.username,
        password=reveal(sink.password, loaded, "sinks", name, "password"),
        since=since,
        until=until,
    )


def _opcua(name: str, source: OpcuaSource, tags: dict[str, TagSource], loaded: Loaded, clock: Clock) -> Source:
    from stream.sources import opcua

    security = source.security
    return opcua.OpcuaSource(
        name=name,
        endpoint=source.endpoint,
        namespace=source.namespace,
        tags=[opcua.UaTag(tag=tag, node=s.node or "", deadband=s.deadband) for tag, s in tags.items()],
        publishing_interval_s=source.publishing_interval_s,
        sampling_interval_s=source.sampling_interval_s,
        queue_size=source.queue_size,
        silent_after_s=source.silent_after_s,
        trigger=source.trigger,
        security=None
        if security is None
        else opcua.UaSecurity(
            policy=security.policy,
            certificate=resolve(security.certificate, loaded.folder),
            private_key=resolve(security.private_key, loaded.folder),
            trust=resolve(security.trust, loaded.folder),
        ),
        username=source.username,
        password=reveal(source.password, loaded, "sources", name, "password"),
        clock=clock,
    )


def _mqtt(
    name: str,
    source: MqttSource,
    tags: dict[str, TagSource],
    loaded: Loaded,
    clock: Clock,
    *,
    remembered: Callable[[str], Mapping[str, str]],
) -> Source:
    from stream.sources import mqtt, receipt

    return mqtt.MqttSource(
        name=name,
        host=source.host,
        port=source.port,
        protocol=source.protocol,
        client_id=source.client_id,
        keepalive_s=source.keepalive_s,
        tls=_tls(source.tls, loaded),
        username=source.username,
        password=reveal(source.password, loaded, "sources", name, "password"),
        tags=[
            mqtt.MqttTag(tag=tag, topic=s.topic or "", value=s.value, time=s.time, quality=s.quality)
            for tag, s in tags.items()
        ],
        status_topic=f"givre/{loaded.settings.site}/status/source/{name}",
        clock=clock,
        receipts=remembered(receipt.prefix(name)),
    )


def _alerts(name: str, sink: MqttSink, loaded: Loaded, clock: Clock) -> Sink:
    from stream.sinks import mqtt

    return mqtt.MqttSink(
        name=name,
        site=loaded.settings.site,
        host=sink.host,
        port=sink.port,
        protocol=sink.protocol,
        client_id=sink.client_id,
        prefix=sink.prefix,
        keepalive_s=sink.keepalive_s,
        tls=_tls(sink.tls, loaded),
        username=sink.username,
        password=reveal(sink.password, loaded, "sinks", name, "password"),
        clock=clock,
        reply_topic=None if sink.commands is None else f"{_command_topic(sink, loaded)}/reply",
    )


def _command_topic(sink: MqttSink, loaded: Loaded) -> str:
    topic = None if sink.commands is None else sink.commands.topic
    return topic or f"{sink.prefix}/{loaded.settings.site}/command"


def _influxdb(name: str, sink: InfluxSink, loaded: Loaded) -> Sink:
    from stream.sinks import influxdb

    return influxdb.InfluxSink(
        name=name,
        site=loaded.settings.site,
        version=sink.version,
        url=sink.url,
        bucket=sink.bucket,
        org=sink.org,
        token=reveal(sink.token, loaded, "sinks", name, "token"),
        username=sink.username,
        password=reveal(sink.password, loaded, "sinks", name, "password"),
    )


def _tls(settings: TlsSettings | None, loaded: Loaded) -> Tls | None:
    from stream.mqtt.address import Tls

    if settings is None:
        return None

    def path(text: str | None) -> str | None:
        return None if text is None else str(resolve(text, loaded.folder))

    return Tls(ca=path(settings.ca), certificate=path(settings.certificate), private_key=path(settings.private_key))

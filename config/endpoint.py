"""What lies at the other end of a wire? Settings of OPC UA servers, MQTT brokers and InfluxDB, with their logins and TLS."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.form import Address, Duration, Endpoint, Host, KeepAlive, Name, Port, Prefix, Section, Span, Words, wrong
from config.rule import Lost

__all__ = ["Commands", "InfluxSink", "MqttSink", "MqttSource", "OpcuaSource", "Secret", "Tls", "UaSecurity"]


class Secret(Section):
    """Where a secret lies, in exactly one of three places; the secret itself never stands in the file."""

    env: Words | None = Field(default=None, description="name of an environment variable")
    credential: Words | None = Field(
        default=None,
        description="name of a systemd credential: a file in `$CREDENTIALS_DIRECTORY`, by hand in `credentials` beside this file",
    )
    file: Words | None = Field(default=None, description="path of a file that only its owner may read (mode 0600)")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(given is not None for given in (self.env, self.credential, self.file)) != 1:
            raise ValueError("expected exactly one of env, credential, file")
        return self


class Tls(Section):
    """TLS of an MQTT connection; leave the section out for none."""

    ca: Words | None = Field(
        default=None, description="PEM file of the certificate authority; the system's own if absent"
    )
    certificate: Words | None = Field(default=None, description="PEM file of our client certificate")
    private_key: Words | None = Field(default=None, description="PEM file of its private key")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            missing = "certificate" if self.certificate is None else "private_key"
            raise ValueError(f"expected certificate and private_key together, or neither: {missing} is missing")
        return self


class UaSecurity(Section):
    """Security of an OPC UA connection; always SignAndEncrypt."""

    policy: Literal["Basic256Sha256", "Aes256Sha256RsaPss"] = Field(
        default="Basic256Sha256", description="security policy; the server must offer it"
    )
    certificate: Words = Field(description="our application certificate (DER or PEM)")
    private_key: Words = Field(description="its private key (PEM)")
    trust: Words = Field(description="folder of the server certificates that are trusted (DER or PEM)")


class OpcuaSource(Section):
    """An OPC UA server."""

    type: Literal["opcua"] = Field(description="an OPC UA server")
    endpoint: Endpoint = Field(description="address of the server")
    namespace: Words = Field(description="URI of the namespace that nodes without one belong to")
    publishing_interval_s: Span = Field(default=0.5, description="how often the server sends what it has")
    sampling_interval_s: Duration = Field(
        default=0.5, description="how often the server looks at each node; 0: as often as it can"
    )
    queue_size: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="values that the server keeps for us per tag while the network is away"
    )
    trigger: Literal["value", "timestamp"] = Field(
        default="value",
        description="value: a new value or status is reported; timestamp: a new source time with the same value as well",
    )
    silent_after_s: Span = Field(default=60.0, description="no notification at all for so long: connect anew")
    security: UaSecurity | None = Field(default=None, description="absent: no encryption, no password allowed")
    username: Words | None = Field(default=None, description="login, only with `security`")
    password: Secret | None = Field(default=None, description="its password")
    lost: Lost = Field(default=Lost(), description="alarm `source/NAME/lost`: none of its tags reports any more")

    @model_validator(mode="after")
    def _no_clear_password(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("expected username and password together, or neither")
        if self.username is not None and self.security is None:
            message = "a password is never sent unencrypted: give `security`, or leave out username and password"
            raise wrong("password", message)
        return self


class _Mqtt(Section):
    type: Literal["mqtt"] = Field(description="an MQTT broker")
    host: Host = Field(description="host name or address of the broker")
    port: Port = Field(default=1883, description="usually 1883, with TLS 8883")
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="version of MQTT, in quotes")
    client_id: Name = Field(
        description="fixed, and used by no other client: under it the broker keeps what arrives while we are away"
    )
    keepalive_s: KeepAlive = Field(
        default=30, description="silence after which each side asks whether the other is there"
    )
    tls: Tls | None = Field(default=None, description="absent: no encryption")
    username: Words | None = Field(default=None, description="login, where the broker asks for one")
    password: Secret | None = Field(default=None, description="its password")

    @model_validator(mode="after")
    def _whose_password(self) -> Self:
        if self.password is not None and self.username is None:
            raise wrong("password", "expected a username with the password")
        return self


class MqttSource(_Mqtt):
    """An MQTT broker that publishes tags."""

    lost: Lost = Field(default=Lost(), description="alarm `source/NAME/lost`: none of its tags reports any more")


class InfluxSink(Section):
    """An InfluxDB server."""

    type: Literal["influxdb"] = Field(description="an InfluxDB server")
    version: Literal[1, 2] = Field(
        default=2, description="2: the v2 API (InfluxDB 2, 3 and 1.8+); 1: /write of older ones"
    )
    url: Address = Field(description="address of the server")
    bucket: Words = Field(description="bucket (v2), or database (v1)")
    org: str = Field(default="", description="v2 only: organisation")
    token: Secret | None = Field(default=None, description="v2 only: token that may write to the bucket")
    username: Words | None = Field(default=None, description="v1 only: login")
    password: Secret | None = Field(default=None, description="v1 only: its password")

    @model_validator(mode="after")
    def _login_of_its_version(self) -> Self:
        foreign = ("token", "org") if self.version == 1 else ("username", "password")
        for key in foreign:
            if getattr(self, key):
                other = 3 - self.version
                raise wrong(key, f"expected no `{key}` with version {self.version}: it belongs to version {other}")
        if (self.username is None) != (self.password is None):
            raise ValueError("expected username and password together, or neither")
        return self


class Commands(Section):
    """Operators' commands from the same broker; it says who may write to the topic (docs/alerts.md)."""

    topic: Prefix | None = Field(
        default=None,
        description="where they come in, replies go below it to `/reply`; absent: `<prefix>/<site>/command`",
    )
    max_age_s: Annotated[float, Field(ge=1, le=600)] = Field(
        default=60.0, description="an older command, by the clock of its sender, is refused"
    )


class MqttSink(_Mqtt):
    """An MQTT broker that takes alarm states, events and status."""

    prefix: Prefix = Field(default="givre", description="first levels of every topic that is published")
    commands: Commands | None = Field(
        default=None, description="absent: alarms are acknowledged and shelved by `givre alarms` alone"
    )

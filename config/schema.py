"""What may stand in a configuration file: pydantic models, strict, nothing unknown allowed.

`config/heat_exchanger.yaml` shows every key with its default. Durations end in ``_s`` and are plant seconds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = [
    "Asset",
    "Breach",
    "Deviation",
    "InfluxSink",
    "Journal",
    "Model",
    "MqttSink",
    "MqttSource",
    "OpcuaSource",
    "Physical",
    "Secret",
    "Settings",
    "Tag",
    "TagSource",
    "Tls",
    "Tolerance",
    "UaSecurity",
]

# Names become topic levels, labels, file names and log words; nothing in them may mean anything to any of those.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Duration = Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]
Priority = Literal["low", "medium", "high", "critical"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Secret(_Strict):
    """Where a secret lies; the secret itself never stands in the file."""

    env: str | None = Field(default=None, description="name of an environment variable")
    credential: str | None = Field(default=None, description="name of a systemd credential ($CREDENTIALS_DIRECTORY)")
    file: str | None = Field(default=None, description="path of a file that only its owner may read (mode 0600)")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(given is not None for given in (self.env, self.credential, self.file)) != 1:
            raise ValueError("expected exactly one of env, credential, file")
        return self


class Tls(_Strict):
    """TLS of an MQTT connection."""

    ca: str | None = Field(
        default=None, description="PEM file of the certificate authority; the system's own if absent"
    )
    certificate: str | None = Field(default=None, description="PEM file of our client certificate")
    private_key: str | None = Field(default=None, description="PEM file of its private key")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("expected certificate and private_key together, or neither")
        return self


class UaSecurity(_Strict):
    """Security of an OPC UA connection; always SignAndEncrypt."""

    policy: Literal["Basic256Sha256", "Aes256Sha256RsaPss"] = "Basic256Sha256"
    certificate: str = Field(description="our application certificate (DER or PEM)")
    private_key: str = Field(description="its private key (PEM)")
    trust: str = Field(description="folder of the server certificates that are trusted (DER or PEM)")


class OpcuaSource(_Strict):
    """An OPC UA server."""

    type: Literal["opcua"]
    endpoint: Annotated[str, Field(pattern=r"^opc\.tcp://[^\s/]+")]
    namespace: str = Field(description="URI of the namespace that node identifiers without one belong to")
    publishing_interval_s: Positive = 0.5
    sampling_interval_s: Duration = 0.5
    queue_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    trigger: Literal["value", "timestamp"] = Field(
        default="value",
        description="value: a new value or status is reported; timestamp: a new source time with the same value as well",
    )
    silent_after_s: Positive = Field(default=60.0, description="no notification at all for so long: connect anew")
    security: UaSecurity | None = Field(default=None, description="absent: no encryption, no password allowed")
    username: str | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _no_clear_password(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("expected username and password together, or neither")
        if self.username is not None and self.security is None:
            raise ValueError(
                "a password is never sent unencrypted: give `security`, or leave out username and password"
            )
        return self


class MqttSource(_Strict):
    """An MQTT broker that publishes tags."""

    type: Literal["mqtt"]
    host: str
    port: Port = 1883
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: Name = Field(description="fixed: the broker keeps our session under it")
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    tls: Tls | None = None
    username: str | None = None
    password: Secret | None = None


class TagSource(_Strict):
    """Where the values of a tag come from: a node of an OPC UA source, or a topic of an MQTT source."""

    name: Name = Field(description="one of `sources`")
    node: str | None = Field(
        default=None, description="OPC UA: `s=Boiler.T` in the source's namespace, or `nsu=URI;s=...`"
    )
    topic: str | None = Field(default=None, description="MQTT: topic; `+` matches one level")
    value: str | None = Field(
        default=None, description="MQTT: path of the value in a JSON payload, `$.value`; absent: plain number"
    )
    time: str | None = Field(
        default=None, description="MQTT: path of the source time (ISO 8601 with zone, or Unix seconds or ms)"
    )
    quality: str | None = Field(
        default=None, description="MQTT: path of the quality (good, uncertain, bad, or an OPC code)"
    )
    deadband: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="OPC UA: smallest change the server reports, in the tag's unit"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.node is None) == (self.topic is None):
            raise ValueError("expected exactly one of node (OPC UA) and topic (MQTT)")
        return self

    @field_validator("value", "time", "quality")
    @classmethod
    def _path(cls, path: str | None) -> str | None:
        if path is not None and not re.fullmatch(r"\$((\.[A-Za-z_][\w-]*)|(\[\d+\]))*", path):
            raise ValueError("expected a path such as $.value or $.data[0].v")
        return path


class Physical(_Strict):
    """What the sensor can show at all; a value outside is a broken signal, not a measurement."""

    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"expected low below high, found low {self.low} and high {self.high}")
        return self


class _Alarm(_Strict):
    on_delay_s: Duration = Field(default=0.0, description="how long the condition must hold before the alarm is raised")
    off_delay_s: Duration = Field(default=0.0, description="how long it must be over before the alarm is cleared")
    priority: Priority = "medium"


class Tolerance(_Alarm):
    """The band setpoint +/- tolerance, judged on every sample as it arrives."""

    setpoint: Finite
    tolerance: Positive
    deadband: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="how far back inside the band the value must come before the alarm may clear"
    )

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.deadband >= self.tolerance:
            raise ValueError(f"expected deadband below tolerance {self.tolerance}, found {self.deadband}")
        return self


class Deviation(_Alarm):
    """The measured value against the forecast band, judged on every closed step."""

    minimum: Positive = Field(
        description="a smaller distance from the median is never an alarm, however narrow the band"
    )


class Breach(_Alarm):
    """The band of `tolerance` is about to be left: judged on every forecast."""

    probability: Annotated[float, Field(gt=0, lt=1)] = 0.8


class Tag(_Strict):
    """One signal of an asset."""

    description: str = ""
    unit: str
    period_s: Positive = Field(description="step of the tag's regular grid, in which windows and forecasts count")
    hold_s: Positive = Field(description="a value holds this long without a new report; after that it is stale, a hole")
    source: TagSource
    physical: Physical | None = None
    tolerance: Tolerance | None = None
    deviation: Deviation | None = None
    breach: Breach | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hold_s < self.period_s:
            raise ValueError(f"expected hold_s of at least period_s {self.period_s}, found {self.hold_s}")
        if self.breach is not None and self.tolerance is None:
            raise ValueError("breach needs a `tolerance` on the same tag: it predicts when that band is left")
        return self


class Asset(_Strict):
    """A machine with tags."""

    description: str = ""
    tags: Annotated[dict[Name, Tag], Field(min_length=1)]


class Model(_Strict):
    """The language model and what it forecasts."""

    path: str = Field(default="default", description="default, a folder in Hugging Face layout, or a .gguf file")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="checksum of the weights file (model.safetensors or .gguf), checked before loading"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    context: Annotated[int, Field(ge=16, le=4096)] = Field(default=128, description="values of each tag that it reads")
    min_context: Annotated[int, Field(ge=2)] = Field(
        default=8, description="values a tag must have before its first forecast"
    )
    horizon: Annotated[int, Field(ge=1, le=512)] = Field(default=12, description="steps ahead")
    samples: Annotated[int, Field(ge=4, le=256)] = Field(default=16, description="futures drawn per forecast")
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    seed: int = 0


class Journal(_Strict):
    """The disk journal that everything passes on its way out."""

    max_size_mb: Annotated[int, Field(ge=8, le=1_000_000)] = 1024
    keep_days: Positive = Field(default=30.0, description="delivered records stay so long for `givre history`")


class InfluxSink(_Strict):
    """An InfluxDB server."""

    type: Literal["influxdb"]
    version: Literal[1, 2] = Field(
        default=2, description="2: the v2 API (InfluxDB 2, 3 and 1.8+); 1: /write of older ones"
    )
    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    bucket: str = Field(description="bucket (v2), or database (v1)")
    org: str = Field(default="", description="v2 only")
    token: Secret | None = Field(default=None, description="v2 only")
    username: str | None = Field(default=None, description="v1 only")
    password: Secret | None = Field(default=None, description="v1 only")


class MqttSink(_Strict):
    """An MQTT broker that takes alarm states, events and status."""

    type: Literal["mqtt"]
    host: str
    port: Port = 1883
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: Name
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")] = "givre"
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    tls: Tls | None = None
    username: str | None = None
    password: Secret | None = None


class Settings(_Strict):
    """A whole configuration file."""

    site: Name
    sources: dict[Name, Annotated[OpcuaSource | MqttSource, Field(discriminator="type")]]
    assets: Annotated[dict[Name, Asset], Field(min_length=1)]
    sinks: dict[Name, Annotated[InfluxSink | MqttSink, Field(discriminator="type")]] = {}
    model: Model | None = Field(default=None, description="absent: no language model, forecasts by persistence")
    journal: Journal = Journal()
    state_folder: str | None = Field(
        default=None, description="where the journal lies; absent: $STATE_DIRECTORY under systemd, else ./givre-state"
    )
    lateness_s: Duration = Field(
        default=2.0, description="a step of the grid closes so long after its end, for samples on their way"
    )

    @model_validator(mode="after")
    def _sources_exist(self) -> Self:
        for asset_name, asset in self.assets.items():
            for tag_name, tag in asset.tags.items():
                where = f"tag {asset_name}/{tag_name}"
                source = self.sources.get(tag.source.name)
                if source is None:
                    known = ", ".join(sorted(self.sources)) or "none"
                    raise ValueError(f"{where}: no source named {tag.source.name!r}; sources are: {known}")
                if source.type == "opcua" and tag.source.node is None:
                    raise ValueError(
                        f"{where}: source {tag.source.name!r} is an OPC UA server and needs `node`, not `topic`"
                    )
                if source.type == "mqtt" and tag.source.topic is None:
                    raise ValueError(
                        f"{where}: source {tag.source.name!r} is an MQTT broker and needs `topic`, not `node`"
                    )
        return self

    def tags(self) -> dict[str, Tag]:
        """Every tag under its full name, ``asset/tag``."""
        return {f"{asset}/{tag}": body for asset, a in self.assets.items() for tag, body in a.tags.items()}


def resolve(path: str, folder: Path) -> Path:
    """A path of the configuration, taken from the folder of the configuration file if it is relative."""
    return (folder / path).resolve()

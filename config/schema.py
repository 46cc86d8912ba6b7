"""What may stand in a configuration file: pydantic models, strict, nothing unknown allowed.

`config/heat_exchanger.yaml` shows every key with its default, `docs/configure.md` every key with its limits. Durations end in
``_s`` and are plant seconds. What two sections must agree on is in `config/contradiction.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from config.endpoint import InfluxSink, MqttSink, MqttSource, OpcuaSource, Secret, Tls, UaSecurity
from config.form import (
    Amount,
    Duration,
    JsonPath,
    Name,
    Node,
    Section,
    Sha256,
    Span,
    Topic,
    Unit,
    Words,
    wrong,
)
from config.rule import (
    Alarm,
    Balance,
    Baseline,
    Breach,
    Deviation,
    Drift,
    Frozen,
    Level,
    Limits,
    Lost,
    Novelty,
    Physical,
    Pump,
    Rarity,
    Rate,
    Surprise,
    Tolerance,
)

__all__ = [
    "Asset",
    "Balance",
    "Baseline",
    "Breach",
    "Deviation",
    "Drift",
    "Frozen",
    "Http",
    "InfluxSink",
    "Journal",
    "Level",
    "Limits",
    "Lost",
    "Model",
    "MqttSink",
    "MqttSource",
    "Novelty",
    "OpcuaSource",
    "Panel",
    "Physical",
    "Pump",
    "Rarity",
    "Rate",
    "Secret",
    "Settings",
    "Tag",
    "TagSource",
    "Tls",
    "Tolerance",
    "UaSecurity",
    "resolve",
]

Member = Literal[
    "persistence", "seasonal", "smoothing", "harmonic", "autoregression", "boosted", "arima", "recurrent", "graph"
]
"""A forecaster that may sit on the panel, by the name that `givre evaluate` knows it by."""


class TagSource(Section):
    """Where the values of a tag come from: a node of an OPC UA source, or a topic of an MQTT source."""

    name: Name = Field(description="one of `sources`")
    node: Node | None = Field(
        default=None, description="OPC UA: `s=Boiler.T` in the source's namespace, or `nsu=URI;s=...`"
    )
    topic: Topic | None = Field(default=None, description="MQTT: topic; `+` matches one level, a last `#` all below")
    value: JsonPath | None = Field(
        default=None, description="MQTT: path of the value in a JSON payload, `$.value`; absent: plain number"
    )
    time: JsonPath | None = Field(
        default=None,
        description="MQTT: path of the source time (ISO 8601 with zone, or Unix seconds or ms); absent: arrival",
    )
    quality: JsonPath | None = Field(
        default=None,
        description="MQTT: path of the quality (good, uncertain, bad, or an OPC code); absent: always good",
    )
    deadband: Amount = Field(
        default=0.0, description="OPC UA: smallest change that the server reports, in the tag's unit"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.node is None) == (self.topic is None):
            raise ValueError("expected exactly one of node (OPC UA) and topic (MQTT)")
        if self.node is not None:
            for key in ("value", "time", "quality"):
                if getattr(self, key) is not None:
                    raise wrong(key, f"expected no `{key}`: it reads an MQTT payload, and this tag is an OPC UA node")
        elif self.deadband:
            raise wrong(
                "deadband", "expected no `deadband`: an OPC UA server applies it, and this tag is an MQTT topic"
            )
        return self


class Tag(Section):
    """One signal of an asset; of a tag without any of the rules below `physical` only the health is judged."""

    description: str = Field(default="", description="what it is, for people")
    unit: Unit = Field(description="its unit, as operators write it")
    period_s: Span = Field(description="step of the tag's regular grid, in which windows and forecasts count")
    hold_s: Span = Field(description="a value holds this long without a new report; after that it is stale, a hole")
    source: TagSource = Field(description="where its values come from")
    physical: Physical | None = Field(default=None, description="what its sensor can show; absent: any number")
    tolerance: Tolerance | None = Field(default=None, description="the band that it must keep")
    limits: Limits | None = Field(default=None, description="levels that it must not pass")
    rate: Rate | None = Field(default=None, description="how fast it may change")
    frozen: Frozen | None = Field(default=None, description="an alarm where it shows one value for too long")
    deviation: Deviation | None = Field(default=None, description="an alarm where it is not what was forecast")
    surprise: Surprise | None = Field(
        default=None, description="an alarm where the forecasts no longer fit, however slightly"
    )
    novelty: Novelty | None = Field(default=None, description="an alarm where its last steps have no like in its past")
    drift: Drift | None = Field(default=None, description="an alarm where its mean has changed")
    rarity: Rarity | None = Field(default=None, description="an alarm where its value and change are rare")
    breach: Breach | None = Field(default=None, description="an alarm before it leaves the band of `tolerance`")

    @property
    def followed(self) -> dict[str, Alarm]:
        """Those rules that learn step by step, by name."""
        found = {"novelty": self.novelty, "drift": self.drift, "rarity": self.rarity}
        return {name: rule for name, rule in found.items() if rule is not None}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hold_s < self.period_s:
            raise wrong("hold_s", f"expected hold_s of at least period_s {self.period_s:g}, found {self.hold_s:g}")
        if self.breach is not None and self.tolerance is None:
            raise wrong("breach", "breach needs a `tolerance` on the same tag: it predicts when that band is left")
        if self.rate is not None and self.rate.over_s < self.period_s:
            raise wrong("rate", f"expected over_s of at least period_s {self.period_s:g}, found {self.rate.over_s:g}")
        return self


class Asset(Section):
    """A machine with tags."""

    description: str = Field(default="", description="what it is, for people")
    tags: Annotated[dict[Name, Tag], Field(min_length=1)] = Field(description="its tags, each under its name")
    baseline: Baseline | None = Field(
        default=None, description="what is usual for its tags, learnt, and alarms where they leave it"
    )
    balance: Balance | None = Field(default=None, description="the power against the heat that the water carries")
    pumps: dict[Name, Pump] = Field(
        default={}, description="commands of pumps against the flow that they make, each under its name"
    )


class Panel(Section):
    """The forecasters that run side by side on every tag; each has a say as far as it has foretold."""

    members: Annotated[list[Member], Field(min_length=1)] = Field(
        default=["persistence", "seasonal", "smoothing", "harmonic", "autoregression"],
        description="who takes part; the language model does where there is a section `model`",
    )
    horizon: Annotated[int, Field(ge=1, le=512)] = Field(default=12, description="steps ahead")

    @field_validator("members")
    @classmethod
    def _once(cls, members: list[Member]) -> list[Member]:
        twice = sorted({member for member in members if members.count(member) > 1})
        if twice:
            raise ValueError(f"expected each forecaster once, found {twice[0]} twice")
        return members


class Model(Section):
    """The language model, a member of the panel."""

    path: Words = Field(default="default", description="default, a folder in Hugging Face layout, or a .gguf file")
    sha256: Sha256 | None = Field(
        default=None, description="checksum of the weights file (model.safetensors or .gguf), checked before loading"
    )
    adapter: Words | None = Field(
        default=None, description="a folder with a LoRA adapter of this model (peft layout), merged into it"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: cuda if there is one, else cpu")
    context: Annotated[int, Field(ge=16, le=4096)] = Field(default=128, description="values of each tag that it reads")
    min_context: Annotated[int, Field(ge=2)] = Field(
        default=12, description="values that a tag must have before its first forecast"
    )
    samples: Annotated[int, Field(ge=4, le=256)] = Field(default=16, description="futures drawn per forecast")
    temperature: Annotated[float, Field(gt=0, le=2)] = Field(
        default=1.0, description="below 1: narrower bands, above 1: wider ones"
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(default=0, description="of the random futures")
    explain: bool = Field(
        default=False,
        description="it also tells each new alert at more length, when it has nothing else to do; figures are checked, words not",
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.min_context > self.context:
            raise wrong("min_context", f"expected at most context {self.context}, found {self.min_context}")
        return self


class Journal(Section):
    """The disk journal that everything passes on its way out."""

    max_size_mb: Annotated[int, Field(ge=8, le=1_000_000)] = Field(
        default=1024, description="the oldest points go first when it is full"
    )
    keep_days: Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)] = Field(
        default=30.0, description="delivered records stay so long for `givre history`"
    )


class Http(Section):
    """Metrics for Prometheus and the health, for programs on the same machine alone."""

    host: Literal["127.0.0.1", "::1"] = Field(default="127.0.0.1", description="loopback; a proxy serves others")
    port: Annotated[int, Field(ge=1, le=65_535)] = Field(default=9464, description="`/metrics` and `/health` are there")


class Settings(Section):
    """A whole configuration file."""

    site: Name = Field(description="name of the plant: a level of every topic, and a label in the database")
    sources: dict[Name, Annotated[OpcuaSource | MqttSource, Field(discriminator="type")]] = Field(
        description="where values come from, each under its name"
    )
    assets: Annotated[dict[Name, Asset], Field(min_length=1)] = Field(description="machines, each under its name")
    sinks: dict[Name, Annotated[InfluxSink | MqttSink, Field(discriminator="type")]] = Field(
        default={}, description="where alarms and points go, each under its name; absent: they stay in the journal"
    )
    panel: Panel = Field(default=Panel(), description="who forecasts, and how far ahead")
    model: Model | None = Field(default=None, description="absent: no language model on the panel")
    journal: Journal = Field(default=Journal(), description="the journal on disk")
    http: Http | None = Field(default=None, description="absent: nothing listens")
    state_folder: Words | None = Field(
        default=None, description="where the journal lies; absent: $STATE_DIRECTORY under systemd, else ./givre-state"
    )
    language: Literal["en", "fr"] = Field(
        default="en", description="of the sentences in alerts: English, or French as it is set in France"
    )
    lateness_s: Duration = Field(
        default=2.0, description="a step of the grid closes so long after its end, for samples on their way"
    )

    def tags(self) -> dict[str, Tag]:
        """Every tag under its full name, ``asset/tag``."""
        return {f"{asset}/{tag}": body for asset, a in self.assets.items() for tag, body in a.tags.items()}


def resolve(path: str, folder: Path) -> Path:
    """A path of the configuration, taken from the folder of the configuration file if it is relative."""
    return (folder / path).resolve()

"""Will this configuration work? Everything that can be told without starting the service, and without torch.

A *problem* means that the service would not do what the file says; a *warning* that it would, and that it is probably not what
was meant. With `connect` every endpoint is tried as well, and each tag that cannot be had is named.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.text import Text

from config.errors import ConfigError
from config.load import load
from config.schema import OpcuaSource, Settings, resolve
from config.secret import reveal
from detectors.language.error import ModelError
from detectors.language.plan import plan_memory, read_shape
from stream.weights import cached_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rich.console import Console

    from config.load import Loaded
    from config.schema import Tag
    from stream.sinks.sink import Sink
    from stream.sources.source import Source

__all__ = ["Report", "check"]

PROBE_LIMIT_S = 20.0


@dataclass(kw_only=True)
class Report:
    """What was found; `notes` say what will be done."""

    path: str
    connected: bool
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings do not count."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {"ok": self.ok, "file": self.path, "connected": self.connected} | {
            "problems": self.problems,
            "warnings": self.warnings,
            "notes": self.notes,
        }

    def print(self, console: Console) -> None:
        """For a person: a line each, problems last, where the eye is."""
        for word, style, lines in (
            ("note", "dim", self.notes),
            ("warning", "yellow", self.warnings),
            ("problem", "bold red", self.problems),
        ):
            for line in lines:
                console.print(Text.assemble((f"{word:>8}  ", style), line), soft_wrap=True)
        verdict = Text("ok", style="bold green") if self.ok else Text(f"{len(self.problems)} to mend", style="bold red")
        console.print(Text.assemble(f"{self.path}: ", verdict), soft_wrap=True)


def check(path: Path, *, connect: bool) -> Report:
    """Checks a configuration file; nothing is started, and nothing is written."""
    report = Report(path=str(path), connected=connect)
    try:
        loaded = load(path)
    except ConfigError as error:
        report.problems += [str(problem) for problem in error.problems]
        return report
    tags = loaded.settings.tags()
    report.notes.append(
        f"site {loaded.settings.site}: {len(tags)} tags of {len(loaded.settings.assets)} assets, "
        f"{len(loaded.settings.sources)} sources, {len(loaded.settings.sinks)} sinks"
    )
    report.problems += _secrets(loaded)
    report.problems += _files(loaded)
    report.problems += _state(loaded)
    report.warnings += _sense(loaded.settings)
    _model(loaded, report)
    if connect and report.ok:
        report.problems += asyncio.run(_connect(loaded))
    return report


def _secrets(loaded: Loaded) -> Iterator[str]:
    parts: list[tuple[str, Mapping[str, object]]] = [
        ("sources", loaded.settings.sources),
        ("sinks", loaded.settings.sinks),
    ]
    for section, named in parts:
        for name, part in named.items():
            for key in ("password", "token"):
                try:
                    reveal(getattr(part, key, None), loaded, section, name, key)
                except ConfigError as error:
                    yield str(error)


def _files(loaded: Loaded) -> Iterator[str]:
    """Certificates and keys that are named must be there."""
    named: list[tuple[str, str | None]] = []
    for section, group in (("sources", loaded.settings.sources), ("sinks", loaded.settings.sinks)):
        for name, part in group.items():
            security = getattr(part, "security", None)
            tls = getattr(part, "tls", None)
            for holder, keys in (
                (security, ("certificate", "private_key", "trust")),
                (tls, ("ca", "certificate", "private_key")),
            ):
                where = f"{section}.{name}.{'security' if holder is security else 'tls'}"
                named += [(f"{where}.{key}", getattr(holder, key)) for key in keys if holder is not None]
    for key, text in named:
        if text is None:
            continue
        path = resolve(text, loaded.folder)
        line = loaded.line(*key.split("."))
        if not path.exists():
            kind = "folder" if key.endswith("trust") else "file"
            yield f"{loaded.path}:{line}: {key}: expected a {kind} at {path}, found nothing"
        elif key.endswith("trust") and not any(path.iterdir()):
            expected = f"expected trusted certificates in {path}"
            yield f"{loaded.path}:{line}: {key}: {expected}, found none: every server would be refused"


def _state(loaded: Loaded) -> Iterator[str]:
    from stream.assemble import state_folder

    folder = state_folder(loaded)
    at = next(p for p in (folder, *folder.parents) if p.exists())
    if not at.is_dir() or not os.access(at, os.W_OK | os.X_OK):
        yield f"state folder {folder}: expected one that can be written, found {at} that cannot"


def _sense(settings: Settings) -> Iterator[str]:
    """What is legal and still hardly meant."""
    used: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name, tag in settings.tags().items():
        place = tag.source.node or f"{tag.source.topic} {tag.source.value or ''}".strip()
        used[tag.source.name, place].append(name)
        yield from (f"tag {name}: {warning}" for warning in _sense_of(tag, settings))
    for (source_name, place), names in used.items():
        if len(names) > 1:
            yield f"source {source_name}: {place} is followed by several tags: {', '.join(names)}"
    for name in sorted(set(settings.sources) - {tag.source.name for tag in settings.tags().values()}):
        yield f"source {name}: no tag follows it, it is not connected"
    if not settings.sinks:
        yield "no sinks: alarms and points stay in the journal (givre history, givre alarms list)"


def _sense_of(tag: Tag, settings: Settings) -> Iterator[str]:
    band, physical, deadband = tag.tolerance, tag.physical, tag.source.deadband
    if band is not None and physical is not None:
        low, high = band.setpoint - band.tolerance, band.setpoint + band.tolerance
        if low < physical.low or high > physical.high:
            reach = f"{physical.low:g} to {physical.high:g}"
            yield f"the band {low:g} to {high:g} reaches beyond the physical range {reach}"
    if band is not None and deadband >= band.tolerance:
        smallest = f"the server reports changes of {deadband:g} and more"
        yield f"{smallest}, the tolerance is {band.tolerance:g}: the band can be left without a report"
    if settings.lateness_s >= tag.hold_s:
        held = f"hold_s {tag.hold_s:g}"
        yield f"lateness_s {settings.lateness_s:g} is not below {held}: when a step closes, its value is stale"
    source = settings.sources[tag.source.name]
    if isinstance(source, OpcuaSource) and source.publishing_interval_s > tag.period_s:
        published = f"the server publishes every {source.publishing_interval_s:g} s"
        yield f"{published}, the steps are {tag.period_s:g} s: values come late"


def _model(loaded: Loaded, report: Report) -> None:
    model = loaded.settings.model
    if model is None:
        report.notes.append("no language model: forecasts by persistence")
        return
    folder = cached_model() if model.path == "default" else resolve(model.path, loaded.folder)
    if folder is None:
        report.notes.append("model: the default one is fetched at the first start (93 MB), or by `givre model fetch`")
        return
    where = f"{loaded.path}:{loaded.line('model', 'path')}: model.path"
    if folder.is_file():
        with folder.open("rb") as file:
            if file.read(4) != b"GGUF":
                report.problems.append(
                    f"{where}: expected a folder in Hugging Face layout or a GGUF file, found {folder}, which is neither"
                )
            else:
                report.notes.append(f"model: {folder} is converted at the first start")
        return
    if not folder.is_dir():
        report.problems.append(f"{where}: expected a folder or a .gguf file at {folder}, found nothing")
        return
    try:
        shape = read_shape(folder)
        plan = plan_memory(
            shape,
            tags=len(loaded.settings.tags()),
            context=model.context,
            samples=model.samples,
            horizon=model.horizon,
            number_bytes=4,
        )
    except ModelError as error:
        report.problems.append(f"{where}: {error}")
        return
    report.notes.append(f"model: {folder.name}, memory at most (in float32) {plan}")


async def _connect(loaded: Loaded) -> list[str]:
    from stream.assemble import build_sinks, build_sources
    from stream.clock import SystemClock

    clock = SystemClock()
    sinks = build_sinks(loaded, clock)
    parts: list[tuple[str, Source | Sink]] = [("source", source) for source in build_sources(loaded, clock)]
    parts += [("sink", sink) for sink in sinks]
    answers = await asyncio.gather(*(_probe(part) for _, part in parts))
    for sink in sinks:
        await sink.close()
    return [
        f"{kind} {part.name}: {line}" for (kind, part), answer in zip(parts, answers, strict=True) for line in answer
    ]


async def _probe(part: Source | Sink) -> list[str]:
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            return await part.probe()
    except TimeoutError:
        return [f"no answer within {PROBE_LIMIT_S:g} s"]

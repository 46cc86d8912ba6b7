"""Will this configuration work? Everything that can be told without starting the service, and without torch.

A *problem* means that the service would not do what the file says; a *warning* that it would, and that it is probably not what
was meant; a *note* says what will be done. With `connect` every endpoint is tried as well, each tag that cannot be had is
named, and the checksum of the model is computed. Exit codes of `givre check`: 0 no problem, whatever the warnings; 1 at least
one; 2 the command line itself is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from config.doubt import doubts
from config.errors import ConfigError
from config.load import load
from config.schema import InfluxSink, OpcuaSource, resolve
from config.secret import reveal
from detectors.language.adapter import CARD, examine_adapter
from detectors.language.error import ModelError
from stream.extra import lacking
from stream.model.folder import check_sha256, examine_folder, examine_gguf, plan_of, sha256_of
from stream.model.weights import cached_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from config.load import Loaded
    from config.schema import Model
    from stream.command_topic import CommandTopic
    from stream.sinks.sink import Sink
    from stream.sources.source import Source

__all__ = ["Report", "check", "named_files"]

PROBE_LIMIT_S = 20.0
CLOSE_LIMIT_S = 5.0
MIB = 2**20


@dataclass(kw_only=True)
class Report:
    """What was found."""

    path: str
    connected: bool
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings do not count."""
        return not self.problems

    @property
    def exit_code(self) -> int:
        """0 if nothing is wrong, else 1."""
        return 0 if self.ok else 1

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
        counted = [
            f"{len(lines)} {word}{'s' * (len(lines) > 1)}"
            for word, lines in (("problem", self.problems), ("warning", self.warnings))
            if lines
        ]
        verdict = ", ".join(counted if self.problems else ["ok", *counted])
        style = "bold green" if self.ok else "bold red"
        console.print(Text.assemble(f"{self.path}: ", (verdict, style)), soft_wrap=True)


def check(path: Path, *, connect: bool, history: Path | None = None, timezone: str = "UTC") -> Report:
    """Checks a configuration file, and its tolerances against a file of history; nothing is started, nothing is written."""
    report = Report(path=str(path), connected=False)
    try:
        loaded = load(path)
    except ConfigError as error:
        report.problems += map(str, error.problems)
        return report
    settings = loaded.settings
    counts = (
        (settings.tags(), "tag"),
        (settings.assets, "asset"),
        (settings.sources, "source"),
        (settings.sinks, "sink"),
    )
    counted = ", ".join(f"{len(things)} {word}{'s' * (len(things) != 1)}" for things, word in counts)
    report.notes.append(f"site {settings.site}: {counted}")
    report.problems += _secrets(loaded)
    _files(loaded, report)
    can_connect = report.ok
    _state(loaded, report)
    report.warnings += (str(loaded.problem(*key, expected=text)) for key, text in doubts(settings))
    _panel(loaded, report)
    _detectors(loaded, report)
    if settings.model is not None:
        _model(settings.model, loaded, report, compute=connect)
    if history is not None:
        _tolerances(loaded, history, timezone, report)
    if connect and can_connect:
        report.connected = True
        report.problems += asyncio.run(_connect(loaded))
    elif connect:
        report.notes.append("no endpoint was tried: secrets and certificates come first")
    return report


def _secrets(loaded: Loaded) -> Iterator[str]:
    for section, parts in (("sources", loaded.settings.sources), ("sinks", loaded.settings.sinks)):
        for name, part in parts.items():
            for key in ("password", "token"):
                try:
                    reveal(getattr(part, key, None), loaded, section, name, key)
                except ConfigError as error:
                    yield str(error)


def _files(loaded: Loaded, report: Report) -> None:
    """Certificates and keys that are named must be there, and keys for their owner alone."""
    for key, text in named_files(loaded):
        path, folder = resolve(text, loaded.folder), key[-1] == "trust"
        kind, found = "folder" if folder else "file", ""
        try:
            status = path.stat()
            if folder and not any(path.iterdir()):
                # No reason not to start: the other sources are followed, and the server's certificate may be trusted any day.
                expected = f"expected a folder of certificates at {path}"
                hint = "Trust it: givre trust CONFIG"
                said = loaded.problem(*key, expected=expected, found="none in it: every server is refused", hint=hint)
                report.warnings.append(str(said))
            elif not folder and not stat.S_ISREG(status.st_mode):
                found = "no file"
            elif not folder:
                path.open("rb").close()
        except OSError as error:
            found = error.strerror or str(error)
        if found:
            expected = f"expected a {kind} of certificates at {path}" if folder else f"expected a {kind} at {path}"
            report.problems.append(str(loaded.problem(*key, expected=expected, found=found)))
        elif key[-1] == "private_key" and stat.S_IMODE(status.st_mode) & 0o077:
            expected = f"expected {path} to be readable by its owner alone"
            said = loaded.problem(*key, expected=expected, found=f"mode {stat.S_IMODE(status.st_mode):04o}")
            report.warnings.append(str(said))


def named_files(loaded: Loaded) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every file and folder of a certificate that the configuration names, under its key."""
    for section, parts in (("sources", loaded.settings.sources), ("sinks", loaded.settings.sinks)):
        for name, part in parts.items():
            if isinstance(part, InfluxSink):
                continue
            inner = "security" if isinstance(part, OpcuaSource) else "tls"
            holder = getattr(part, inner)
            for key in ("ca", "certificate", "private_key", "trust"):
                if (text := getattr(holder, key, None)) is not None:
                    yield (section, name, inner, key), text


def _state(loaded: Loaded, report: Report) -> None:
    from stream.assemble import state_folder
    from stream.journal.refuge import unwritable

    folder = state_folder(loaded)
    at = next(p for p in (folder, *folder.parents) if os.path.lexists(p))
    if at.is_dir() and (why := unwritable(at)):
        report.warnings.append(
            f"state folder {folder}: the disk takes nothing ({why}); until it is repaired the service keeps its journal in memory"
        )
        return
    if not at.is_dir() or not os.access(at, os.W_OK | os.X_OK):
        found = f"{at}, which cannot be written" if at.is_dir() else f"{at}, which is no folder"
        report.problems.append(f"state folder {folder}: expected one that can be written, found {found}")
        return
    free_mib, wanted_mib = shutil.disk_usage(at).free // MIB, loaded.settings.journal.max_size_mb
    if free_mib < wanted_mib:
        report.warnings.append(
            f"state folder {folder}: the journal may grow to {wanted_mib} MiB, and {free_mib} MiB are free: "
            "give it room, or set journal.max_size_mb lower"
        )


def _tolerances(loaded: Loaded, history: Path, timezone: str, report: Report) -> None:
    from config.errors import SecretError
    from stream.periphery import history_at
    from stream.sources.history import HistoryError
    from stream.tolerance_check import Asked, check_tolerances

    asked = {
        name: Asked(tag.tolerance.tolerance, tag.unit, tag.period_s, tag.hold_s)
        for name, tag in loaded.settings.tags().items()
        if tag.tolerance is not None
    }
    if not asked:
        report.warnings.append(f"{history}: no tag has a tolerance that it could be compared with")
        return
    try:
        kept = history_at(loaded, history, timezone=timezone)
        warnings, notes = check_tolerances(kept, asked, timezone=timezone)
    except (HistoryError, SecretError) as error:
        report.problems.append(str(error))
        return
    report.warnings += warnings
    report.notes += notes


def _panel(loaded: Loaded, report: Report) -> None:
    panel, model = loaded.settings.panel, loaded.settings.model
    for i, name in enumerate(panel.members):
        if extra := lacking(name):
            expected = f"expected a forecaster that is installed (pip install 'givre[{extra}]')"
            report.problems.append(str(loaded.problem("panel", "members", i, expected=expected, found=name)))
    others = "the language model" if model is not None else "no language model"
    report.notes.append(f"forecasts of {panel.horizon} steps: {', '.join(panel.members)}; {others}")


def _detectors(loaded: Loaded, report: Report) -> None:
    """Rules that need a package which is not installed."""
    for name, asset in loaded.settings.assets.items():
        asked: list[tuple[str, ...]] = [("baseline", rule) for rule in (asset.baseline.rules if asset.baseline else ())]
        asked += [("tags", tag, rule) for tag, body in asset.tags.items() for rule in body.followed]
        for keys in asked:
            if extra := lacking(keys[-1]):
                expected = f"expected a rule that is installed (pip install 'givre[{extra}]')"
                report.problems.append(str(loaded.problem("assets", name, *keys, expected=expected, found=keys[-1])))


def _model(model: Model, loaded: Loaded, report: Report, *, compute: bool) -> None:
    path = cached_model() if model.path == "default" else resolve(model.path, loaded.folder)
    if find_spec("torch") is None:
        report.warnings.append(
            "model: torch is not installed, forecasts would come from persistence: pip install 'givre[model]'"
        )
    if model.device == "cuda" and not any(Path("/dev").glob("nvidia[0-9]*")):
        report.warnings.append(
            str(loaded.problem("model", "device", expected="expected a GPU", found="no NVIDIA device"))
        )
    if path is None:
        report.notes.append("model: the default one is fetched at the first start (93 MB), or by `givre model fetch`")
        return
    key = "path"
    try:
        if path.is_file():
            examine_gguf(path)
            report.notes.append(f"model: {path.name}, a GGUF file")
        else:
            examine_folder(path)
        if model.sha256 is not None and compute:
            key = "sha256"
            check_sha256(path, model.sha256)
        elif model.sha256 is not None:
            report.notes.append("model: its checksum is computed with --connect, and at every start")
        if path.is_dir():
            key = "context"
            _plan(path, model, loaded, report)
        if model.adapter is not None:
            key = "adapter"
            _adapter(resolve(model.adapter, loaded.folder), path, report, compute=compute)
    except ModelError as error:
        report.problems.append(str(loaded.problem("model", key, expected=str(error))))


def _plan(path: Path, model: Model, loaded: Loaded, report: Report) -> None:
    """What memory it takes; raises ModelError for what this machine cannot have at all."""
    plan = partial(
        plan_of,
        path,
        tags=len(loaded.settings.tags()),
        context=model.context,
        samples=model.samples,
        horizon=loaded.settings.panel.horizon,
    )
    most = plan()
    report.notes.append(f"model: {path.name}, memory at most (in float32) {most}")
    if model.device == "cpu":
        # In bfloat16, where the processor has it, it is half of that.
        plan(number_bytes=2).require(_memory("MemTotal"), where="this machine")
        if most.total > (free := _memory("MemAvailable")):
            report.warnings.append(f"model: {free // MIB} MiB of memory are free now, which may not be enough")


def _adapter(adapter: Path, model: Path, report: Report, *, compute: bool) -> None:
    if (adapter / CARD).is_file() and not compute:
        report.notes.append("model: its adapter is proven by checksum with --connect, and at every start")
        return
    weights = model / "model.safetensors"
    examine_adapter(adapter, base=model.name, sha256=lambda: sha256_of(weights))
    report.notes.append(f"model: adapter {adapter.name} belongs to it")


def _memory(field: str) -> int:
    """Bytes of memory: MemTotal, or MemAvailable, what can be had without swapping, as the kernel reckons."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


async def _connect(loaded: Loaded) -> list[str]:
    from stream.clock import SystemClock
    from stream.periphery import build_command_topics, build_sinks, build_sources

    # What a library logs while it tries is not for this page: each problem is said once, in the words of the probe.
    logging.disable(logging.CRITICAL)
    clock = SystemClock()
    try:
        sources, sinks = build_sources(loaded, clock), build_sinks(loaded, clock)
        parts: list[tuple[str, Source | Sink | CommandTopic]] = [
            *(("source", source) for source in sources),
            *(("sink", sink) for sink in sinks),
            *(("commands of sink", topic) for topic in build_command_topics(loaded, clock)),
        ]
        answers = await asyncio.gather(*(_probe(part) for _, part in parts))
        await asyncio.gather(*map(_close, sinks))
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    finally:
        logging.disable(logging.NOTSET)
    return [
        f"{kind} {part.name}: {line}" for (kind, part), answer in zip(parts, answers, strict=True) for line in answer
    ]


async def _probe(part: Source | Sink | CommandTopic) -> list[str]:
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            return await part.probe()
    except TimeoutError:
        return [f"no answer within {PROBE_LIMIT_S:g} s"]
    except Exception as error:  # noqa: BLE001 - one endpoint that breaks its library must not hide the others
        return [f"{type(error).__name__}: {error}"]


async def _close(sink: Sink) -> None:
    try:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await sink.close()
    except TimeoutError:
        return

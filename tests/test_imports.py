"""The arrows between the packages, and a few other walls, kept by reading the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("config", "detectors", "stream", "plant")
# The command line may speak of settings, and what builds a service from them; everything else is told what it needs.
SETTINGS_IN_STREAM = {"assemble", "check", "cli", "learners", "periphery", "running", "watches"}
TORCH = {"torch", "transformers", "safetensors", "gguf", "accelerate", "peft"}
# The model lane's process alone imports these.
NETWORKS = (
    "detectors.language.",
    "detectors.training.",
    "detectors.forecasters.network.",
    "detectors.forecasters.recurrent.",
    "detectors.forecasters.graph.",
    "detectors.forecasters.graph_network.",
    "detectors.forecasters.trained.",
)
WAITING = {"asyncio", "socket", "threading", "subprocess", "sqlite3", "multiprocessing", "selectors"}
MODULES = sorted(p for package in OURS for p in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str) -> set[str]:
    """Every module that a source imports, wherever in it; for types alone counts as well."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if called in {"import_module", "__import__"}:
                found.add(str(node.args[0].value))
    return found


def is_relative(source: str) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(ast.parse(source)))


def faults(module: str, source: str) -> list[str]:
    """What is forbidden in a module."""
    out = []
    package, *rest = module.split(".")
    for target in sorted(imports(source)):
        top, *below = target.split(".")
        if top in OURS and top != package:
            allowed = package == "stream" and (
                top == "detectors" or (top == "config" and rest[:1] and rest[0] in SETTINGS_IN_STREAM)
            )
            if not allowed:
                out.append(f"{module} imports {target}")
        if top in TORCH and not f"{module}.".startswith(NETWORKS):
            out.append(f"{module} imports {target}")
        if package == "detectors" and top in WAITING:
            out.append(f"{module} imports {target}: detectors do not wait")
        if package == "stream" and top == "stream" and rest and below:
            here, there = rest[0], below[0]
            if {here, there} == {"sources", "sinks"} or (here in {"sources", "sinks"} and there == "window"):
                out.append(f"{module} imports {target}")
            if here == "window" and there in {"sources", "sinks"}:
                out.append(f"{module} imports {target}")
            if there == "assemble" and here not in SETTINGS_IN_STREAM:
                out.append(f"{module} imports {target}: only the command line assembles")
            if there == "cli" and here not in {"cli", "__main__"}:
                out.append(f"{module} imports {target}: nothing stands on the command line")
    return out


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_arrow_points_the_wrong_way(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert faults(name_of(path), source) == []
    assert not is_relative(source), "imports are absolute"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for_and_stays_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "a module opens with the question it answers"
    assert len(source.splitlines()) <= 400, "a module that grew past 400 lines answers more than one question"


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).startswith("detectors.")], ids=name_of)
def test_detectors_have_no_clock_of_their_own(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    for word in (".now(", "time.time(", "monotonic(", "perf_counter(", "utcnow("):
        assert word not in source


def test_no_test_folder_shadows_a_package_of_ours() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("config.load", "from detectors.records import Sample"),
        ("detectors.limits", "import config.schema"),
        ("detectors.limits", "import asyncio"),
        ("detectors.limits", "import torch"),
        ("stream.lane", "from config.schema import Tag"),
        ("stream.lane", "import stream.assemble"),
        ("stream.model.modelling", "import torch"),
        ("stream.sources.mqtt", "from stream.sinks.mqtt import MqttSink"),
        ("stream.sinks.mqtt", "from stream.sources.mqtt import MqttSource"),
        ("stream.sources.mqtt", "from stream.window import RollingWindow"),
        ("stream.window", "from stream.sources.source import Source"),
        ("plant.server", "import stream.clock"),
        ("stream.cli.demo", "import plant.server"),
        ("stream.lane", "def f():\n    from config.load import load"),
        ("stream.lane", "if TYPE_CHECKING:\n    from config.load import Loaded"),
        ("stream.lane", "importlib.import_module('config.load')"),
        ("stream.sinks.influxdb", "from config.secret import reveal"),
        ("stream.sinks.mqtt", "import stream.window as w"),
        ("stream.window", "from stream.sinks import sink"),
        ("stream.pipeline", "from stream import assemble"),
        ("stream.assemble", "from stream.cli.view import TagFace"),
        ("detectors.limits", "from stream.clock import Clock"),
        ("detectors.limits", "import plant"),
        ("detectors.forecasters.persistence", "from torch import nn"),
        ("detectors.language.reader", "import socket"),
        ("detectors.languages", "import torch"),
        ("detectors.forecasters.recurrently", "import torch"),
        ("detectors.forecasters.fitted", "import torch"),
        ("detectors.forecasters.panel", "from torch import nn"),
        ("detectors.train", "import torch"),
        ("stream.model.weights", "from safetensors.torch import save_file"),
        ("config.schema", "import stream"),
        ("plant.server", "from detectors.records import Sample"),
        ("plant.server", "import config.schema"),
        ("detectors.limits", "import plant.exchanger"),
    ],
)
def test_each_forbidden_arrow_is_seen(module: str, source: str) -> None:
    assert faults(module, source) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("stream.lane", "from detectors.records import Sample"),
        ("stream.assemble", "from config.schema import Tag"),
        ("stream.check", "import config.load"),
        ("stream.cli.app", "from stream.assemble import build_pipeline"),
        ("stream.sources.mqtt", "from stream.sources.source import Source"),
        ("stream.lane", "from stream.window import RollingWindow"),
        ("detectors.language.model", "import torch"),
        ("detectors.language", "import torch"),
        ("detectors.forecasters.recurrent", "import torch"),
        ("detectors.forecasters.graph", "from torch import nn"),
        ("detectors.forecasters.graph_network", "import torch"),
        ("detectors.forecasters.network", "import torch"),
        ("detectors.training", "import torch"),
        ("detectors.training.adapter", "import torch"),
        ("detectors.breach", "from detectors.records import Forecast"),
        ("plant.server", "import asyncio"),
        ("stream.lane", "import configparser"),
        ("stream.cli.view", "import plantuml"),
    ],
)
def test_an_allowed_arrow_is_none_of_them(module: str, source: str) -> None:
    assert faults(module, source) == []


def test_a_relative_import_is_seen() -> None:
    assert is_relative("from . import records")
    assert is_relative("def f():\n    from ..config import load")
    assert not is_relative("from stream import records")


def test_all_our_modules_are_read() -> None:
    names = set(map(name_of, MODULES))
    assert {"config.schema", "detectors.records", "detectors.language.model", "stream.sinks.mqtt", "plant"} <= names
    assert len(names) == len(MODULES) >= 60

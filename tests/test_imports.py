"""The arrows between the packages, and a few other walls, kept by reading the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("config", "detectors", "stream", "plant")
# The command line and the commands that it starts may speak of settings; everything else is told what it needs.
SETTINGS_IN_STREAM = {"assemble", "cli", "check", "demo", "replay", "print_history"}
TORCH = {"torch", "transformers", "safetensors", "gguf", "accelerate", "peft"}
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
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


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
        if top in TORCH and not module.startswith("detectors.language"):
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
    return out


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_arrow_points_the_wrong_way(path: Path) -> None:
    assert faults(name_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for_and_stays_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "a module opens with the question it answers"
    assert len(source.splitlines()) <= 400, "a module that grew past 400 lines answers more than one question"


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[-2] == "detectors"], ids=name_of)
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
        ("stream.modelling", "import torch"),
        ("stream.sources.mqtt", "from stream.sinks.mqtt import MqttSink"),
        ("stream.sinks.mqtt", "from stream.sources.mqtt import MqttSource"),
        ("stream.sources.mqtt", "from stream.window import RollingWindow"),
        ("stream.window", "from stream.sources.source import Source"),
        ("plant.server", "import stream.clock"),
        ("stream.demo", "import plant.server"),
        ("stream.lane", "def f():\n    from config.load import load"),
    ],
)
def test_each_forbidden_arrow_is_seen(module: str, source: str) -> None:
    assert faults(module, source) != []

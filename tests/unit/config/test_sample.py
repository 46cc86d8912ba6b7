"""The commented sample is the reference: every key stands in it, and every default it shows is the default."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from config.outline import kinds, models_at, models_in, value_of_mapping
from config.rule import Alarm, Tolerance
from config.schema import Secret, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pydantic import BaseModel

    from config.load import Loaded

# A line with one mark, and the lines behind the same mark that are further in.
COMMENTED = re.compile(r"^(?P<indent> *)# (?P<key>[a-z_0-9]+):")
# What changes something when its mark is taken away: it has no default, or its default depends on the machine.
CHANGES = {
    "adapter",
    "after_s",
    "commands",
    "drift",
    "forest",
    "high",
    "http",
    "low",
    "mahalanobis",
    "novelty",
    "rarity",
    "security",
    "setpoint_tag",
    "sha256",
    "state_folder",
    "store",
    "suppressed_by",
    "surprise",
    "tags",
    "tls",
}
# What is only legal together with another.
TOGETHER = {"username", "password"}


@pytest.fixture
def lines(sample: Path) -> list[str]:
    return sample.read_text(encoding="utf-8").splitlines()


def blocks(lines: list[str]) -> Iterator[tuple[str, int, range]]:
    """Key, line and lines of each part whose mark can be taken away."""
    for start, line in enumerate(lines):
        if (found := COMMENTED.match(line)) is None:
            continue
        end, inside = start + 1, f"{found['indent']}#   "
        while end < len(lines) and lines[end].startswith(inside):
            end += 1
        yield found["key"], start, range(start, end)


def bare(lines: list[str], which: range) -> str:
    return "\n".join(re.sub(r"^( *)# ", r"\1", line) if i in which else line for i, line in enumerate(lines)) + "\n"


def test_each_default_shown_loads_and_is_the_default(lines: list[str], read: Callable[[str], Loaded]) -> None:
    base = read("\n".join(lines)).settings
    tried = []
    for key, start, which in blocks(lines):
        if key in TOGETHER:
            continue
        assert (read(bare(lines, which)).settings == base) is (key not in CHANGES), f"line {start + 1}: {key}"
        tried.append(key)
    assert len(tried) >= 20
    assert set(tried) >= CHANGES


def test_with_every_mark_taken_away_it_loads(lines: list[str], read: Callable[[str], Loaded]) -> None:
    settings = read(bare(lines, range(len(lines)))).settings
    assert settings.sources["plc"].password is not None
    assert set(settings.sinks) == {"alerts", "store"}
    assert settings.model is not None
    assert settings.model.sha256 == "0" * 64


def test_prose_has_two_marks_and_keys_have_one(lines: list[str]) -> None:
    for number, line in enumerate(lines, start=1):
        mark = re.match(r" *(#+) ?(.*)", line)
        if mark and len(mark[1]) == 1:
            assert re.match(r" *# +(# )?[a-z_0-9]+:| *# +## ", line), f"line {number}: {line}"


def test_every_key_of_the_schema_stands_in_the_sample(lines: list[str]) -> None:
    text = "\n".join(lines)
    while (opened := re.sub(r"^( *)# ", r"\1", text, flags=re.MULTILINE)) != text:
        text = opened
    seen: dict[type[BaseModel], set[str]] = {}
    walk(yaml.safe_load(text), (), seen)
    for model in set(everything(Settings)) - {Secret}:
        missing = set(model.model_fields) - seen.get(model, set())
        # What every alarm may have is shown at one of them.
        assert missing <= ({"suppressed_by"} if issubclass(model, Alarm) else set()), f"{model.__name__}: {missing}"
    assert "suppressed_by" in seen[Tolerance]
    assert set(Secret.model_fields) <= set(re.findall(r"\{([a-z]+): ", text))


def walk(value: Any, path: tuple[str, ...], seen: dict[type[BaseModel], set[str]]) -> None:
    if isinstance(value, dict):
        models = models_at(Settings, path)
        for model in [m for m in models if value.get("type") in kinds(m)] or models:
            seen.setdefault(model, set()).update(value)
        for key, inner in value.items():
            walk(inner, (*path, key), seen)


def everything(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            yield from everything(inner)


def test_every_key_of_the_schema_is_described() -> None:
    for model in everything(Settings):
        assert model.__doc__
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_the_outline_knows_names_of_ones_own_from_keys() -> None:
    assert models_at(Settings, ("assets",)) == []
    assert [m.__name__ for m in models_at(Settings, ("assets", "tags", "tags", "source"))] == ["Tag"]
    assert [m.__name__ for m in models_at(Settings, ("sinks", "x"))] == ["InfluxSink", "MqttSink"]
    assert [m.__name__ for m in models_at(Settings, ("sources", "x", "tls"))] == ["Tls"]
    assert models_at(Settings, ("nowhere", "x")) == []
    assert value_of_mapping(Settings.model_fields["site"].annotation) is None

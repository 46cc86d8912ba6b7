"""Configuration files: the sample is the reference, and every error names its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from config.errors import ConfigError
from config.load import load
from config.schema import Settings

SAMPLE = Path(__file__).parents[3] / "config" / "heat_exchanger.yaml"
TEXT = SAMPLE.read_text(encoding="utf-8")
SMALL = """\
site: demo
sources:
  plc: {type: opcua, endpoint: "opc.tcp://h:1/x", namespace: "urn:p"}
assets:
  hx:
    tags:
      t:
        unit: degC
        period_s: 10
        hold_s: 60
        source: {name: plc, node: s=t}
"""
# Each alias stands for twice the one before: thirty lines that would unfold into a thousand million values.
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 31))


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(p).removeprefix(f"{path}") for p in caught.value.problems]


def test_the_sample_loads_and_an_integer_is_a_number(tmp_path: Path) -> None:
    loaded = load(SAMPLE)
    assert next(iter(loaded.settings.tags())) == "exchanger/chilled_water"
    assert loaded.line("assets", "exchanger", "tags", "chilled_water", "tolerance", "setpoint") == (
        TEXT.splitlines().index("          setpoint: 5.0") + 1
    )
    (tmp_path / "small.yaml").write_text(SMALL)
    assert load(tmp_path / "small.yaml").settings.tags()["hx/t"].period_s == 10.0


def test_every_key_of_the_schema_stands_in_the_sample() -> None:
    def keys(model: type[BaseModel]) -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            found.add(name)
            for inner in _models(field.annotation):
                found |= keys(inner)
        return found

    words = set(re.findall(r"[a-z_0-9]+(?=:)", TEXT))
    assert keys(Settings) - words == set()


def test_a_default_shown_in_the_sample_is_the_default() -> None:
    """Each `# key: value` line, put live, changes nothing: but for keys that have no default, such as a password."""
    shown = re.findall(r"^ *# ([a-z_0-9]+): ([^#{\n]+?)(?: +#.*)?$", TEXT, re.MULTILINE)
    defaults = {name: value for model in _all(Settings) for name, value in _defaults(model)}
    compared = 0
    for key, text in shown:
        value = yaml.safe_load(text)
        if defaults.get(key) in (None, "") or isinstance(defaults[key], BaseModel):
            continue
        compared += 1
        assert value == defaults[key] or value in _others(key), (
            f"{key}: the sample shows {value!r}, the default is {defaults[key]!r}"
        )
    assert compared >= 15


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("site: demo", "sit: demo", ":1: sit: expected a known key, found 'sit'. Did you mean 'site'?"),
        ("period_s: 10", "period_s: -1", ":9: assets.hx.tags.t.period_s: expected greater than 0, found -1"),
        ("period_s: 10", "period_s: .nan", ":9: assets.hx.tags.t.period_s: expected"),
        ("period_s: 10", "period_s: '10'", ":9: assets.hx.tags.t.period_s: expected a valid number, found '10'"),
        (
            "period_s: 10",
            "period_s: yes",
            ":9: assets.hx.tags.t.period_s: expected a valid number, found True. YAML reads yes",
        ),
        ("hold_s: 60", "hold_s: 5", ":7: assets.hx.tags.t: expected hold_s of at least period_s 10.0, found 5.0"),
        ("name: plc", "name: plx", "tag hx/t: no source named 'plx'; sources are: plc"),
        ("node: s=t", "topic: a/b", "tag hx/t: source 'plc' is an OPC UA server and needs `node`, not `topic`"),
        ("node: s=t", "", ":11: assets.hx.tags.t.source: expected exactly one of node (OPC UA) and topic (MQTT)"),
        (
            "unit: degC",
            "unit: degC\n        unit: K",
            ":9: assets.hx.tags.t.unit: expected once, found twice: also on line 8",
        ),
        ("      t:", "      a/b:", "assets.hx.tags.a/b"),
        ("type: opcua", "type: modbus", ":3: sources.plc: "),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in SMALL
    found = problems(tmp_path, SMALL.replace(old, new))
    assert any(expected in line for line in found), found


def test_all_mistakes_are_said_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    found = problems(
        tmp_path, SMALL.replace("degC", "5").replace("period_s: 10", "period_s: 0").replace("site: demo", "site: a/b")
    )
    lines = [int(line.split(":")[1]) for line in found]
    assert lines == sorted(lines) == [1, 8, 9]


def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = SMALL.replace('namespace: "urn:p"}', 'namespace: "urn:p", username: u, password: hunter2}')
    found = problems(tmp_path, text)
    assert any("A secret never stands in the file" in line for line in found)
    assert "hunter2" not in "".join(found)


def test_a_password_without_encryption_is_refused(tmp_path: Path) -> None:
    text = SMALL.replace('namespace: "urn:p"}', 'namespace: "urn:p", username: u, password: {env: P}}')
    assert any("never sent unencrypted" in line for line in problems(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected settings, found an empty file"),
        ("- 1\n", "expected settings (key: value), found list"),
        ("site: [\n", "expected YAML"),
        ("site: !!python/object:os.system x\n", "python/object"),
        (b"site: \xff\xfe\n", "expected UTF-8, found another encoding on line 1"),
        (BOMB, "aliases unfold"),
        ("[" * 5000, "expected"),
        ("x" * (5 * 2**20), "expected at most 4 MiB"),
    ],
    ids=["empty", "list", "torn", "python object", "not utf-8", "alias bomb", "deep", "large"],
)  # fmt: skip
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str | bytes, expected: str) -> None:
    assert expected in problems(tmp_path, text)[0]


def test_a_file_that_is_not_there_or_is_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a configuration file, found nothing there"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="found a folder"):
        load(tmp_path)


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.sampled_from("ab:-[]{}#&*!|>'\"\n 0.,%@"), max_size=60))
def test_no_text_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("yaml") / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load(path)


@settings(max_examples=100, deadline=None)
@given(
    line=st.integers(0, len(SMALL.splitlines()) - 1),
    junk=st.sampled_from(["x", "- 1", "k: v", "  k: [", '"', "é: ½", "? a"]),
)
def test_a_broken_line_gives_a_line_inside_the_file(
    tmp_path_factory: pytest.TempPathFactory, line: int, junk: str
) -> None:
    lines = SMALL.splitlines()
    lines[line] = " " * (len(lines[line]) - len(lines[line].lstrip())) + junk
    path = tmp_path_factory.mktemp("yaml") / "c.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    for problem in caught.value.problems:
        assert problem.line is None or 1 <= problem.line <= len(lines) + 1


def _models(annotation: object) -> list[type[BaseModel]]:
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _all(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [model] + [
        m for field in model.model_fields.values() for inner in _models(field.annotation) for m in _all(inner)
    ]


def _defaults(model: type[BaseModel]) -> list[tuple[str, object]]:
    return [(name, field.default) for name, field in model.model_fields.items() if not field.is_required()]


def _others(key: str) -> set[object]:
    """Keys that stand in several models with different defaults."""
    return {
        value
        for model in _all(Settings)
        for name, value in _defaults(model)
        if name == key and not isinstance(value, BaseModel | dict)
    }

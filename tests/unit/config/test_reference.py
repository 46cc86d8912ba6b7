"""The page of settings is what the schema and the sample make of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from config.outline import models_in
from config.reference import opened, render
from config.schema import Settings, Tag

PAGE = Path(__file__).parents[3] / "docs" / "configure.md"


def test_the_page_in_the_repository_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m config.reference docs/configure.md"


def test_the_program_prints_it_or_writes_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "config.reference"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == render()
    subprocess.run([*command, str(tmp_path / "page.md")], check=True)
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == render()


@pytest.mark.parametrize(
    "row",
    [
        "| `site` | a name of letters, digits, _ . - (64 at most) | required | name of the plant: a level of",
        "| `queue_size` | whole number ≥ 1 and ≤ 10,000 | `100` | values that the server keeps",
        '| `protocol` | `"5"` or `3.1.1` | `"5"` | version of MQTT, in quotes |',
        "| `hold_s` | number > 0 and ≤ a year | required | a value holds this long",
        "| `topic` | MQTT topic | none | MQTT: topic;",
        "| `password` | [secret](#secret) | none | its password |",
        "| `journal` | section | its defaults | the journal on disk |",
        "| `temperature` | number > 0 and ≤ 2 | `1` | below 1",
        "| `physical` | section | none | what its sensor can show",
        "| `sources` | sections, each under its name | required |",
        "It stands at `sources.NAME.tls` and `sinks.NAME.tls`.",
        "## `sinks.NAME`, `type: influxdb`",
    ],
)  # fmt: skip
def test_a_row_says_what_the_schema_says(row: str) -> None:
    assert f"\n{row}" in render()


def test_every_section_and_every_key_has_its_row() -> None:
    page = render()
    for name, field in Tag.model_fields.items():
        assert f"| `{name}` |" in page
        assert (field.description or "?") in page
    for model in models_in(Settings.model_fields["sources"].annotation):
        assert (model.__doc__ or "?") in page
    assert not re.search(r"^\|.*\|  \|", page, re.MULTILINE), "a cell is empty"
    for line in page.splitlines():
        if line.startswith("| "):
            assert line.count(" | ") == 3, line


def test_every_example_is_yaml_with_all_its_defaults_live() -> None:
    examples = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", render(), re.DOTALL)]
    assert [next(iter(example)) for example in examples] == [
        "plc", "broker", "chilled_water", "source", "store", "alerts", "model", "journal",
    ]  # fmt: skip
    assert examples[0]["plc"]["queue_size"] == 100
    assert examples[4]["store"]["token"] == {"credential": "influx_token"}
    assert opened("a:\n  # b: 1\n  ## c\n  #   # d: 1\n") == "a:\n  b: 1\n  ## c\n    # d: 1\n"

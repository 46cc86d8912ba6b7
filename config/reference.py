"""What does the page of settings say? docs/configure.md, made of the schema and the sample: `python -m config.reference FILE`.

Without a file it goes to standard output. A test fails when the page in the repository is not what this makes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel

from config.form import YEAR_S, Form
from config.outline import kinds, models_in, value_of_mapping
from config.position import parse
from config.schema import (
    InfluxSink,
    Journal,
    Model,
    MqttSink,
    MqttSource,
    OpcuaSource,
    Secret,
    Settings,
    Tag,
    TagSource,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo

__all__ = ["SAMPLE", "opened", "render"]

SAMPLE = Path(__file__).with_name("heat_exchanger.yaml")
_TAGS = ("assets", "exchanger", "tags")
EXAMPLES: dict[type[BaseModel], tuple[str, ...]] = {
    OpcuaSource: ("sources", "plc"),
    MqttSource: ("sources", "broker"),
    Tag: (*_TAGS, "chilled_water"),
    TagSource: (*_TAGS, "pump_command", "source"),
    InfluxSink: ("sinks", "store"),
    MqttSink: ("sinks", "alerts"),
    Model: ("model",),
    Journal: ("journal",),
}
HEAD = """\
# Configure

<!-- Made by `python -m config.reference docs/configure.md` from the schema and the sample: change those. -->

One YAML file says which plant it is, where its values come from, what is an alarm, and where alarms and points go.
[config/heat_exchanger.yaml](../config/heat_exchanger.yaml) is the sample to start from; every key stands in it.
This page says what each key may be.

- `givre check FILE` says everything that is wrong with a file at once, each with its line.
  With `--connect` it also tries every endpoint and names each tag that cannot be had.
- Nothing unknown is accepted: a misspelt key is an error, not a default.
- Durations end in `_s` and are seconds of the plant.
- Relative paths start at the folder of the file.
- YAML is taken plainly: no tags (`!`), no key twice, no number that reads otherwise than it looks (`010`, `1:30`).
  Text that looks like a number needs quotes, and so do `yes`, `no`, `on`, `off` as text.
- A secret never stands in the file; the file says [where it lies](#secret).
"""
SECRETS = """
In the file: `password: {credential: plc_password}`, or `{env: NAME}`, or `{file: PATH}`.
A credential is what systemd hands to the service alone.
In the unit: `LoadCredential=plc_password:/etc/givre/credentials/plc_password`.
Called by hand (`sudo givre check ...`), Givre reads it from the folder `credentials` beside the configuration.
An environment variable is seen by whatever the service starts, so prefer the other two.
One line end at the end is not part of the secret; an empty one is refused.
"""


def render() -> str:
    """The whole page, in Markdown."""
    example = _Example(opened(SAMPLE.read_text(encoding="utf-8")))
    places: dict[type[BaseModel], list[str]] = {}
    _collect(Settings, "", places)
    # Secrets and TLS stand in many places: they come last, once.
    ordered = sorted(places, key=lambda model: len(places[model]) > 1)
    return HEAD + "".join(_section(model, places[model], example) for model in ordered)


def opened(sample: str) -> str:
    """The sample with the first mark of every commented key taken away: all defaults live."""
    return re.sub(r"^( *)# ", r"\1", sample, flags=re.MULTILINE)


def _collect(model: type[BaseModel], place: str, places: dict[type[BaseModel], list[str]]) -> None:
    places.setdefault(model, []).append(place)
    for name, field in model.model_fields.items():
        below = f"{place}.{name}".lstrip(".")
        if value_of_mapping(field.annotation) is not None:
            below += ".NAME"
        for inner in models_in(field.annotation):
            _collect(inner, below, places)


def _section(model: type[BaseModel], places: list[str], example: _Example) -> str:
    doc = " ".join((model.__doc__ or "").split())
    places = list(dict.fromkeys(places))
    if model is Settings:
        title = "The file"
    elif len(places) > 1:
        title = model.__name__
        doc += f"\nIt stands at {_and(f'`{place}`' for place in places)}."
    else:
        kind = "".join(f", `type: {word}`" for word in kinds(model))
        title = f"`{places[0]}`{kind}"
    # What a section adds to others of its like comes first; `type` and what goes with it stay where they are.
    own = [] if kinds(model) else [name for name in model.model_fields if name in model.__annotations__]
    rows = [_row(name, model.model_fields[name]) for name in dict.fromkeys([*own, *model.model_fields])]
    table = "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])
    text = f"\n## {title}\n\n{doc}\n\n{table}\n"
    if model is Secret:
        text += SECRETS
    if model in EXAMPLES:
        text += f"\n```yaml\n{example.of(EXAMPLES[model])}\n```\n"
    return text


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else _default(field.default)
    value = _value(field.annotation, field.metadata)
    return (
        "| "
        + " | ".join(cell.replace("|", "\\|") for cell in (f"`{name}`", value, default, field.description or ""))
        + " |"
    )


def _default(value: object) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, BaseModel | dict):
        return "its defaults" if value else "none"
    if isinstance(value, float):
        value = int(value) if value.is_integer() else value
    if isinstance(value, list):
        return f"`[{', '.join(map(_quoted, value))}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{_quoted(value)}`"


def _value(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What a value may be, in words."""
    words = _limits(metadata)
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _value(inner, [*more, *metadata])
    if origin in {Union, UnionType}:
        return " or ".join(dict.fromkeys(_value(one, metadata) for one in get_args(annotation) if one is not NoneType))
    if origin is list:
        return f"list of {_value(get_args(annotation)[0])}"
    if origin is Literal:
        return " or ".join(f"`{_quoted(word)}`" for word in get_args(annotation))
    if value_of_mapping(annotation) is not None:
        return "sections, each under its name"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "[secret](#secret)" if annotation is Secret else "section"
    base = {float: "number", int: "whole number", str: "text", bool: "`true` or `false`"}[annotation]
    return words[0] if annotation is str and words else " ".join([base, _and(words)]).strip()


def _quoted(word: object) -> str:
    """As it must be written in YAML: a text that looks like a number in quotes."""
    return f'"{word}"' if isinstance(word, str) and not isinstance(yaml.safe_load(word), str) else str(word)


def _limits(metadata: Iterable[Any]) -> list[str]:
    words = []
    for one in metadata:
        if isinstance(one, AfterValidator):
            form = one.func
            words.append(form.words if isinstance(form, Form) else "MQTT topic")
        for sign, name in ((">", "gt"), ("≥", "ge"), ("<", "lt"), ("≤", "le")):
            if (limit := getattr(one, name, None)) is not None:
                words.append(f"{sign} {'a year' if limit == YEAR_S else f'{limit:,}'}")
        words += _limits(getattr(one, "metadata", ()))
    return words


def _and(words: Iterable[str]) -> str:
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last


class _Example:
    """Sections of the sample, with all their defaults."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        _, self._positions = parse(text, "sample")

    def of(self, key: tuple[str, ...]) -> str:
        """The lines of a section, its own key first."""
        first = self._positions[key] - 1
        end = first + 1
        while end < len(self._lines) and (
            not self._lines[end] or _indent(self._lines[end]) > _indent(self._lines[first])
        ):
            end += 1
        return dedent("\n".join(self._lines[first:end])).rstrip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def main() -> None:
    """Writes the page."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())


if __name__ == "__main__":
    main()

"""How does a configuration file become settings? Read, checked and placed: every error names its line and says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from config.errors import ConfigError, Problem
from config.position import Positions, parse
from config.schema import Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["Loaded", "load"]

MAX_BYTES = 4 * 2**20
_SECRETS = ("password", "token")
_WHERE_SECRETS_LIE = "A secret never stands in the file: write {credential: NAME}, {env: NAME} or {file: PATH}."
# YAML 1.1 reads these words as true and false, and 1:30 as 90: what was meant needs quotes.
_QUOTES = "YAML reads yes, no, on, off as true or false and 1:30 as a number: put the value in quotes if it is text."


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings with where they came from; relative paths in them start at `folder`."""

    settings: Settings
    path: Path
    positions: Positions

    @property
    def folder(self) -> Path:
        """The folder of the configuration file."""
        return self.path.parent

    def line(self, *key: str | int) -> int | None:
        """The line of a key, or of the nearest one above it."""
        return _line(self.positions, key)


def load(path: Path) -> Loaded:
    """Settings of a YAML file; raises ConfigError with every problem of the file."""
    path = Path(path).absolute()
    value, positions = parse(_text(path), str(path))
    if not isinstance(value, dict):
        found = type(value).__name__
        raise ConfigError(
            [Problem(file=str(path), line=1, key="", expected="expected settings (key: value)", found=found)]
        )
    try:
        settings = Settings.model_validate(value)
    except ValidationError as error:
        problems = {str(p): p for p in (_problem(str(path), positions, value, e) for e in error.errors())}
        raise ConfigError(sorted(problems.values(), key=lambda p: p.line or 0)) from None
    return Loaded(settings=settings, path=path, positions=positions)


def _text(path: Path) -> str:
    def wrong(expected: str, found: str, hint: str = "") -> ConfigError:
        return ConfigError([Problem(file=str(path), line=None, key="", expected=expected, found=found, hint=hint)])

    if path.is_dir():
        raise wrong("expected a configuration file", "a folder", "Name the file in it.")
    try:
        data = path.read_bytes()[: MAX_BYTES + 1]
    except FileNotFoundError:
        hint = "config/heat_exchanger.yaml is a sample to start from."
        raise wrong("expected a configuration file", "nothing there", hint) from None
    except OSError as error:
        raise wrong("expected a file that can be read", error.strerror or str(error)) from error
    if len(data) > MAX_BYTES:
        raise wrong(f"expected at most {MAX_BYTES // 2**20} MiB", "a larger file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise wrong("expected UTF-8", f"another encoding on line {line}", "Save the file as UTF-8.") from None


def _problem(file: str, positions: Positions, value: Any, error: ErrorDetails) -> Problem:
    path = _path(error["loc"], value)
    key = ".".join(map(str, path))
    line = _line(positions, path)
    kind, found = error["type"], error["input"]
    if any(part in _SECRETS for part in path) and not isinstance(found, dict):
        return Problem(
            file=file, line=line, key=key, expected="expected where the secret lies", hint=_WHERE_SECRETS_LIE
        )
    if kind == "extra_forbidden":
        known = _keys(path[:-1])
        near = get_close_matches(str(path[-1]), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known keys here: {', '.join(known)}." if known else ""
        return Problem(file=file, line=line, key=key, expected="expected a known key", found=repr(path[-1]), hint=hint)
    if kind == "missing":
        return Problem(file=file, line=line, key=key, expected="expected a value", found="nothing")
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    shown = "" if isinstance(found, dict | list) else _short(found)
    hint = _QUOTES if isinstance(found, bool) or kind == "string_type" else ""
    return Problem(file=file, line=line, key=key, expected=message[:1].lower() + message[1:], found=shown, hint=hint)


def _path(loc: tuple[str | int, ...], value: Any) -> tuple[str | int, ...]:
    """The key path of pydantic's location, without the names of union members and key markers that are not in the file."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        inside_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if inside_list or (isinstance(value, dict) and part in value):
            value = value[part]
        elif i < len(loc) - 1 or part == "[key]":
            continue
        path.append(part)
    return tuple(path)


def _line(positions: Positions, path: tuple[str | int, ...]) -> int | None:
    for end in range(len(path), -1, -1):
        if (line := positions.get(path[:end])) is not None:
            return line
    return None


def _keys(path: tuple[str | int, ...]) -> list[str]:
    """The keys that the schema knows at a path; those of every kind where there are several."""
    models: list[type[BaseModel]] = [Settings]
    for part in path:
        found = [a for m in models if (f := m.model_fields.get(str(part))) is not None for a in _models(f.annotation)]
        # A name that the user chose (of an asset, a tag, a source) is no field: its model came with the mapping.
        models = found or models
    return sorted({name for model in models for name in model.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _short(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 60 else f"{text[:57]}..."

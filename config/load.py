"""How does a configuration file become settings? Read, checked and placed: every error names its line and says what to do."""

from __future__ import annotations

import hashlib
import re
import stat
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from config.contradiction import contradictions
from config.errors import ConfigError, Problem
from config.outline import kinds, known_keys, models_at
from config.position import Positions, parse, shown
from config.schema import Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["Loaded", "load"]

MAX_BYTES = 4 * 2**20
_SECRETS = {"sources": ("password",), "sinks": ("password", "token")}
_WHERE_SECRETS_LIE = "A secret never stands in the file: write {credential: NAME}, {env: NAME} or {file: PATH}."
# YAML 1.1 reads these words as true and false: what was meant needs quotes.
_QUOTES = "YAML reads yes, no, on, off as true or false, and digits as a number: text that looks so needs quotes."
_NUMBER = "A number stands without quotes; one with an exponent needs a point and a sign: 1.0e+3."
_EXPECTED = {
    "string_type": "expected text",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "finite_number": "expected a finite number",
    "dict_type": "expected keys with values under it",
    "model_type": "expected keys with values under it",
    "model_attributes_type": "expected keys with values under it",
    "too_short": "expected at least one entry under it",
    "missing": "expected a value",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings with where they came from; relative paths in them start at `folder`."""

    settings: Settings
    path: Path
    positions: Positions
    sha256: str = ""
    """Of the file as it was read."""

    @property
    def folder(self) -> Path:
        """The folder of the configuration file."""
        return self.path.parent

    def line(self, *key: str | int) -> int | None:
        """The line of a key, or of the nearest one above it."""
        return _line(self.positions, key)

    def problem(self, *key: str | int, expected: str, found: str = "", hint: str = "") -> Problem:
        """Something that turned out to be wrong with a key after the file was read."""
        name = ".".join(map(str, key))
        return Problem(file=str(self.path), line=self.line(*key), key=name, expected=expected, found=found, hint=hint)


def load(path: Path) -> Loaded:
    """Settings of a YAML file; raises ConfigError with every problem of the file, in the order of its lines."""
    path = Path(path).absolute()
    text = _text(path)
    value, positions = parse(text, str(path))
    if not isinstance(value, dict):
        found = {list: "a list", type(None): "nothing"}.get(type(value), "a single value")
        raise ConfigError(
            [Problem(file=str(path), line=1, key="", expected="expected settings (key: value)", found=found)]
        )
    try:
        settings = Settings.model_validate(value)
    except ValidationError as error:
        # Two members of a union may say the same of one key.
        problems = {str(p): p for p in (_problem(str(path), positions, value, e) for e in error.errors())}
        raise ConfigError(sorted(problems.values(), key=lambda p: p.line or 0)) from None
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    loaded = Loaded(settings=settings, path=path, positions=positions, sha256=sha256)
    if wrong := [loaded.problem(*key, expected=message) for key, message in contradictions(settings)]:
        raise ConfigError(sorted(wrong, key=lambda p: p.line or 0))
    return loaded


def _text(path: Path) -> str:
    def wrong(expected: str, found: str, hint: str = "", line: int | None = None) -> ConfigError:
        return ConfigError([Problem(file=str(path), line=line, key="", expected=expected, found=found, hint=hint)])

    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise wrong("expected a configuration file", "a folder", "Name the file in it.")
        if not stat.S_ISREG(kind):
            raise wrong("expected a configuration file", "a device or a pipe")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        hint = "config/heat_exchanger.yaml is a sample to start from."
        raise wrong("expected a configuration file", "nothing there", hint) from None
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise wrong("expected a file that can be read", said) from None
    if len(data) > MAX_BYTES:
        raise wrong(f"expected at most {MAX_BYTES // 2**20} MiB", "a larger file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise wrong("expected UTF-8", "another encoding", "Save the file as UTF-8.", line) from None


def _problem(file: str, positions: Positions, value: Any, error: ErrorDetails) -> Problem:
    path, kind, found = _path(error, value), error["type"], error["input"]
    if _is_secret(path) and kind != "at":
        # Whatever stands there instead, a key included, may be the secret itself.
        return _placed(file, positions, path[:3], ("expected where the secret lies", "", _WHERE_SECRETS_LIE))
    if kind == "extra_forbidden":
        return _placed(file, positions, path, _unknown(path, value))
    if kind.startswith("union_tag"):
        words = " or ".join(repr(word) for model in models_at(Settings, path) for word in kinds(model))
        given = found.get("type") if isinstance(found, dict) else None
        said = "nothing" if given is None else shown(given, path)
        return _placed(file, positions, (*path, "type"), (f"expected {words}", said, ""))
    expected = _EXPECTED.get(kind) or error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if kind == "missing" or found is None:
        hint = "" if kind == "missing" else "Give it a value, or take the key away."
        return _placed(file, positions, path, (expected, "nothing", hint))
    # A section's own words already say what was found.
    said = "" if kind == "at" or isinstance(found, dict | list) else shown(found, path)
    return _placed(file, positions, path, (expected[:1].lower() + expected[1:], said, _hint(kind, found)))


def _placed(file: str, positions: Positions, path: tuple[str | int, ...], problem: tuple[str, str, str]) -> Problem:
    expected, found, hint = problem
    key = ".".join(map(str, path))
    return Problem(file=file, line=_line(positions, path), key=key, expected=expected, found=found, hint=hint)


def _unknown(path: tuple[str | int, ...], value: Any) -> tuple[str, str, str]:
    known = known_keys(Settings, path[:-1], value)
    near = get_close_matches(str(path[-1]), known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known keys here: {', '.join(known)}." if known else ""
    return "expected a known key", shown(path[-1], ()), hint


def _hint(kind: str, found: object) -> str:
    if isinstance(found, bool) or kind == "string_type":
        return _QUOTES
    if kind in {"float_type", "int_type"} and isinstance(found, str) and re.fullmatch(r"[-+\d.,eE]+", found):
        return _NUMBER
    if kind == "literal_error" and isinstance(found, int | float):
        return "Text that looks like a number needs quotes."
    return ""


def _is_secret(path: tuple[str | int, ...]) -> bool:
    return len(path) > 2 and path[2] in _SECRETS.get(str(path[0]), ())


def _path(error: ErrorDetails, value: Any) -> tuple[str | int, ...]:
    """The key path of an error, without the names of union members and key markers that are not in the file."""
    path: list[str | int] = []
    loc = error["loc"]
    for i, part in enumerate(loc):
        inside_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if inside_list or (isinstance(value, dict) and part in value):
            value = value[part]
        elif i < len(loc) - 1 or error["type"] != "missing":
            continue
        path.append(part)
    if error["type"] == "at" and "ctx" in error:
        path.append(error["ctx"]["key"])
    return tuple(path)


def _line(positions: Positions, path: tuple[str | int, ...]) -> int | None:
    for end in range(len(path), -1, -1):
        if (line := positions.get(path[:end])) is not None:
            return line
    return None

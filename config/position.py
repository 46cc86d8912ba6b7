"""On which line of the file does a key stand? A YAML text as plain values, and the lines of all its keys.

Only the plain part of YAML is taken: no tags (they make objects), no key twice (YAML itself would silently let the last win), no
numbers that read otherwise than they look (010 is 8, 1:30 is 90), and aliases only within bounds, so that a small file cannot
unfold into a large one.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from config.errors import ConfigError, Problem

__all__ = ["Path", "Positions", "parse", "shown"]

Path = tuple[str | int, ...]
Positions = dict[Path, int]

MAX_NODES = 250_000
"""Enough for 5,000 tags with two limits and more each."""
MAX_DEPTH = 40
_TAG = "tag:yaml.org,2002:"
_PLAIN_NUMBER = re.compile(
    r"[-+]?(0|[1-9]\d{0,17})(\.\d*)?([eE][-+]?\d{1,3})?|[-+]?\.\d+|[-+]?\.inf|\.nan", re.IGNORECASE | re.ASCII
)
_QUOTED = re.compile(r"(alias|anchor|handle|tag|prefix) (['\"]).*\2", re.DOTALL)
_INSTEAD = re.compile(r"expected (.*?),? but (?:found|got) (.*)", re.DOTALL)
_SECRET = re.compile(r"pass|pwd|token|secret|credential", re.IGNORECASE)


def parse(text: str, file: str) -> tuple[Any, Positions]:
    """The value of a YAML text and the line of every key; raises ConfigError."""
    last = text.count("\n") + (not text.endswith("\n"))
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The end of the text is told as a line behind it.
        raise ConfigError([_broken(file, min(mark.line + 1, last) if mark else None, error)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = Problem(
            file=file,
            line=line,
            key="",
            expected="expected text",
            found=f"the control character {error.character:#04x}",
        )
        raise ConfigError([problem]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([_broken(file, None, type(error).__name__)]) from None
    if node is None:
        raise ConfigError([Problem(file=file, line=None, key="", expected="expected settings", found="an empty file")])
    reader = _Reader(file)
    value = reader.value(node, ())
    if reader.problems:
        raise ConfigError(sorted(reader.problems, key=lambda p: p.line or 0))
    return value, reader.positions


def shown(found: object, path: Path) -> str:
    """What was found, for a message: shortened, and nothing at all where it could be a secret."""
    if any(isinstance(part, str) and _SECRET.search(part) for part in path):
        return ""
    text = re.sub(r"//[^/\s@]*@", "//...@", repr(found))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _compose(text: str) -> yaml.Node | None:
    loader = _Bounded(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _broken(file: str, line: int | None, error: yaml.MarkedYAMLError | str) -> Problem:
    """YAML's own words, without what they repeat of the text: it could be a piece of a password."""
    if isinstance(error, _TooMuchError):
        expected, found, hint = "expected fewer values", error.problem or "", ""
    else:
        said = error if isinstance(error, str) else _QUOTED.sub(r"\1", error.problem or "something else")
        said = "an anchor (&) given twice" if said == "second occurrence" else said
        wanted = _INSTEAD.fullmatch(said)
        expected = f"expected YAML ({wanted[1]})" if wanted else "expected YAML"
        found = wanted[2] if wanted else said.removeprefix("but ").removeprefix("found ")
        hint = "Text with a colon, #, &, *, !, %, @ or a quote in it needs quotes; indent with spaces."
    return Problem(file=file, line=line, key="", expected=expected, found=found, hint=hint)


class _TooMuchError(yaml.MarkedYAMLError):
    pass


class _Bounded(yaml.SafeLoader):
    """Stops at the first node beyond the bounds, before more memory or stack is taken."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        self._depth += 1
        if self._nodes > MAX_NODES or self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # types-PyYAML leaves it open
            problem = f"more than {MAX_NODES}, or more than {MAX_DEPTH} inside each other"
            raise _TooMuchError(problem=problem, problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.positions: Positions = {}
        self.problems: list[Problem] = []
        self._nodes = 0
        self._open: set[int] = set()
        self._scalars = yaml.constructor.SafeConstructor()
        self._resolver = yaml.resolver.Resolver()

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        self.positions.setdefault(path, node.start_mark.line + 1)
        if self._nodes > MAX_NODES or id(node) in self._open:
            found = f"more than {MAX_NODES}: aliases unfold to them"
            raise ConfigError([self._problem(node, path[:3], "expected fewer values", found)])
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag != f"{_TAG}{'map' if isinstance(node, yaml.MappingNode) else 'seq'}":
            self._tagged(node, path)
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self.value(child, (*path, i)) for i, child in enumerate(node.value)]
        finally:
            self._open.remove(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                hint = "A value that begins with { or [ needs quotes."
                self.problems.append(self._problem(key_node, path, "expected a plain key", "a list or a mapping", hint))
                continue
            if key_node.tag == f"{_TAG}merge":
                hint = "Write the keys out, or give the whole section an anchor."
                self.problems.append(self._problem(key_node, path, "expected a plain key", "a merge (<<)", hint))
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in values:
                found = f"twice: also on line {self.positions[here]}"
                self.problems.append(self._problem(key_node, here, "expected once", found))
                continue
            self.positions[here] = key_node.start_mark.line + 1
            values[key] = self.value(child, here)
        return values

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        plain = node.style is None
        kind = self._resolver.resolve(yaml.ScalarNode, node.value, (plain, not plain))  # type: ignore[no-untyped-call]  # as above
        if node.tag != kind:
            self._tagged(node, path)
            return None
        match kind.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return self._scalars.construct_yaml_bool(node)
            case "int" | "float":
                return self._number(node, path)
            case _:
                # Dates are text here: no setting is one.
                return node.value

    def _number(self, node: yaml.ScalarNode, path: Path) -> int | float | None:
        if _PLAIN_NUMBER.fullmatch(node.value):
            whole = node.tag == f"{_TAG}int"
            return self._scalars.construct_yaml_int(node) if whole else self._scalars.construct_yaml_float(node)
        hint = "YAML reads 010, 0x10, 1_000 and 1:30 as other numbers than they look: write it out, or in quotes if it is text."
        found = shown(node.value, path)
        self.problems.append(self._problem(node, path, "expected a plainly written number", found, hint))
        return None

    def _tagged(self, node: yaml.Node, path: Path) -> None:
        hint = "A value that begins with ! needs quotes."
        self.problems.append(self._problem(node, path, "expected a plain value", "a YAML tag (!)", hint))

    def _problem(self, node: yaml.Node, path: Path, expected: str, found: str, hint: str = "") -> Problem:
        key = ".".join(map(str, path))
        return Problem(
            file=self.file, line=node.start_mark.line + 1, key=key, expected=expected, found=found, hint=hint
        )

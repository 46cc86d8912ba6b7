"""On which line of the file does a key stand? A YAML text as plain values, and the lines of all its keys.

Only the safe part of YAML is taken: no tags that make objects, no key twice (YAML itself would silently let the last win),
and aliases only within bounds, so that a small file cannot unfold into a large one.
"""

from __future__ import annotations

from typing import Any

import yaml

from config.errors import ConfigError, Problem

__all__ = ["Path", "Positions", "parse"]

Path = tuple[str | int, ...]
Positions = dict[Path, int]

MAX_NODES = 100_000
MAX_DEPTH = 50


def parse(text: str, file: str) -> tuple[Any, Positions]:
    """The value of a YAML text and the line of every key; raises ConfigError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise ConfigError([_broken(file, line, error.problem or "something else")]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(
            [_broken(file, None, str(error).splitlines()[0] if str(error) else "something else")]
        ) from error
    if node is None:
        raise ConfigError([Problem(file=file, line=None, key="", expected="expected settings", found="an empty file")])
    reader = _Reader(file)
    value = reader.value(node, (), 0)
    if reader.problems:
        raise ConfigError(sorted(reader.problems, key=lambda p: p.line or 0))
    return value, reader.positions


def _broken(file: str, line: int | None, problem: str) -> Problem:
    hint = "Text with a colon, #, * or @ in it needs quotes; indent with spaces."
    return Problem(file=file, line=line, key="", expected="expected YAML", found=problem, hint=hint)


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.positions: Positions = {}
        self.problems: list[Problem] = []
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self._nodes += 1
        self.positions.setdefault(path, node.start_mark.line + 1)
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            limit = f"at most {MAX_NODES} values, {MAX_DEPTH} deep"
            raise ConfigError([self._problem(node, path, f"expected {limit}", "more (aliases unfold)")])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, i), depth + 1) for i, child in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if node.tag != "tag:yaml.org,2002:map":
            self.problems.append(self._problem(node, path, "expected plain settings", f"the tag {node.tag}"))
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                self.problems.append(self._problem(key_node, path, "expected a plain key", "something else"))
                continue
            key = key_node.value
            here = (*path, key)
            if key in values:
                first = self.positions[here]
                self.problems.append(self._problem(key_node, here, "expected once", f"twice: also on line {first}"))
                continue
            self.positions[here] = key_node.start_mark.line + 1
            values[key] = self.value(child, here, depth + 1)
        return values

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            if not node.tag.startswith("tag:yaml.org,2002:"):
                raise yaml.constructor.ConstructorError(problem=f"the tag {node.tag}")
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            found = getattr(error, "problem", None) or str(error)
            self.problems.append(self._problem(node, path, "expected a plain value", found))
            return None
        if isinstance(value, str | int | float | bool | type(None)):
            return value
        # Dates and binaries are text here: no setting is one.
        return node.value

    def _problem(self, node: yaml.Node, path: Path, expected: str, found: str) -> Problem:
        key = ".".join(map(str, path))
        return Problem(file=self.file, line=node.start_mark.line + 1, key=key, expected=expected, found=found)

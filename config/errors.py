"""What is wrong with a configuration, said so that it can be mended.

ConfigError           everything of one file at once, as Problems in the order of its lines
SecretError       a secret that is not where the configuration says
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ConfigError", "Problem", "SecretError"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: where, what was expected, what was found, and what to do."""

    file: str
    line: int | None
    key: str
    expected: str
    found: str = ""
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line is not None else self.file
        # A key may hold a line end, and this is one line.
        key = self.key if self.key.isprintable() else repr(self.key)
        text = f"{where}: {key}: {self.expected}" if key else f"{where}: {self.expected}"
        if self.found:
            text += f", found {self.found}"
        return f"{text}. {self.hint}" if self.hint else text


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` has at least one entry."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class SecretError(ConfigError):
    """A secret that cannot be had; its value never stands in the message."""

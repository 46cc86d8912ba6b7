"""What is wrong with a language model? One error type for all of it."""

from __future__ import annotations

__all__ = ["ModelError"]


class ModelError(ValueError):
    """A model that cannot be used: subject, what was expected, what was found, and the ways out."""

    def __init__(self, subject: str, *, expected: str, found: str, advice: str = "") -> None:
        self.subject = subject
        self.expected = expected
        self.found = found
        self.advice = advice
        super().__init__(f"{subject}: expected {expected}, found {found}" + (f". {advice}" if advice else ""))

"""What does the operator read? One sentence built from facts alone: what, where, since when, expected against found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from detectors.reason.english import english
from detectors.reason.french import french

if TYPE_CHECKING:
    from collections.abc import Callable

    from detectors.reason.told import Told

__all__ = ["Language", "sentence"]

Language = Literal["en", "fr"]


def sentence(told: Told, language: Language = "en") -> str:
    """The sentence of an alert, shorter than 200 characters; every figure in it is one of the facts."""
    return _TONGUES[language](told)


_TONGUES: dict[Language, Callable[[Told], str]] = {"en": english, "fr": french}

"""How are many things taken, a few at a time?"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["portions"]

Thing = TypeVar("Thing")


def portions(things: Sequence[Thing], most: int) -> Iterator[Sequence[Thing]]:
    """The things in their order, at most so many at a time; nothing where there are none."""
    return (things[at : at + most] for at in range(0, len(things), most))

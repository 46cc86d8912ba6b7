"""Many things, a few at a time: all of them, in their order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream.portion import portions


def test_portions_hold_everything_once_in_order() -> None:
    things = list(range(7))
    taken = list(portions(things, 3))
    assert [len(portion) for portion in taken] == [3, 3, 1]
    assert [thing for portion in taken for thing in portion] == things


@given(st.lists(st.integers(), max_size=30), st.integers(1, 9))
def test_together_they_are_all_of_them_and_none_is_empty_or_too_large(things: list[int], most: int) -> None:
    taken = list(portions(things, most))
    assert [thing for portion in taken for thing in portion] == things
    assert all(1 <= len(portion) <= most for portion in taken)

"""What is known of each tag beyond the window?"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.forecasters.memory import Memory, pack
from detectors.records import Window

START = datetime(2026, 1, 1, tzinfo=UTC)


def window(values, *, end: int, tag: str = "x/a", period_s: float = 60.0, normal=(), shift_s: float = 0.0) -> Window:
    """A window whose last value is that of step `end`."""
    at = START + timedelta(seconds=end * period_s + shift_s)
    return Window(tag=tag, period_s=period_s, end_at=at, values=tuple(map(float, values)), normal=tuple(normal))


def known(memory: Memory, tag: str = "x/a") -> list[float]:
    history = memory.history(tag)
    assert history is not None
    return history.values.tolist()


def test_overlapping_windows_add_their_new_steps_alone() -> None:
    memory = Memory(limit=100)
    [first] = memory.learn([window([1, 2, 3], end=3)])
    [second] = memory.learn([window([2, 3, 4, 5], end=5)])
    [again] = memory.learn([window([3, 4, 5], end=5)])
    assert first.restarted
    assert not second.restarted
    assert second.values.tolist() == [4.0, 5.0]
    assert again.values.tolist() == []
    assert known(memory) == [1, 2, 3, 4, 5]


def test_a_moment_between_two_steps_of_a_grid_that_starts_at_half_a_period_is_counted_right() -> None:
    memory = Memory(limit=100)
    for end in range(1, 20):
        memory.learn([window([end], end=end, shift_s=30.0)])
    assert known(memory) == list(range(1, 20))


def test_a_small_gap_is_kept_as_holes_and_a_long_one_begins_anew() -> None:
    memory = Memory(limit=100, longest_gap=3)
    memory.learn([window([1, 2], end=2)])
    [added] = memory.learn([window([6, 7], end=7)])
    assert np.isnan(added.values[:3]).all()
    assert known(memory)[5:] == [6, 7]
    [added] = memory.learn([window([12], end=12)])
    assert added.restarted
    assert known(memory) == [12]


@pytest.mark.parametrize("other", [{"end": 3}, {"end": 9, "period_s": 30.0}, {"end": 9, "shift_s": 7.0}])
def test_what_lies_before_or_on_another_grid_begins_anew(other) -> None:
    memory = Memory(limit=100)
    memory.learn([window([1, 2, 3, 4, 5, 6, 7, 8], end=8)])
    [added] = memory.learn([window([40, 50], **other)])
    assert added.restarted
    assert known(memory) == [40, 50]


def test_steps_that_are_not_normal_are_holes() -> None:
    memory = Memory(limit=100)
    memory.learn([window([1, 99, math.inf, 4], end=4, normal=[True, False, True, True])])
    assert known(memory)[0] == 1.0
    assert np.isnan(known(memory)[1:3]).all()


def test_memory_is_bounded_and_keeps_the_latest() -> None:
    memory = Memory(limit=50)
    rooms = set()
    for end in range(5_000):
        memory.learn([window([end - 1, end], end=end)])
        history = memory.history("x/a")
        assert history is not None
        base = history.values.base
        rooms.add(0 if base is None else base.nbytes)
    assert known(memory) == list(range(4_950, 5_000))
    assert max(rooms) <= 101 * 8


def test_a_snapshot_never_changes() -> None:
    memory = Memory(limit=8)
    memory.learn([window(range(8), end=7)])
    history = memory.history("x/a")
    assert history is not None
    for end in range(8, 60):
        memory.learn([window([end], end=end)])
    assert history.values.tolist() == list(range(8))
    with pytest.raises(ValueError, match="read-only"):
        history.values[0] = 1.0


def test_moments_of_the_steps() -> None:
    memory = Memory(limit=8)
    memory.learn([window(range(5), end=4)])
    history = memory.history("x/a")
    assert history is not None
    assert history.at(0) == START
    assert history.at(-1) == history.end_at == START + timedelta(minutes=4)


def test_what_was_saved_comes_back() -> None:
    memory, other = Memory(limit=20), Memory(limit=20)
    memory.learn([window([1, math.nan, 3], end=3), window([7.25], end=9, tag="y/b", period_s=1.5)])
    other.learn([window([1], end=1, tag="z/c")])
    other.restore(memory.save())
    assert set(other.tags) == {"x/a", "y/b"}
    for each in (memory, other):
        each.learn([window([4], end=4), window([8.5], end=10, tag="y/b", period_s=1.5)])
    assert known(other, "y/b") == known(memory, "y/b") == [7.25, 8.5]
    np.testing.assert_equal(known(other), known(memory))


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (b"", "expected what save"),
        (b"nonsense", "expected what save"),
        (pack("givre panel", 1, [], {}), "found givre panel version 1"),
        (pack("givre memory", 99, [], {}), "found givre memory version 99"),
        (pack("givre memory", 1, [{"tag": "x"}], {}), "damaged"),
    ],
)
def test_what_is_no_saved_memory_is_refused_and_changes_nothing(saved: bytes, said: str) -> None:
    memory = Memory(limit=20)
    memory.learn([window([1, 2], end=2)])
    with pytest.raises(ValueError, match=said):
        memory.restore(saved)
    assert known(memory) == [1, 2]

"""Numbers to digits and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.language.codec import Anchor, Grid, anchor

numbers = st.floats(-1e150, 1e150, allow_nan=False)


@given(st.lists(numbers, min_size=1, max_size=50))
def test_every_value_comes_back_within_half_a_cell(values: list[float]) -> None:
    grid = Grid.lay(values)
    for value in values:
        cell = grid.encode(value)
        assert cell is not None
        slack = 1e-9 * max(abs(value), grid.cell)
        assert abs(grid.decode(cell) - value) <= grid.cell / 2 + slack


@given(st.integers(0, 999), st.lists(numbers, min_size=1, max_size=5))
def test_every_cell_comes_back_as_itself(cell: int, values: list[float]) -> None:
    grid = Grid.lay(values)
    assert grid.encode(grid.decode(cell)) == cell


def test_half_of_the_cells_are_head_room() -> None:
    grid = Grid.lay([0.0, 1.0])
    assert grid.encode(-0.49) is not None
    assert grid.encode(1.49) is not None
    assert grid.encode(-0.51) is None
    assert grid.encode(1.51) is None


@pytest.mark.parametrize("value", [0.0, 5.0, -273.15, 1e-12, 1e12, -1e100])
def test_a_constant_stands_in_the_middle_and_a_small_change_has_a_code(value: float) -> None:
    grid = Grid.lay([value] * 10)
    assert grid.encode(value) == 500
    assert grid.decode(500) == pytest.approx(value, rel=1e-12)
    assert grid.encode(value * (1 + 5e-4)) is not None


def test_what_has_no_code_is_said() -> None:
    grid = Grid.lay([1.0, 2.0])
    assert [grid.encode(v) for v in (math.nan, math.inf, -math.inf, 1e9)] == [None] * 4


@pytest.mark.parametrize("values", [[], [math.inf], [math.nan], [1e200]])
def test_what_no_grid_can_hold_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="grid: expected"):
        Grid.lay(values)


def test_the_text_begins_behind_the_last_hole() -> None:
    values = [1.0] * 10 + [math.nan] + [2.0, 2.1, 2.2, 2.3]
    found = anchor(values, 0, context=128, shortest=4)
    assert found is not None
    assert found.start == 11
    assert anchor(values, 0, context=128, shortest=5) is None
    assert anchor([*values, math.nan], 0, context=128, shortest=1) is None


def test_a_value_that_leaves_the_grid_lays_it_anew_over_all_so_far() -> None:
    values = [1.0, 1.1, 1.2, 1.3, 9.0]
    found = anchor(values, 0, context=128, shortest=4)
    assert found == Anchor(start=0, grid=Grid.lay(values))


@given(st.lists(st.floats(-100, 100), min_size=40, max_size=90), st.integers(0, 1000), st.integers(0, 11))
def test_a_sliding_window_keeps_its_anchor_for_three_quarters_of_a_context(
    walk: list[float], first: int, offset: int
) -> None:
    """Two readers that joined at different times agree, because the anchor hangs on the steps and not on the reader."""
    context, starts = 16, []
    for end in range(context, len(walk) + 1):
        found = anchor(walk[end - context : end], first + end - context, context=context, shortest=4, offset=offset)
        assert found is not None
        held = context - found.start
        assert context // 4 <= held <= context
        starts.append(first + end - context + found.start)
        assert all(found.grid.encode(v) is not None for v in walk[end - context + found.start : end])
    assert all(start % 12 == offset for start in starts)
    assert starts == sorted(starts)

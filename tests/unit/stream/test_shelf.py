"""The adapters on the shelf, the one in use, and the way back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from stream.model.shelf import Shelf, ShelfError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    for name in ("spring", "summer", "unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(json.dumps({"gain_nats": 0.3}))
    (tmp_path / "other").mkdir()
    return Shelf(tmp_path)


def test_what_is_finished_is_on_the_shelf_and_at_first_none_is_in_use(shelf: Shelf, tmp_path: Path) -> None:
    assert shelf.names == ("spring", "summer")
    assert shelf.current is None
    assert Shelf(tmp_path / "none").names == ()
    assert Shelf(tmp_path / "none").current is None


def test_promoted_ones_are_taken_back_one_by_one(shelf: Shelf) -> None:
    shelf.promote("spring")
    shelf.promote("summer")
    shelf.promote("summer")
    assert shelf.current == shelf.folder / "summer"
    assert shelf.roll_back() == "spring"
    assert shelf.roll_back() is None
    assert shelf.current is None
    with pytest.raises(ShelfError, match="expected an adapter that was promoted, found none in use"):
        shelf.roll_back()


def test_an_adapter_that_is_not_there_is_refused(shelf: Shelf) -> None:
    with pytest.raises(ShelfError, match=r"'winter': expected one on the shelf \(spring, summer\)"):
        shelf.promote("winter")
    for name in ("../spring", "", "a b", "unfinished"):
        with pytest.raises(ShelfError, match="expected a name of letters"):
            shelf.path(name)
    with pytest.raises(ShelfError, match="expected a new name"):
        shelf.path("spring")
    assert shelf.path("winter") == shelf.folder / "winter"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"adapter": 3, "before": []}', '{"adapter": "spring", "before": 1}'])
def test_a_damaged_pointer_is_said_with_the_way_out(shelf: Shelf, text: str) -> None:
    (shelf.folder / "current.json").write_text(text)
    with pytest.raises(ShelfError, match=r"current\.json"):
        _ = shelf.current


def test_a_card_that_cannot_be_read_is_said(shelf: Shelf) -> None:
    (shelf.folder / "spring" / "card.json").write_text("{")
    with pytest.raises(ShelfError, match="that can be read"):
        shelf.promote("spring")

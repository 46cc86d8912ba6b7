"""Which trained networks foretell beside the rest of the panel? Those that are in use on the shelf, one of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.language.error import ModelError
from stream.model.shelf import KINDS, LANGUAGE, Shelf, ShelfError

if TYPE_CHECKING:
    from pathlib import Path

    from detectors.forecasters.forecaster import Forecaster

__all__ = ["Networks"]


class Networks:
    """Those in use when it was made, by kind; it never changes, but says when the shelf has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.chosen = self._in_use()

    @property
    def outdated(self) -> bool:
        """Whether others are in use by now."""
        return self._in_use() != self.chosen

    def members(self, *, leave_out: str = "", seed: int = 0) -> tuple[list[Forecaster], str]:
        """A forecaster of each, read anew, and what is doubtful about them: one that cannot be used costs itself alone."""
        found: list[Forecaster] = []
        doubts = ""
        for kind, folder in self.chosen.items():
            if kind == leave_out:
                continue
            try:
                from detectors.forecasters.trained import Trained

                found.append(Trained.read(folder, seed=seed))
            except ImportError as error:
                doubts += (
                    f"; network {folder.name} is not used: expected the package {error.name}, found none installed"
                )
            except ModelError as error:
                doubts += f"; network {folder.name} is not used: {error}"
        return found, doubts

    def _in_use(self) -> dict[str, Path]:
        found = {}
        for kind in KINDS:
            try:
                current = None if kind == LANGUAGE else Shelf(self._folder, kind).current
            except ShelfError:
                continue
            if current is not None:
                found[kind] = current
        return found

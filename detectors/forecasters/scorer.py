"""What does a forecaster promise that also says how surprising each value was?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.records import Score, Window

__all__ = ["Scorer"]


@runtime_checkable
class Scorer(Protocol):
    """Windows in, one score per value that is new since the last call."""

    @property
    def refused(self) -> Sequence[str]:
        """Tags of the last call for which there is no room; they are neither scored nor forecast."""

    @property
    def shortfall(self) -> str:
        """What is not done as wished for want of memory, in one sentence; empty if all is."""

    def read(self, windows: Sequence[Window]) -> list[list[Score]]:
        """Scores of the new values of each window, oldest first; none for a tag that is read for the first time."""

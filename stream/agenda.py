"""What falls due next, of thousands of things of which few ever do at once?

A heap of moments, in which what was put off or called off is left and passed over when its time comes. Things due at one moment
come in the order in which they were named first, so that a day judged again goes the same way.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["Agenda"]

SPARE = 64
"""So many passed-over entries are carried along at least before the heap is built anew."""


class Agenda:
    """When each of some names is due; setting and taking cost the logarithm of their number."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._ranks = {name: rank for rank, name in enumerate(names)}
        self._dues: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, int, str]] = []

    def __contains__(self, name: str) -> bool:
        return name in self._dues

    @property
    def next_at(self) -> datetime | None:
        """The next moment at which something is due; None where nothing is."""
        heap = self._heap
        while heap and self._dues.get(heap[0][2]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def set(self, name: str, due_at: datetime | None) -> None:
        """Says when a name is due, in place of what was said before; None calls it off."""
        if due_at is None:
            self._dues.pop(name, None)
        elif self._dues.get(name) != due_at:
            self._dues[name] = due_at
            heappush(self._heap, (due_at, self._ranks.setdefault(name, len(self._ranks)), name))
            if len(self._heap) > 2 * len(self._dues) + SPARE:
                self._heap = [(due, self._ranks[name], name) for name, due in self._dues.items()]
                heapify(self._heap)

    def take(self, moment: datetime) -> list[str]:
        """The names that are due by a moment, each called off: the earliest first, then in the order of their naming."""
        taken = []
        while (due_at := self.next_at) is not None and due_at <= moment:
            name = heappop(self._heap)[2]
            del self._dues[name]
            taken.append(name)
        return taken

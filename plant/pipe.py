"""When does what enters a pipe come out of it?

Plug flow: the water moves as parcels that do not mix. What goes in comes out one pipe volume later, so the lag follows
the flow, and not a joule is lost on the way.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Pipe"]


class Pipe:
    """A full pipe of a given volume in m3, at first at one temperature throughout."""

    def __init__(self, volume: float, temperature: float) -> None:
        self._volume = volume
        self._parcels: deque[tuple[float, float]] = deque([(volume, temperature)])

    def push(self, volume: float, temperature: float) -> float:
        """Pushes `volume` m3 in at one end and returns the mixed temperature of the same volume at the other end."""
        if volume <= 0.0:
            return self._parcels[0][1]
        self._parcels.append((volume, temperature))
        left, heat = volume, 0.0
        while True:
            size, degrees = self._parcels[0]
            if size > left:
                self._parcels[0] = (size - left, degrees)
                return (heat + left * degrees) / volume
            self._parcels.popleft()
            left -= size
            heat += size * degrees
            if left <= 1e-12 or not self._parcels:
                return heat / (volume - max(left, 0.0))

    @property
    def content(self) -> float:
        """Volume times temperature of all that is inside, m3 K: what an energy balance needs."""
        return sum(size * degrees for size, degrees in self._parcels)

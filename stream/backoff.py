"""How long until the next attempt to connect?"""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Waits before the next attempt: from 1..2 s, growing by half each time, to 15..30 s at most.

    Two clients with one client id throw each other out for ever, and each of their connections succeeds: the wait is only
    short again after a connection that lasted longer than two such clients can leave each other.
    """

    LONGEST_S = 30.0
    SHORTEST_S = 2.0

    def __init__(self) -> None:
        self._longest_s = self.SHORTEST_S

    def next_s(self, lasted_s: float = 0.0) -> float:
        """Seconds to wait now, after a connection that lasted `lasted_s`."""
        if lasted_s > 2 * self.LONGEST_S:
            self._longest_s = self.SHORTEST_S
        longest_s = self._longest_s
        self._longest_s = min(longest_s * 1.5, self.LONGEST_S)
        return random.uniform(longest_s / 2, longest_s)  # noqa: S311 - jitter, no secret

"""What every source promises, and what it is given to talk to."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from detectors.records import Sample, Status

__all__ = ["NOTHING", "Intake", "Rejection", "Source"]

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One input that was refused: counted per (source, tag, reason) and logged, and nothing else is lost by it.

    `reason` is one of a short list of words (``unparsable``, ``not_finite``, ``out_of_range`` ...), fit for a metric's
    label; `detail` quotes what was found, shortened. `tag` is empty when no tag could be told.
    """

    source: str
    tag: str
    reason: str
    detail: str
    at: datetime


class Intake(Protocol):
    """Where a source hands over what it has: the pipeline's front door."""

    async def deliver(
        self,
        samples: Sequence[Sample],
        accepted: Callable[[], None] | None = None,
        *,
        memory: Mapping[str, str] = NOTHING,
    ) -> None:
        """Takes samples, waiting while the pipeline is full (back-pressure).

        `accepted` is called once, on the event loop, after the journal holds all of them on disk: a source that
        acknowledges to its peer does so there and not before. `memory` is what the source must know of them after a
        restart: it comes to disk with them, all or nothing.
        """

    def reject(self, rejection: Rejection) -> None:
        """Counts and logs an input that cannot become a sample."""

    def drop(self, source: str, why: str, count: int) -> None:
        """Counts values that were there and will never be judged; `why` is one word, fit for a metric's label."""

    def report(self, status: Status) -> None:
        """Says how the source is doing; repeated equal statuses are dropped."""


class Source(Protocol):
    """Follows its tags until it is cancelled.

    Obligations, each a case of `tests/contract/test_source.py`:

    - `run` never returns and never raises because the far side is away, refuses, restarts or talks nonsense: it reports a
      status, waits with jittered back-off (30 s at most) and tries again; one tag that cannot be had never stops the others;
    - after every (re)connection everything is looked up and subscribed again;
    - values are parsed strictly: what is not a finite number becomes a rejection, what is Bad a sample without a value;
    - `source_at` is the time of the source where it gives one, else the arrival time; both are aware UTC;
    - it never writes to the plant;
    - cancelling `run` releases everything before the cancellation is re-raised.
    """

    @property
    def name(self) -> str:
        """Name of the source in the configuration."""

    async def run(self, intake: Intake) -> None:
        """Follows the tags for ever."""

    async def probe(self) -> list[str]:
        """Tries the endpoint once and returns one sentence per thing that cannot be had; empty when all is well."""

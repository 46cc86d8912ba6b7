"""What every sink promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.records import Record

__all__ = ["Refused", "Sink", "SinkUnavailableError"]


class SinkUnavailableError(Exception):
    """The far side did not confirm: nothing may be assumed of the batch, and all of it is tried again.

    `retry_after_s` is how long the far side asked us to wait; None leaves it to the delivery's own back-off.
    """

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A record that the far side will never take, with its words: kept as a dead letter, never tried again."""

    index: int
    reason: str


class Sink(Protocol):
    """Takes records from the journal to one place outside.

    Obligations, each a case of `tests/contract/test_sink.py`:

    - `write` returns only when the far side has confirmed every record that is not in the returned list;
    - it raises `SinkUnavailableError` for everything that may be better later, a refused login included, and returns
      `Refused` only for what will never be taken; one bad record never drops or blocks its batch;
    - writing a record twice leaves the far side as writing it once;
    - it gives up on a silent peer within 10 s and never blocks the event loop;
    - it keeps nothing: what is not confirmed stays in the journal.
    """

    @property
    def name(self) -> str:
        """Name of the sink in the configuration; its place in the journal is kept under it."""

    @property
    def kinds(self) -> frozenset[type]:
        """The record types it wants."""

    async def write(self, records: Sequence[Record]) -> list[Refused]:
        """Delivers the records in the order given."""

    async def probe(self) -> list[str]:
        """Tries the endpoint once and returns one sentence per problem; empty when all is well."""

    async def close(self) -> None:
        """Releases the connection; nothing is written after it."""

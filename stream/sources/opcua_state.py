"""How is the connection doing? Everything that is not as it should be, in one status, said when it changes."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from detectors.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from stream.sources.opcua_inbox import Inbox
    from stream.sources.opcua_node import UaTag
    from stream.sources.opcua_plan import Plan
    from stream.sources.source import Intake

__all__ = ["State"]

COMPLAIN_S = 60.0
"""How long a loss stays in the status; while it goes on it is counted up every `RECOUNT_S`."""
RECOUNT_S = 10.0
NAMES = 20
"""Tags named in one status; the rest are counted."""


class State:
    """What is wrong with one connection; the worst of it is said first."""

    def __init__(self, plan: Plan, inbox: Inbox, intake: Intake) -> None:
        self.missing: dict[UaTag, str] = {}
        """Tags that cannot be had, and why."""
        self.unfiltered: set[str] = set()
        """Tags for which the server takes no deadband."""
        self.away = ""
        """In what words the server does not answer; empty while it does."""
        self.overflows: Counter[str] = Counter()
        """How often the server's queue of a tag ran over since that was last said."""
        self._plan = plan
        self._inbox = inbox
        self._intake = intake
        self._dropped = inbox.dropped
        self._gone = inbox.alive_at
        """Since when the server does not answer, be it that the connection before this one was lost; None while it does."""
        self._gap = ""
        self._complained = -math.inf
        self._said: tuple[bool, str] | None = None

    def overflowed(self, tag: str) -> None:
        """The server's queue of a tag ran over: it says so with the value behind the loss, and not how many there were."""
        self.overflows[tag] += 1
        self._intake.drop(self._plan.source, "overflow", 1)

    def say(self, now: float) -> None:
        """Reports the state of the connection, if it is another one than the last."""
        plan = self._plan
        if (losses := self._losses()) and now - self._complained > RECOUNT_S:
            self._complained = now
            self.overflows.clear()
            self._dropped = self._inbox.dropped
            self._report(ok=False, detail=losses)
        elif self.away:
            self._complained = -math.inf  # what is said next is whether it is back
            self._gone = self._gone or self._inbox.alive_at
            self._report(ok=False, detail=self.away)
        elif now - self._complained < COMPLAIN_S:
            return
        elif self.missing:
            tags = sorted(self.missing, key=lambda tag: tag.tag)
            named = _named(f"{tag.tag} ({tag.node}): {self.missing[tag]}" for tag in tags)
            detail = f"{len(tags)} of {len(plan.tags)} tags cannot be had at {plan.endpoint}: {named}"
            self._report(ok=False, detail=detail)
        else:
            plain = f"; it takes no deadband for {_named(sorted(self.unfiltered))}" if self.unfiltered else ""
            if self._gone is not None:
                self._gap, self._gone = self._since(self._gone), None
            self._report(ok=True, detail=f"following {len(plan.tags)} tags at {plan.endpoint}{plain}{self._gap}")

    def _since(self, gone: datetime) -> str:
        """From when to when nothing can have come: what the server's queues could not hold meanwhile is not known."""
        now = self._plan.clock.now()
        return f"; nothing came from {gone:%Y-%m-%d %H:%M:%S} to {now:%Y-%m-%d %H:%M:%S} UTC"

    def _losses(self) -> str:
        """What was lost since it was last said."""
        losses = []
        if self.overflows:
            named = _named(f"{tag} ({count} times)" for tag, count in sorted(self.overflows.items()))
            losses.append(
                f"values are lost, queues of {self._plan.endpoint} ran over: {named}; "
                "raise `queue_size` or lower `publishing_interval_s`"
            )
        if dropped := self._inbox.dropped - self._dropped:
            losses.append(f"{dropped} values dropped: more came than could be judged")
        return "; ".join(losses)

    def _report(self, *, ok: bool, detail: str) -> None:
        if (ok, detail) != self._said:
            self._said = (ok, detail)
            self._intake.report(
                Status(subject=f"source.{self._plan.source}", ok=ok, detail=detail, at=self._plan.clock.now())
            )


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    return "; ".join(listed[:NAMES]) + (f"; and {len(listed) - NAMES} more" if len(listed) > NAMES else "")

"""What becomes of the fast lane when the machine's clock is set back? It would judge nothing until time had caught up.

So a new lane begins, with empty windows, in which every alarm stands as it stood: what has begun, waits or is silent has done
so for as long as before. A clock that is set forward needs nothing of the kind: for the lane it is a time without samples.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from detectors.records import Mark, Quality, Status
from stream.alarm_memory import moved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from detectors.alarm import Memory
    from detectors.records import Sample
    from stream.clock import Clock
    from stream.lane import FastLane

__all__ = ["SET_BACK", "NewLane", "TimeOfLane", "arrived", "renewed"]

log = logging.getLogger(__name__)

SET_BACK = timedelta(seconds=5)
"""A clock that goes back by less is waited for; by more, it was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLane:
    """A lane that goes on where another ended, what its alarms remember, and what is to be said of it."""

    lane: FastLane
    memories: dict[str, Memory]
    mark: Mark
    status: Status


class TimeOfLane:
    """Asks the clock for the time of the fast lane; `renew` makes a lane from what its alarms are to remember."""

    def __init__(self, clock: Clock, renew: Callable[[dict[str, Memory]], FastLane] | None) -> None:
        self._clock, self._renew = clock, renew
        self._slack = SET_BACK * clock.speed
        self._reached: datetime | None = None
        self._right = True

    def look(self, lane: FastLane) -> tuple[datetime, NewLane | None]:
        """The time, and the lane to go on with where it is earlier than before."""
        now = self._clock.now()
        reached = self._reached
        if reached is None or self._renew is None or reached - now <= self._slack:
            self._reached = now if reached is None else max(now, reached)
            return now, None
        self._reached = now
        back = reached - now
        new, memories = renewed(lane, self._renew, back)
        said = f"set back by {back.total_seconds():.0f} s: windows begin anew, alarms stand as they stood"
        log.warning("the clock of this machine was %s", said)
        return now, NewLane(
            lane=new,
            memories=memories,
            mark=Mark(at=now, back_s=back.total_seconds()),
            # It goes right again from here on: what happened is told, and is no state that lasts.
            status=Status(subject="clock", ok=True, detail=f"was {said}", at=now),
        )

    def news(self, now: datetime) -> Status | None:
        """What is to be said where the clock can no longer be right, or can again."""
        right = now >= self._clock.earliest
        if right is self._right:
            return None
        self._right = right
        wrong = "" if right else ", which cannot be: values are kept as uncertain until it is set right, by NTP"
        return Status(subject="clock", ok=right, detail=f"shows {now:%Y-%m-%d %H:%M}{wrong}", at=now)

    def doubted(self, samples: Sequence[Sample], now: datetime) -> Sequence[Sample]:
        """Samples as they are kept: uncertain while the clock cannot be right, as their times may be its own."""
        if now >= self._clock.earliest:
            return samples
        return [
            replace(s, quality=Quality.UNCERTAIN, reason="clock") if s.quality is Quality.GOOD else s for s in samples
        ]


def arrived(samples: Iterable[Sample], now: datetime) -> Iterator[Sample]:
    """Samples on their way to the lane: what was stamped before the clock was set back arrives now."""
    for sample in samples:
        yield replace(sample, arrived_at=now) if sample.arrived_at - now > SET_BACK else sample


def renewed(
    lane: FastLane, renew: Callable[[dict[str, Memory]], FastLane], back: timedelta
) -> tuple[FastLane, dict[str, Memory]]:
    """A new lane at a time that is so much earlier, and what its alarms remember."""
    memories = moved({name: alarm.memory for name, alarm in lane.alarms.items()}, -back)
    new = renew(memories)
    new.verdicts, new.placements = lane.verdicts, lane.placements
    return new, memories

"""Does a source still say anything at all?

All tags of a source silent is one lost source, not forty stale tags. A source is lost once it has said nothing for longer
than the shortest of its tags that was alive when it last spoke may be held. While it is silent, and for a tag's hold time
after it is back, the silence of its tags is the source's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from detectors.facts import Facts
from detectors.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from detectors.detector import Step
    from detectors.records import Sample

__all__ = ["Line", "Lost"]


class Line:
    """When a source last spoke, and each of its tags; `holds_s` says for how long each tag may be held."""

    def __init__(self, holds_s: Mapping[str, float]) -> None:
        # The longest time after which one of its tags reported the value that it had reported before.
        self.heartbeat = timedelta()
        self._holds = {tag: timedelta(seconds=hold_s) for tag, hold_s in holds_s.items()}
        self._shortest = min(self._holds.values(), default=timedelta.max)
        self._heard: dict[str, datetime] = {}
        self._spoke_at: datetime | None = None
        self._back_at: datetime | None = None

    @property
    def tags(self) -> int:
        """How many tags have been heard of."""
        return len(self._heard)

    def see(self, sample: Sample) -> None:
        """Takes a report of any tag of the source."""
        at = sample.arrived_at
        spoke_at = self._spoke_at
        # The shortest hold time of all comes first: who was alive is asked after a silence alone.
        if spoke_at is not None and at - spoke_at > self._shortest and at - spoke_at > self.patience:
            self._back_at = at
        self._spoke_at = self._heard[sample.tag] = at

    @property
    def spoke_at(self) -> datetime | None:
        """When the last report of any tag arrived."""
        return self._spoke_at

    @property
    def patience(self) -> timedelta:
        """For how long the source may say nothing: the shortest hold time of a tag that was alive when it last spoke."""
        spoke_at = self._spoke_at
        if spoke_at is None:
            return timedelta.max
        alive = (
            hold for tag, hold in self._holds.items() if tag in self._heard and spoke_at - self._heard[tag] <= hold
        )
        return min(alive, default=timedelta.max)

    def silence(self, at: datetime) -> timedelta | None:
        """For how long nothing came, up to `at`; None if nothing ever did."""
        return None if self._spoke_at is None else max(at - self._spoke_at, timedelta())

    def explains(self, tag: str, at: datetime) -> bool:
        """Whether the silence of a tag is that of its source: both fell silent together, or the source is just back."""
        spoke_at, heard_at, hold = self._spoke_at, self._heard.get(tag), self._holds[tag]
        if spoke_at is None or heard_at is None:
            return False
        if self._back_at is not None and at < self._back_at + hold:
            return True
        return spoke_at - heard_at <= hold and at - spoke_at > hold / 2


class Lost:
    """The source as a whole; the score is its silence in units of what may be."""

    rule = "lost"

    def __init__(self, line: Line, *, name: str) -> None:
        self._line = line
        self._name = name
        self._at: datetime | None = None

    def take(self, step: Step) -> None:
        """Takes the time from a step of any of the source's tags."""
        if self._at is None or step.end_at > self._at:
            self._at = step.end_at

    def judge(self) -> Verdict | None:
        """How long the source has been silent."""
        silence = None if self._at is None else self._line.silence(self._at)
        if self._at is None or silence is None:
            return None
        score = silence / self._line.patience
        return Verdict(
            tag=self._name,
            rule=self.rule,
            at=self._at,
            score=score,
            facts=Facts(figures=(("tags", float(self._line.tags)), ("silence_s", silence.total_seconds())))
            if score > 1
            else None,
        )

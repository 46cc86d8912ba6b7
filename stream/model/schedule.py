"""What is read and forecast now, so that the model lane never falls behind silently?

Every closed step of every tag asks for three things: to be forecast from by the panel, to be read (and scored) by the language
model, and to be forecast from by the language model. Costs are measured as they arise. Where they do not all fit into the time
there is, the language model's forecasts are thinned first: they take turns, the tags that have waited longest first. Where not
even reading fits, it leaves out the tags of the lowest priority, until there is room for them again; they are then read anew
from their windows. The panel's step comes before both, and is made for as many tags at a time as nobody minds waiting for. All
is counted, and said in one sentence.

Time is the machine's own, in seconds, and passed in. A replay has all the time it wants: there everything is read and
forecast at every step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from detectors.records import Alert, Window

__all__ = ["Schedule", "Spent", "Turn"]

SHARE = 0.9
"""Of the model lane's time that is given away; the rest is for what costs more than it did before."""
READING = 0.75
"""Share that reading may take: what is left of `SHARE` is kept for forecasts, so that each tag that is read gets some."""
ADMITTED = 0.65
"""Share up to which reading may grow by a tag that was left out: less than `READING`, so that it does not swing."""
SMOOTHING = 0.2
"""Weight of the newest cost in the running mean."""
FIRST = 4
"""Tags that are begun at once as long as nobody knows what one costs."""
TURN_S = 2.0
"""Scores may be late by so much, so that forecasts can be drawn together."""
QUICK = 3
"""So many turns without the language model's forecasts may come one after the other where steps close without a pause."""
SAID_EVERY_S = 30.0
"""The pace is said anew so often at most, unless scoring stops or starts for a tag."""


class Turn(NamedTuple):
    """One question to the model lane."""

    step: tuple[Window, ...] = ()
    """Windows that the panel learns and forecasts from: those of `forecast` are among them."""
    read: tuple[Window, ...] = ()
    """Windows that the language model reads."""
    forecast: tuple[Window, ...] = ()
    """Those of them that it forecasts from."""
    standing: frozenset[str] = frozenset()
    """Names of the alarms that stand on what is judged there."""
    raised: tuple[Alert, ...] = ()
    """New alerts, to be explained."""

    def __bool__(self) -> bool:
        return bool(self.step or self.read)


class Spent(NamedTuple):
    """What a turn cost, in seconds, and what came of it: values scored, the model's forecasts, the panel's."""

    read_s: float = 0.0
    forecast_s: float = 0.0
    step_s: float = 0.0
    scored: int = 0
    drawn: int = 0
    stepped: int = 0


class Schedule:
    """Decides turn by turn; `rank` orders tags, the most important first, `reads` says whether there is a language model."""

    def __init__(
        self, *, rank: Mapping[str, int], horizon: int, speed: float = 1.0, hurried: bool = True, reads: bool = True
    ) -> None:
        self._rank = rank
        self._reads = reads
        self._horizon = horizon
        self._speed = speed
        self._hurried = hurried
        self._windows: dict[str, Window] = {}
        self._place: dict[str, int] = {}
        self._period_s: dict[str, float] = {}
        self._shortest_s = math.inf
        self._often = 0.0
        self._unread: set[str] = set()
        self._due: set[str] = set()
        self._open: set[str] = set()
        self._served: dict[str, int] = {}
        self._stepped: dict[str, int] = {}
        self._count = 0
        self._warm: set[str] = set()
        self._refused: set[str] = set()
        self._kept: set[str] = set()
        self._score_s = self._begin_s = self._forecast_s = self._step_s = 0.0
        self._credit_s = 0.0
        self._quick = 0
        self._looked_at: float | None = None
        self._said = (True, "")
        self._said_at = -math.inf
        self.thinned = 0
        """Steps of tags that the language model did not forecast from, because a newer one came first."""
        self.unscored = 0
        """Steps of tags that it did not read: it was away, or there was no time or no memory for them."""
        self.skipped = 0
        """Steps of tags that the panel did not forecast from, because a newer one came first."""

    def offer(self, windows: Iterable[Window]) -> None:
        """Takes windows in which a step has closed; each takes the place of the last one of its tag."""
        windows = list(windows)
        self._find_places([window for window in windows if window.tag not in self._place])
        for window in windows:
            tag = window.tag
            before = self._windows.get(tag)
            # Steps that closed while a turn was under way were never offered on their own; reading catches up with them.
            # After the clock was set back there are none.
            between = 0 if before is None else max(_step(window) - _step(before) - 1, 0)
            if tag in self._warm:
                self.thinned += between + (tag in self._due)
            elif self._reads:
                self.unscored += between + (tag in self._unread)
            self.skipped += between + (tag in self._open)
            self._windows[tag] = window
            self._open.add(tag)
            if self._reads:
                self._unread.add(tag)
                self._due.add(tag)

    def turn(self, now: float, *, up: bool = True) -> Turn:
        """What to do now; nothing if nothing is due, or nothing of it can be afforded yet. `up`: the process is there."""
        if not self._hurried or not up:
            windows = tuple(self._ordered(self._open))
            self._open.clear()
            self._due.clear()
            if not up:
                self.lost()
                return Turn(windows)
            self._unread.clear()
            return Turn(windows, windows, windows) if self._reads else Turn(windows)
        supply = self._share(now)
        read = self._ordered(self._unread & self._warm & self._kept)
        begun = self._begin()
        follows = self._warm | {window.tag for window in begun}
        # What closed just now goes first; the language model's forecasts take long, and come in a turn of their own after it.
        busy = bool(self._open or read or begun)
        self._quick = self._quick + 1 if busy and self._quick < QUICK else 0
        chosen = [] if self._quick else self._choose(follows & self._kept, supply)
        self._unread -= {window.tag for window in (*read, *begun)}
        # What is left out waits for its next step; what is still to be begun will be forecast as soon as it is.
        self._due -= {window.tag for window in chosen}
        self._due &= self._kept
        return Turn(self._take_steps({window.tag for window in chosen}), (*read, *begun), tuple(chosen))

    @property
    def idle(self) -> bool:
        """Whether there is nothing left that a later turn could do without a new step."""
        return not self._due and not self._open

    def done(self, turn: Turn, spent: Spent, *, refused: Sequence[str] = ()) -> None:
        """Takes what a turn has cost, and the tags for which the model has no room."""
        self._refused = set(refused)
        begun = {window.tag for window in turn.read} - self._warm
        self._warm = (self._warm | begun) - self._refused
        if spent.scored:
            # What beginning texts took in the same turn is taken off, as far as it is known.
            score_s = max(spent.read_s - len(begun) * self._begin_s, 0.0) / spent.scored
            self._score_s = _mean(self._score_s, score_s)
        elif begun:
            self._begin_s = _mean(self._begin_s, spent.read_s / len(begun))
        if spent.stepped:
            self._step_s = _mean(self._step_s, spent.step_s / spent.stepped)
        if spent.drawn:
            self._forecast_s = _mean(self._forecast_s, spent.forecast_s / spent.drawn)
        self._credit_s -= spent.forecast_s

    def lost(self) -> None:
        """The model process is gone, and what it had read with it."""
        self._warm.clear()
        self._refused.clear()

    def pace(self, now: float) -> tuple[bool, str]:
        """Whether every tag is scored and has forecasts that reach as far as its next ones, and how it goes."""
        left_out = (
            [tag for tag in self._windows if tag not in self._kept or tag in self._refused] if self._reads else []
        )
        every, steps = self._every(), self._steps()
        if steps > 1:
            said = (
                steps <= self._horizon,
                f"every tag is forecast about every {_round(steps)} steps: a step of the panel takes {self._step_s:.2g} s a tag",
            )
        elif left_out:
            said = (
                False,
                (
                    f"{len(self._windows) - len(left_out)} of {len(self._windows)} tags are scored, those of the highest "
                    "priority; the language model has no part in the forecasts of the others"
                ),
            )
        elif not self._reads:
            said = True, "every tag is forecast at every step"
        elif every <= 1:
            said = True, "every tag is read and forecast at every step"
        else:
            said = (
                every <= self._horizon,
                (
                    f"every tag is read at every step and forecast by the language model about every {_round(every)} steps: "
                    f"that takes {self._forecast_s:.2g} s a tag"
                ),
            )
        changed = said[0] != self._said[0] or not self._said[1]
        if changed or now - self._said_at >= SAID_EVERY_S:
            self._said, self._said_at = said, now
        return self._said

    def _share(self, now: float) -> float:
        """Decides who is read, and adds what is left of the time since the last turn to the credit of forecasts."""
        used = self._stepping()
        kept: set[str] = set()
        for tag in self._place:
            if tag in self._refused:
                continue
            cost = self._score_s / self._period_s[tag]
            # The first one is read whatever that costs: how else would a cost that has gone down again be noticed?
            if not kept or used + cost <= (READING if tag in self._warm else ADMITTED):
                kept.add(tag)
                used += cost
        self._kept = kept if self._reads else set()
        supply = SHARE - min(used, READING)
        elapsed = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        # No more is saved up than one round of forecasts costs.
        most = self._forecast_s * max(len(kept), 1)
        self._credit_s = min(self._credit_s + elapsed * supply, most)
        return supply

    def _begin(self) -> list[Window]:
        """Tags to be read for the first time: as many as take half of the shortest period, one at least."""
        cold = self._ordered((self._unread & self._kept) - self._warm)
        if not cold or not self._begin_s:
            return cold[:FIRST]
        return cold[: max(int(self._shortest_s / 2 / self._begin_s), 1)]

    def _choose(self, follows: set[str], supply: float) -> list[Window]:
        """Tags to be forecast now: those whose last turn is longest ago, as far as the credit goes."""
        due = self._ordered(self._due & follows)
        due.sort(key=lambda w: self._served.get(w.tag, 0))
        if not due:
            return []
        if not self._forecast_s:
            count = 1
        elif self._every() <= 1:
            count = len(due)
        else:
            # Several tags at once cost less than one after the other, so credit is saved up for as many as make a turn;
            # but a turn is no longer than a step, or than nobody minds, so that reading stays on time.
            longest = max(self._shortest_s * supply, TURN_S)
            together = min(max(int(longest / self._forecast_s), 1), len(due))
            count = together if self._credit_s >= together * self._forecast_s - 1e-9 else 0
        chosen = due[:count]
        for window in chosen:
            self._count += 1
            self._served[window.tag] = self._count
        return chosen

    def _every(self) -> float:
        """Steps from one forecast of a tag to its next one that there is time for; at least 1."""
        often = sum(1 / self._period_s[tag] for tag in self._kept)
        used, wished = self._stepping() + self._score_s * often, self._forecast_s * often
        return max(wished / (SHARE - min(used, READING)), 1.0)

    def _stepping(self) -> float:
        """Share of the time that the panel takes for every step of every tag."""
        return self._step_s * self._often

    def _steps(self) -> float:
        """Steps from one forecast of the panel to its next one that there is time for; at least 1."""
        return max(self._stepping() / READING, 1.0)

    def _take_steps(self, also: set[str]) -> tuple[Window, ...]:
        """Windows for the panel: those whose last turn is longest ago, as many as nobody minds waiting for; and `also`."""
        most = len(self._open)
        if self._step_s:
            most = max(int(max(self._shortest_s / 2, TURN_S / 2) / self._step_s), 1)
        waiting = self._ordered(self._open)
        if len(waiting) > most:
            waiting = sorted(waiting, key=lambda window: self._stepped.get(window.tag, 0))[:most]
        tags = {window.tag for window in waiting}
        self._open -= tags
        self._count += 1
        self._stepped |= dict.fromkeys(tags, self._count)
        return tuple(self._ordered(tags | also))

    def _ordered(self, tags: Iterable[str]) -> list[Window]:
        return [self._windows[tag] for tag in sorted(tags, key=self._place.__getitem__)]

    def _find_places(self, new: Sequence[Window]) -> None:
        """Tags that are new here: all places follow from the ranks, and from the names where there are none."""
        if not new:
            return
        last = len(self._rank)
        tags = sorted((*self._place, *(w.tag for w in new)), key=lambda tag: (self._rank.get(tag, last), tag))
        self._place = {tag: place for place, tag in enumerate(tags)}
        self._period_s |= {window.tag: window.period_s / self._speed for window in new}
        self._shortest_s = min(self._period_s.values())
        self._often = sum(1 / period_s for period_s in self._period_s.values())


def _step(window: Window) -> int:
    return round(window.end_at.timestamp() / window.period_s)


def _mean(before: float, new: float) -> float:
    return new if not before else before + SMOOTHING * (new - before)


def _round(steps: float) -> int:
    """A figure that does not change with every breath: 2, 3, 4, 5, 6, 8, 10, 12, 15, 20 ..."""
    nice = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
    return next((n for n in nice if n >= steps - 0.25), round(steps / 100) * 100)

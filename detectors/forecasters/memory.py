"""What is known of each tag beyond the window? The latest steps, as many as a limit allows, holes as NaN.

Windows overlap: of each one only the steps that are new since the last one of its tag are taken. A step that must not be learnt
from is kept as a hole, so that the time axis is never squeezed. What `history` returns is a snapshot that no later step
changes, so a slow fit may read it in another thread.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from detectors.records import Window

__all__ = ["LONGEST_GAP", "Addition", "History", "Memory", "continuation", "pack", "unpack"]

LONGEST_GAP = 1000
"""A gap of at most so many steps is kept as holes; behind a longer one the memory of the tag begins anew."""
OFF_GRID = 1e-3
"""Share of a period by which a moment may miss the grid of the steps before it."""
_VERSION = 1
_MARK = "givre memory"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """The steps known of one tag, oldest first; `values[-1]` is that at `end_at`. The array is read-only."""

    tag: str
    period_s: float
    end_at: datetime
    values: NDArray[np.float64]

    def at(self, index: int) -> datetime:
        """Moment of `values[index]`; negative indices count from behind."""
        back = len(self.values) - 1 - (index if index >= 0 else index + len(self.values))
        return self.end_at - timedelta(seconds=back * self.period_s)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Addition:
    """What one window added to the memory of its tag: the new steps, oldest first, holes as NaN.

    `restarted` marks a memory that was begun anew (or for the first time) with these steps: what was derived from the former
    ones step by step no longer holds.
    """

    tag: str
    values: NDArray[np.float64]
    restarted: bool


def continuation(window: Window, end_at: datetime, period_s: float) -> int | None:
    """By how many steps a window goes on from the step at `end_at`; None if it lies before it, or on another grid."""
    if window.period_s != period_s:
        return None
    exact = (window.end_at - end_at).total_seconds() / period_s
    steps = round(exact)
    return steps if steps >= 0 and abs(exact - steps) <= OFF_GRID else None


class Memory:
    """The latest `limit` steps of each tag."""

    def __init__(self, *, limit: int, longest_gap: int = LONGEST_GAP) -> None:
        if limit < 1:
            raise ValueError(f"memory: expected a limit of at least 1 step, found {limit}")
        self.limit = limit
        self._longest_gap = min(longest_gap, limit)
        self._shelves: dict[str, _Shelf] = {}

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that anything is known of."""
        return tuple(self._shelves)

    def learn(self, windows: Sequence[Window]) -> list[Addition]:
        """Takes the new steps of each window; what was added, in order."""
        return [self._learn(window) for window in windows]

    def history(self, tag: str) -> History | None:
        """A snapshot; None for a tag that was never learnt."""
        shelf = self._shelves.get(tag)
        return None if shelf is None else shelf.latest

    def forget(self, tag: str) -> None:
        """Nothing is known of a tag any more."""
        self._shelves.pop(tag, None)

    def save(self) -> bytes:
        """All that is known, for `restore`."""
        found = [shelf.latest for shelf in self._shelves.values()]
        about = [{"tag": h.tag, "period_s": h.period_s, "end_at": h.end_at.isoformat()} for h in found]
        return pack(_MARK, _VERSION, about, {str(i): h.values for i, h in enumerate(found)})

    def restore(self, saved: bytes) -> None:
        """Takes the place of all that is known; raises ValueError for what `save` did not write."""
        about, arrays = unpack(_MARK, _VERSION, saved)
        try:
            shelves = {
                str(one["tag"]): _Shelf(
                    History(
                        tag=str(one["tag"]),
                        period_s=float(one["period_s"]),
                        end_at=datetime.fromisoformat(one["end_at"]),
                        values=arrays[str(i)].astype(np.float64)[-self.limit :],
                    )
                )
                for i, one in enumerate(about)
            }
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{_MARK}: expected what save() wrote, found a damaged one ({error!r})") from error
        self._shelves = shelves

    def _learn(self, window: Window) -> Addition:
        shelf = self._shelves.get(window.tag)
        steps = None if shelf is None else continuation(window, shelf.latest.end_at, shelf.latest.period_s)
        gap = 0 if steps is None else steps - len(window.values)
        if shelf is None or steps is None or gap > self._longest_gap:
            fresh = _learnable(window, min(len(window.values), self.limit))
            first = History(tag=window.tag, period_s=window.period_s, end_at=window.end_at, values=fresh)
            self._shelves[window.tag] = _Shelf(first)
            return Addition(tag=window.tag, values=fresh, restarted=True)
        fresh = _learnable(window, min(steps, len(window.values), self.limit))
        if gap > 0:
            fresh = np.concatenate((np.full(gap, np.nan), fresh))[-self.limit :]
        if steps:
            shelf.append(fresh, window.end_at, self.limit)
        return Addition(tag=window.tag, values=fresh, restarted=False)


class _Shelf:
    """Room for twice the limit: steps are written behind the last one, and what is written is never written over."""

    __slots__ = ("_end", "_room", "latest")

    def __init__(self, first: History) -> None:
        self._room = first.values
        self._end = len(self._room)
        self._room.flags.writeable = False
        self.latest = first

    def append(self, fresh: NDArray[np.float64], end_at: datetime, limit: int) -> None:
        if self._end + len(fresh) > len(self._room):
            kept = self.latest.values[-limit:]
            room = np.empty(min(max(2 * (len(kept) + len(fresh)), 64), 2 * limit + len(fresh)))
            room[: len(kept)] = kept
            # A snapshot taken before still holds the former array.
            self._room, self._end = room, len(kept)
        self._room[self._end : self._end + len(fresh)] = fresh
        self._end += len(fresh)
        values = self._room[max(self._end - limit, 0) : self._end]
        values.flags.writeable = False
        self.latest = History(tag=self.latest.tag, period_s=self.latest.period_s, end_at=end_at, values=values)


def pack(mark: str, version: int, about: object, arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """Arrays and what is said of them (anything JSON can hold), under the name and version of their form; no pickle."""
    header = json.dumps({"form": mark, "version": version, "about": about})
    out = io.BytesIO()
    np.savez(out, header=np.frombuffer(header.encode(), dtype=np.uint8), **{f"a_{k}": v for k, v in arrays.items()})  # type: ignore[arg-type] # the stub takes the names of arrays for its own settings
    return out.getvalue()


def unpack(mark: str, version: int, saved: bytes) -> tuple[Any, dict[str, NDArray[np.generic]]]:
    """What `pack` was given; raises ValueError for anything else, or for another form or version."""
    try:
        with np.load(io.BytesIO(saved), allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            arrays = {name.removeprefix("a_"): file[name] for name in file.files if name != "header"}
        found = f"{header['form']} version {header['version']}"
        about = header["about"]
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{mark}: expected what save() wrote, found {len(saved)} bytes of something else") from error
    if found != f"{mark} version {version}":
        raise ValueError(f"{mark}: expected version {version} of it, found {found}; it is learnt anew from history")
    return about, arrays


def _learnable(window: Window, count: int) -> NDArray[np.float64]:
    """The last steps of a window, with a hole for each that must not be learnt from."""
    if not count:
        return np.empty(0)
    values = np.array(window.values[-count:], dtype=np.float64)
    if window.normal:
        values[~np.array(window.normal[-count:], dtype=bool)] = np.nan
    values[~np.isfinite(values)] = np.nan
    return values

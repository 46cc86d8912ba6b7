"""What was forecast of the steps to come, and how did each member do so far? One row of each array per tag.

A forecast of lead h made at step s waits at step s + h; the ring holds as many steps as the horizon is long, so its size does not
depend on how long it has run. Steps are counted from the first window of a tag, across restarts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.forecasters.memory import continuation
from detectors.records import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from detectors.records import Window

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

__all__ = ["MOST_LEADS", "Ledger", "Place", "scored_leads"]

MOST_LEADS = 24
"""A longer horizon is scored at so many leads, near ones closer together; those between take after the nearest."""
_MEMBER_AXIS = {"weights": 2, "waiting": 3, "latest": 1, "latest_step": 1}
"""Which axis of an array is that of the members, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a tag stands: the row of its arrays, and its last learnt step with the moment of it."""

    row: int
    step: int
    end_at: datetime
    period_s: float


class Ledger:
    """Arrays over (rows, scored leads, ...); `columns` forecasts are kept of each step: the members', and two of the panel."""

    def __init__(self, *, members: int, horizon: int) -> None:
        self.members = members
        self.horizon = horizon
        self.leads = scored_leads(horizon)
        self.nearest = np.abs(np.arange(1, horizon + 1)[:, None] - self.leads).argmin(axis=1)
        self.places: dict[str, Place] = {}
        self._slots = horizon + 1
        leads, levels = len(self.leads), len(LEVELS)
        self.arrays: dict[str, NDArray[Any]] = {
            "weights": np.full((0, leads, members), 1.0 / members),
            "widths": np.zeros((0, leads, levels)),
            "surplus": np.zeros((0, leads, levels)),
            # Forgetting sums: steps, inside 80 %, inside 90 %, pinball of the panel and of the yardstick.
            "sums": np.zeros((0, leads, 5)),
            "steps": np.zeros((0, leads), dtype=np.int64),
            # Spread and resolution of the tag, and the length of the window that told.
            "scale": np.zeros((0, 3)),
            "waiting": np.full((0, self._slots, leads, members + 2, levels), np.nan),
            "due": np.full((0, self._slots, leads), -1, dtype=np.int64),
            "latest": np.full((0, members, horizon, levels), np.nan),
            "latest_step": np.full((0, members), -1, dtype=np.int64),
        }

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def advance(self, window: Window) -> tuple[int, int]:
        """The row of a window's tag, and how many of its last steps are new; none where a tag is new or begins anew."""
        place = self.places.get(window.tag)
        steps = None if place is None else continuation(window, place.end_at, place.period_s)
        if place is None:
            row, step = len(self.places), 0
            self._make_room(row + 1)
        elif steps is None:
            # What was forecast on the former grid is of no step of this one; whom to trust is not forgotten.
            row, step = place.row, place.step + self._slots
            self["due"][row] = -1
            self["latest_step"][row] = -1
        else:
            row, step = place.row, place.step + steps
        self.places[window.tag] = Place(row=row, step=step, end_at=window.end_at, period_s=window.period_s)
        return row, min(steps or 0, len(window.values), self._slots)

    def locate(self, window: Window) -> tuple[int, int] | None:
        """Row and step of a window's end; None for a tag never learnt, or a window that does not go on from what was."""
        place = self.places.get(window.tag)
        if place is None or (steps := continuation(window, place.end_at, place.period_s)) is None:
            return None
        return place.row, place.step + steps

    def write(self, rows: Rows, steps: Rows, quantiles: Array) -> None:
        """Keeps what was forecast at `steps` (n,): (n, leads from 1 on, members + 2, levels), not more than the horizon."""
        scored = self.leads[self.leads <= quantiles.shape[1]]
        due = steps[:, None] + scored
        slots, leads = due % self._slots, np.arange(len(scored))
        self["waiting"][rows[:, None], slots, leads] = quantiles[:, scored - 1]
        self["due"][rows[:, None], slots, leads] = due

    def keep(self, rows: Rows, steps: Rows, member: int, quantiles: Array) -> None:
        """A member's latest forecasts (n, leads from 1 on, levels), to stand in for it later."""
        self["latest"][rows, member] = np.nan
        self["latest"][rows, member, : quantiles.shape[1]] = quantiles
        self["latest_step"][rows, member] = steps

    def read(self, rows: Rows, steps: Rows) -> Array:
        """What had been forecast of `steps` (n,) at each scored lead, NaN where nothing: (n, leads, members + 2, levels)."""
        slots = steps % self._slots
        valid = self["due"][rows, slots] == steps[:, None]
        found: Array = np.where(valid[..., None, None], self["waiting"][rows, slots], np.nan)
        return found

    def stand_in(self, rows: Rows, steps: Rows, member: int) -> Array:
        """A member's last forecast moved on to `steps`: its later leads, NaN beyond them: (n, horizon, levels)."""
        age = steps - self["latest_step"][rows, member]
        old = self["latest_step"][rows, member] >= 0
        lead = np.arange(self.horizon) + age[:, None]
        usable = old[:, None] & (age[:, None] >= 0) & (lead < self.horizon)
        taken = self["latest"][rows[:, None], member, np.where(usable, lead, 0)]
        found: Array = np.where(usable[..., None], taken, np.nan)
        return found

    def widened(self, horizon: int) -> Ledger:
        """A ledger for a longer horizon: what waits is given up, what was learnt of each lead is that of the nearest."""
        other = Ledger(members=self.members, horizon=horizon)
        other._make_room(len(self.places))
        other.places = dict(self.places)
        source = np.abs(other.leads[:, None] - self.leads).argmin(axis=1)
        for name in ("weights", "widths", "surplus", "sums", "steps"):
            other.arrays[name][: len(self.places)] = self[name][: len(self.places), source]
        other.arrays["scale"][: len(self.places)] = self["scale"][: len(self.places)]
        return other

    def saved(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What is said of the arrays, and the arrays."""
        tags = [
            {"tag": tag, "row": one.row, "step": one.step, "end_at": one.end_at.isoformat(), "period_s": one.period_s}
            for tag, one in self.places.items()
        ]
        return {"horizon": self.horizon, "tags": tags}, {
            name: array[: len(tags)] for name, array in self.arrays.items()
        }

    @classmethod
    def restored(cls, about: dict[str, Any], arrays: dict[str, NDArray[Any]], source: Sequence[int | None]) -> Ledger:
        """What was saved, with member i in the place of the former member `source[i]` (None: it is new).

        Raises KeyError, TypeError, ValueError or IndexError for what is no saved ledger.
        """
        ledger = cls(members=len(source), horizon=int(about["horizon"]))
        ledger._make_room(len(about["tags"]))
        count = len(ledger["scale"])
        if sorted(int(one["row"]) for one in about["tags"]) != list(range(len(about["tags"]))):
            raise ValueError("rows of the tags are not those of the arrays")
        former = np.array([i for i in source if i is not None], dtype=np.int64)
        here = np.array([k for k, i in enumerate(source) if i is not None], dtype=np.int64)
        for name, array in ledger.arrays.items():
            old = arrays[name][:count]
            axis = _MEMBER_AXIS.get(name)
            if axis is None:
                array[: len(old)] = old
                continue
            target = np.moveaxis(array, axis, 0)
            target[here, : len(old)] = np.moveaxis(old, axis, 0)[former]
            if name == "waiting":
                target[-2:, : len(old)] = np.moveaxis(old, axis, 0)[-2:]
        if len(former) < max(len(source), arrays["weights"].shape[2]):
            ledger["weights"][:] /= ledger["weights"].sum(axis=-1, keepdims=True)
        ledger.places = {
            str(one["tag"]): Place(
                row=int(one["row"]),
                step=int(one["step"]),
                end_at=datetime.fromisoformat(one["end_at"]),
                period_s=float(one["period_s"]),
            )
            for one in about["tags"]
        }
        return ledger

    def _make_room(self, rows: int) -> None:
        """Room for so many tags, half as many again at a time."""
        have = len(self["scale"])
        if rows <= have:
            return
        fresh = self._blank(max(rows, have + have // 2 + 4) - have)
        self.arrays = {name: np.concatenate((array, fresh[name])) for name, array in self.arrays.items()}

    def _blank(self, rows: int) -> dict[str, NDArray[Any]]:
        fill = {"weights": 1.0 / self.members, "waiting": np.nan, "latest": np.nan, "due": -1, "latest_step": -1}
        return {
            name: np.full((rows, *array.shape[1:]), fill.get(name, 0), dtype=array.dtype)
            for name, array in self.arrays.items()
        }


def scored_leads(horizon: int) -> NDArray[np.int64]:
    """The leads that are scored: all up to `MOST_LEADS`, and of a longer horizon so many, evenly spaced in proportion."""
    if horizon < 1:
        raise ValueError(f"panel: expected a horizon of at least 1 step, found {horizon}")
    if horizon <= MOST_LEADS:
        return np.arange(1, horizon + 1)
    return np.unique(np.round(np.geomspace(1, horizon, MOST_LEADS)).astype(np.int64))

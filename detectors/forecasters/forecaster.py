"""What every forecaster promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.records import Forecast, Window

__all__ = ["Forecaster", "Learner"]


class Forecaster(Protocol):
    """Windows in, predictive distributions out.

    Obligations, each a case of `tests/contract/test_forecaster.py`:

    - one forecast per window that it can say something of, in the order given; a window of holes alone gets none, and a
      forecaster may ask for more than one value (its class says how many, and where);
    - exactly `horizon` steps each, finite, quantiles sorted, whatever the window holds: constant, tiny, huge, holes;
    - timestamps are those of the window's grid;
    - it may keep a cache between calls, but the answer depends on the windows (and the seed) alone: a forecaster made
      anew and given the same windows answers the same within float tolerance;
    - steps that are not `normal` have no say once things are normal again (`Window.heeded`); while they are not, it may forecast
      from them or give none;
    - a window that is no continuation of the last one of its tag (a gap, a restart, another tag set) is simply read anew.
    """

    @property
    def name(self) -> str:
        """Short name, the label `forecaster` in the database."""

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """Forecasts of the next `horizon` steps of each window."""


@runtime_checkable
class Learner(Forecaster, Protocol):
    """A forecaster with a memory beyond the window, which it also forecasts from.

    Further obligations, each a case of the same suite:

    - `learn` is called at every step, before `forecast`, and is cheap; what has to be fitted slowly is fitted in `refit`;
    - it answers before it has learnt or fitted anything, with an honestly wide band, and after `learn` from the windows
      and what was learnt alone;
    - steps that are not `normal` are holes to it: two histories that differ in them alone teach the same;
    - its memory is bounded, whatever the number of steps;
    - `refit` may run in another thread beside `learn` and `forecast`: it reads a snapshot of the memory, and what it has found
      takes effect in one assignment;
    - `restore(save())` in a learner made anew gives the same forecasts from then on.
    """

    def learn(self, windows: Sequence[Window]) -> None:
        """Takes the new steps of each window (of any length) into the memory of its tag.

        A window that continues the last one of its tag adds the steps that are new. One that does not fills a small gap with
        holes, or begins the memory of that tag anew (`detectors.forecasters.memory.Memory`).
        """

    @property
    def due(self) -> tuple[str, ...]:
        """Tags whose `refit` is worth its while by now."""

    def refit(self, tag: str) -> None:
        """The slow fit of one tag, from its memory; nothing for a tag that is unknown or of which too little is known."""

    def save(self) -> bytes:
        """The whole memory and what was fitted, with the version of its form; read by nothing but `restore`."""

    def restore(self, saved: bytes) -> None:
        """Takes the place of all that was learnt. Raises ValueError, and changes nothing, for what `save` did not write."""

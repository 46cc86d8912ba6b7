"""What every forecaster promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.records import Forecast, Window

__all__ = ["Forecaster"]


class Forecaster(Protocol):
    """Windows in, predictive distributions out.

    Obligations, each a case of `tests/contract/test_forecaster.py`:

    - one forecast per window that it can say something of, in the order given; a window of holes alone gets none, and a
      forecaster may ask for more than one value (its class says how many, and where);
    - exactly `horizon` steps each, finite, quantiles sorted, whatever the window holds: constant, tiny, huge, holes;
    - timestamps are those of the window's grid;
    - it may keep a cache between calls, but the answer depends on the windows (and the seed) alone: a forecaster made
      anew and given the same windows answers the same within float tolerance;
    - a window that is no continuation of the last one of its tag (a gap, a restart, another tag set) is simply read anew.
    """

    @property
    def name(self) -> str:
        """Short name, the label `forecaster` in the database."""

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        """Forecasts of the next `horizon` steps of each window."""

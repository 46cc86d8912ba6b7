"""Does the heat that is measured agree with the water that carries it?

Power against rho * cp * flow * (warm - cold), as means over `steady_s`, in which the liquid has had time to pass the plant.
Nothing is judged where the flow or the difference of temperatures is too small for the balance to say anything, or where
either side is still moving. Where the balance does not hold, the tag that disagrees is the one that would be back where it
was lately, if it showed what the other three say it should.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detectors.facts import Facts, Part
from detectors.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from detectors.detector import Step

__all__ = ["Balance", "HeatBalance", "Quantity"]

AWAITED_ROWS = 512
"""Moments of which not every tag has been heard yet; the oldest is given up."""
AGREED = 0.4
"""Up to this score a moment says how the tags usually stand."""
MEMORY = 0.003
"""Weight of a new moment in what is usual."""
KNOWN = 30
"""Moments after which it is known what is usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A tag and how its unit becomes SI's: value * factor + offset gives kW, m3/s or K."""

    tag: str
    factor: float
    offset: float = 0.0
    unit: str = ""

    def si(self, value: float) -> float:
        """In kW, m3/s or K."""
        return value * self.factor + self.offset

    def shown(self, si: float) -> float:
        """Back in the tag's unit."""
        return (si - self.offset) / self.factor


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatBalance:
    """The rule: `volumetric` is rho * cp in kJ/(m3 K), `tolerance` a share of the heat carried, minima in kW, m3/s and K."""

    power: Quantity
    flow: Quantity
    warm: Quantity
    cold: Quantity
    volumetric: float
    tolerance: float
    minimum_kw: float
    min_flow: float
    min_difference: float
    steady_s: float

    @property
    def quantities(self) -> tuple[Quantity, Quantity, Quantity, Quantity]:
        """Power, flow, warm and cold side."""
        return self.power, self.flow, self.warm, self.cold


_Row = tuple[float, float, float, float]


class Balance:
    """The balance of one exchanger, judged at the steps that its four tags share."""

    rule = "balance"

    def __init__(self, balance: HeatBalance, *, period_s: float) -> None:
        self._balance = balance
        self._places = {quantity.tag: i for i, quantity in enumerate(balance.quantities)}
        self._awaited: dict[datetime, dict[int, float | None]] = {}
        self._rows: deque[_Row | None] = deque(maxlen=max(2, round(balance.steady_s / period_s)))
        self._usual: list[float] = []
        self._spread = [0.0] * 4
        self._agreed = 0
        self._verdict: Verdict | None = None

    def take(self, step: Step) -> None:
        """Takes a step of one of the four tags; the moment is looked at once it has all four."""
        row = self._awaited.setdefault(step.end_at, {})
        row[self._places[step.tag]] = step.value
        if len(row) == len(self._places):
            for moment in [moment for moment in self._awaited if moment <= step.end_at]:
                del self._awaited[moment]
            self._look(row, step.end_at)
        elif len(self._awaited) > AWAITED_ROWS:
            del self._awaited[min(self._awaited)]

    def judge(self) -> Verdict | None:
        """Verdict on the latest moment, once; None where nothing can be said of it."""
        verdict, self._verdict = self._verdict, None
        return verdict

    def _look(self, row: dict[int, float | None], at: datetime) -> None:
        rule = self._balance
        values = [row[i] for i in range(4)]
        known = [q.si(v) for q, v in zip(rule.quantities, values, strict=True) if v is not None]
        self._rows.append((known[0], known[1], known[2], known[3]) if len(known) == len(values) else None)
        self._verdict = None
        rows = [r for r in self._rows if r is not None]
        if len(rows) != self._rows.maxlen:
            return
        power, flow, warm, cold = mean = _mean(rows)
        if flow < rule.min_flow or abs(warm - cold) < rule.min_difference:
            return
        carried = _mean_of(self._carried(r) for r in rows)
        allowed = max(rule.tolerance * abs(carried), rule.minimum_kw)
        half = len(rows) // 2
        early, late = rows[:half], rows[-half:]
        moved = max(
            abs(_mean_of(self._carried(r) for r in late) - _mean_of(self._carried(r) for r in early)),
            abs(_mean_of(r[0] for r in late) - _mean_of(r[0] for r in early)),
        )
        if moved > allowed:
            return
        score = abs(power - carried) / allowed
        shown = rule.power.shown
        self._verdict = Verdict(
            tag=rule.power.tag,
            rule=self.rule,
            at=at,
            score=score,
            value=shown(power),
            low=shown(carried - allowed),
            high=shown(carried + allowed),
            facts=self._explain(mean, carried) if score > 1 else None,
        )
        if score <= AGREED:
            self._remember(mean)

    def _carried(self, row: _Row) -> float:
        _, flow, warm, cold = row
        return self._balance.volumetric * flow * (warm - cold)

    def _explain(self, mean: _Row, carried: float) -> Facts:
        rule = self._balance
        figures = (("carried", rule.power.shown(carried)),)
        implied = self._implied(mean)
        if self._agreed < KNOWN:
            return Facts(figures=figures)
        gains = [
            (abs(found - usual) - abs(wanted - usual)) / spread
            for found, wanted, usual, spread in zip(mean, implied, self._usual, self._spread, strict=True)
        ]
        worst = max(range(4), key=gains.__getitem__)
        quantity = rule.quantities[worst]
        disagrees = Part(
            tag=quantity.tag,
            value=quantity.shown(mean[worst]),
            expected=quantity.shown(implied[worst]),
            usual=quantity.shown(self._usual[worst]),
            unit=quantity.unit,
        )
        return Facts(figures=figures, parts=(disagrees,))

    def _implied(self, mean: _Row) -> _Row:
        """What each would show if the other three were right."""
        power, flow, warm, cold = mean
        volumetric = self._balance.volumetric
        difference = power / (volumetric * flow)
        return (
            volumetric * flow * (warm - cold),
            power / (volumetric * (warm - cold)),
            cold + difference,
            warm - difference,
        )

    def _remember(self, mean: _Row) -> None:
        if not self._usual:
            self._usual = list(mean)
        self._agreed += 1
        weight = max(MEMORY, 1 / self._agreed)
        power, flow, warm, cold = mean
        # A tag that has stood still has a spread all the same, of as much as moves the balance by a hundredth.
        least = (abs(power), flow, abs(warm - cold), abs(warm - cold))
        for i, value in enumerate(mean):
            off = abs(value - self._usual[i])
            self._usual[i] += weight * (value - self._usual[i])
            self._spread[i] = max((1 - weight) * self._spread[i] + weight * off, 1e-2 * least[i])


def _mean(rows: list[_Row]) -> _Row:
    count = len(rows)
    power, flow, warm, cold = (sum(column) / count for column in zip(*rows, strict=True))
    return power, flow, warm, cold


def _mean_of(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)

"""How fast a value may change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from detectors.detector import Step
from detectors.rate import Rate

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def fed(
    values: list[float | None], *, direction: Literal["both", "rising", "falling"] = "both", over_s: float = 30
) -> Rate:
    rate = Rate(per_minute=2.0, over_s=over_s, period_s=10, direction=direction)
    for i, value in enumerate(values):
        rate.take(Step(tag="hx/t", end_at=T0 + timedelta(seconds=10 * i), value=value, age_s=0.0))
    return rate


def test_the_rate_is_that_over_the_span_in_units_of_what_is_allowed() -> None:
    verdict = fed([9.0, 1.0, 5.0, 0.0, 3.0]).judge()
    assert verdict is not None
    assert verdict.score == pytest.approx(2.0), "2 in 30 s are 4 a minute"
    assert verdict.facts is not None
    assert dict(verdict.facts.figures) == pytest.approx({"per_minute": 4, "allowed_per_minute": 2, "over_s": 30})


def test_there_is_no_verdict_before_the_span_is_full_nor_over_a_hole() -> None:
    assert fed([1.0, 2.0, 3.0]).judge() is None
    assert fed([None, 2.0, 3.0, 4.0]).judge() is None
    assert fed([1.0, None, 3.0, 4.0]).judge() is not None
    assert fed([]).judge() is None


@pytest.mark.parametrize(("direction", "score"), [("rising", 0.0), ("falling", 3.0), ("both", 3.0)])
def test_a_direction_counts_alone(direction: Literal["both", "rising", "falling"], score: float) -> None:
    verdict = fed([3.0, 2.0, 1.0, 0.0], direction=direction).judge()
    assert verdict is not None
    assert verdict.score == pytest.approx(score)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate(per_minute=0, over_s=10, period_s=10)

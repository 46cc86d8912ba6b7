"""What was lost is said with its times."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stream.journal.loss import Loss, lost_words

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@st.composite
def losses(draw: st.DrawFn) -> Loss:
    begin, end = sorted((draw(MOMENTS), draw(MOMENTS)))
    return Loss(count=draw(st.integers(1, 10**9)), begin=begin, end=end)


@given(losses(), losses())
def test_two_losses_together_are_one_from_the_first_to_the_last(one: Loss, other: Loss) -> None:
    both = one | other
    assert both == other | one
    assert both.count == one.count + other.count
    assert (both.begin, both.end) == (min(one.begin, other.begin), max(one.end, other.end))
    assert one | None == one


def test_it_is_said_by_kind_with_from_and_to() -> None:
    span = {"begin": datetime(2026, 1, 1, 8, tzinfo=UTC), "end": datetime(2026, 1, 1, 8, 20, tzinfo=UTC)}
    assert lost_words({"sample": Loss(count=1200, **span), "forecast": Loss(count=7, **span)}) == (
        "7 forecast, 2026-01-01 08:00:00 to 2026-01-01 08:20:00 UTC; "
        "1200 sample, 2026-01-01 08:00:00 to 2026-01-01 08:20:00 UTC"
    )

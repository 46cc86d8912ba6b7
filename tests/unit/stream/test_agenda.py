"""What falls due: the earliest first, in a fixed order within a moment, whatever was put off or called off before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from stream.agenda import SPARE, Agenda

T0 = datetime(2026, 11, 27, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def test_nothing_is_due_where_nothing_was_set() -> None:
    agenda = Agenda()
    assert agenda.next_at is None
    assert agenda.take(at(10)) == []


def test_what_is_due_comes_once_and_the_rest_stays() -> None:
    agenda = Agenda()
    for name, due in (("b", 2), ("a", 1), ("c", 3)):
        agenda.set(name, at(due))
    assert agenda.take(at(2)) == ["a", "b"]
    assert agenda.take(at(2)) == []
    assert agenda.next_at == at(3)
    assert "c" in agenda
    assert "a" not in agenda


def test_within_a_moment_the_order_is_that_of_the_names_and_not_of_the_calls() -> None:
    agenda = Agenda(["c", "a", "b"])
    for name in "abc":
        agenda.set(name, at(1))
    assert agenda.take(at(1)) == ["c", "a", "b"]


def test_what_is_put_off_or_called_off_does_not_come_at_its_old_time() -> None:
    agenda = Agenda()
    agenda.set("a", at(1))
    agenda.set("b", at(1))
    agenda.set("a", at(5))
    agenda.set("b", None)
    assert agenda.next_at == at(5)
    assert agenda.take(at(4)) == []
    assert agenda.take(at(5)) == ["a"]


def test_what_is_put_off_again_and_again_takes_no_room() -> None:
    agenda = Agenda()
    for second in range(10_000):
        agenda.set("a", at(second))
    assert len(agenda._heap) <= 2 + SPARE


ORDERS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.one_of(st.none(), st.integers(0, 9)), st.booleans()), max_size=40
)


@given(ORDERS)
def test_it_goes_as_looking_at_all_of_them_each_time_would(orders: list[tuple[str, int | None, bool]]) -> None:
    agenda, dues, now = Agenda("edcba"), dict[str, int](), 0
    for name, due, takes in orders:
        agenda.set(name, None if due is None else at(now + due))
        if due is None:
            dues.pop(name, None)
        else:
            dues[name] = now + due
        assert agenda.next_at == (at(min(dues.values())) if dues else None)
        if takes:
            now += 3
            expected = sorted((n for n, d in dues.items() if d <= now), key=lambda n: (dues[n], -ord(n)))
            assert agenda.take(at(now)) == expected
            dues = {n: d for n, d in dues.items() if d > now}

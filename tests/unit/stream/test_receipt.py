"""Messages that come again: known by their packet identifier and content, over a restart too, and never taken for another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from stream.mqtt.message import Message
from stream.sources.receipt import Receipts, prefix

T0 = datetime(2026, 11, 27, 8, tzinfo=UTC)
LATER = T0 + timedelta(seconds=3)


def message(text: str = "5.0", mid: int = 7, *, topic: str = "plant/flow", resent: bool = False) -> Message:
    return Message(topic=topic, payload=text.encode(), retained=False, mid=mid, resent=resent)


def test_a_message_that_comes_again_came_when_it_came_first() -> None:
    receipts = Receipts("plc", {})
    receipts.note(message(), T0)
    assert receipts.arrival(message(resent=True), LATER) == T0


def test_it_is_known_after_a_restart_from_what_was_to_be_kept() -> None:
    kept = Receipts("plc", {}).note(message(), T0)
    assert list(kept) == [prefix("plc") + "7"]
    assert Receipts("plc", kept).arrival(message(resent=True), LATER) == T0


def test_another_message_under_its_number_is_new() -> None:
    receipts = Receipts("plc", {})
    receipts.note(message(), T0)
    assert receipts.arrival(message("5.1", resent=True), LATER) == LATER
    assert receipts.arrival(message(topic="plant/power", resent=True), LATER) == LATER
    assert receipts.arrival(message(mid=8, resent=True), LATER) == LATER


def test_what_the_broker_sends_for_the_first_time_is_new_whatever_its_number() -> None:
    receipts = Receipts("plc", {})
    receipts.note(message(), T0)
    assert receipts.arrival(message(), LATER) == LATER


def test_a_message_that_is_never_sent_again_is_not_noted() -> None:
    assert Receipts("plc", {}).note(message(mid=0), T0) == {}


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc"), st.booleans()), max_size=30))
def test_whatever_comes_in_whatever_order_the_newest_note_of_a_number_counts(
    steps: list[tuple[int, str, bool]],
) -> None:
    receipts, kept, newest = Receipts("plc", {}), dict[str, str](), dict[int, tuple[str, datetime]]()
    for second, (mid, text, resent) in enumerate(steps):
        now = T0 + timedelta(seconds=second)
        arrived = receipts.arrival(message(text, mid, resent=resent), now)
        known = resent and mid in newest and newest[mid][0] == text
        assert arrived == (newest[mid][1] if known else now)
        kept |= receipts.note(message(text, mid), arrived)
        newest[mid] = (text, arrived)
        if second % 5 == 4:
            receipts = Receipts("plc", kept)

"""What waits between the subscription and a full pipeline."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua

from stream.sources import opcua_inbox
from stream.sources.opcua_inbox import Inbox

ARRIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def put(inbox: Inbox, *values: float) -> None:
    for value in values:
        inbox.put("x/a", ua.DataValue(ua.Variant(value, ua.VariantType.Double)), ARRIVED)


@contextlib.asynccontextmanager
async def handing_over(inbox: Inbox):
    task = asyncio.create_task(inbox.hand_over())
    yield
    task.cancel()
    await asyncio.wait([task])


async def test_a_burst_is_one_delivery_in_order(intake):
    bursts = []
    deliver = intake.deliver

    async def recorded(samples, accepted=None):
        bursts.append(len(samples))
        await deliver(samples, accepted)

    intake.deliver = recorded
    inbox = Inbox("plc", intake)
    async with handing_over(inbox):
        put(inbox, 1.0, 2.0, 3.0)
        await intake.until(lambda: len(intake.samples) == 3)
        put(inbox, 4.0)
        await intake.until(lambda: len(intake.samples) == 4)
    assert intake.values == [1.0, 2.0, 3.0, 4.0]
    assert bursts == [3, 1]


async def test_nothing_is_lost_while_the_pipeline_is_full(intake):
    full = asyncio.Event()
    deliver = intake.deliver

    async def slow(samples, accepted=None):
        await full.wait()
        await deliver(samples, accepted)

    intake.deliver = slow
    inbox = Inbox("plc", intake)
    expected = [float(n) for n in range(2 * opcua_inbox.BATCH + 7)]
    async with handing_over(inbox):
        for value in expected:
            put(inbox, value)
            await asyncio.sleep(0)
        assert intake.samples == []
        full.set()
        await intake.until(lambda: len(intake.samples) == len(expected))
    assert intake.values == expected
    assert inbox.dropped == 0


async def test_beyond_its_room_the_oldest_go_and_are_counted(intake, monkeypatch):
    monkeypatch.setattr(opcua_inbox, "LIMIT", 3)
    inbox = Inbox("plc", intake)
    put(inbox, 1.0, 2.0, 3.0, 4.0, 5.0)
    assert inbox.dropped == 2
    async with handing_over(inbox):
        await intake.until(lambda: len(intake.samples) == 3)
    assert intake.values == [3.0, 4.0, 5.0]


@pytest.mark.parametrize(("raw", "reason"), [(float("nan"), "not_finite"), ("5.0", "not_a_number")])
async def test_what_is_no_number_is_rejected_with_tag_and_reason(intake, raw, reason):
    inbox = Inbox("plc", intake)
    inbox.put("x/a", ua.DataValue(ua.Variant(raw)), ARRIVED)
    put(inbox, 1.0)
    async with handing_over(inbox):
        await intake.until(lambda: intake.samples)
    assert intake.values == [1.0]
    (rejection,) = intake.rejections
    assert (rejection.source, rejection.tag, rejection.reason, rejection.at) == ("plc", "x/a", reason, ARRIVED)


@pytest.mark.parametrize(
    ("stands_s", "kept"), [(1.0, [4.0, 5.0, 6.0, 7.0]), (0.0, [7.0])], ids=["it stood", "it is only slow"]
)
async def test_what_cannot_be_caught_up_with_is_thinned_to_the_newest_unless_the_pipeline_stood(
    intake, monkeypatch, stands_s, kept
):
    for name, value in {"BATCH": 1, "THIN_ABOVE": 3, "STANDS_S": 0.2 if stands_s else 100.0}.items():
        monkeypatch.setattr(opcua_inbox, name, value)
    deliver = intake.deliver
    go_on = asyncio.Event()

    async def slow(samples, accepted=None):
        await asyncio.sleep(0.3 if stands_s else 0.03)
        await deliver(samples, accepted)
        await go_on.wait()

    intake.deliver = slow
    inbox = Inbox("plc", intake)
    async with handing_over(inbox):
        put(inbox, 3.0)
        await intake.until(lambda: intake.samples)
        put(inbox, 4.0, 5.0, 6.0, 7.0)
        go_on.set()
        await intake.until(lambda: intake.values[-1] == 7.0)
    assert intake.values == [3.0, *kept]
    assert inbox.dropped == 4 - len(kept)


async def test_each_value_that_is_dropped_is_counted_with_why(intake, monkeypatch):
    monkeypatch.setattr(opcua_inbox, "LIMIT", 4)
    monkeypatch.setattr(opcua_inbox, "THIN_ABOVE", 3)
    inbox = Inbox("plc", intake)
    put(inbox, 1.0, 2.0, 3.0, 4.0, 5.0)
    async with handing_over(inbox):
        await intake.until(lambda: intake.samples)
    assert intake.values == [5.0]
    assert intake.dropped == {("plc", "full"): 1, ("plc", "thinned"): 3}
    assert inbox.dropped == 4


async def test_what_had_to_wait_for_the_network_is_wanted_whole(intake, monkeypatch):
    monkeypatch.setattr(opcua_inbox, "THIN_ABOVE", 3)
    inbox = Inbox("plc", intake)
    inbox.hear(ARRIVED, more=False)
    put(inbox, 1.0)
    later = ARRIVED + timedelta(seconds=opcua_inbox.CUT_S + 0.1)
    inbox.hear(later, more=False)
    for value in (2.0, 3.0, 4.0, 5.0, 6.0):
        inbox.put("x/a", ua.DataValue(ua.Variant(value, ua.VariantType.Double)), later)
    async with handing_over(inbox):
        await intake.until(lambda: len(intake.samples) == 6)
    assert inbox.dropped == 0


@pytest.mark.parametrize("ends", [True, False])
async def test_what_the_server_still_has_is_fetched_first_but_not_for_long(intake, monkeypatch, ends):
    monkeypatch.setattr(opcua_inbox, "FETCH_S", 5.0 if ends else 0.1)
    bursts = []
    deliver = intake.deliver

    async def recorded(samples, accepted=None):
        bursts.append(len(samples))
        await deliver(samples, accepted)

    intake.deliver = recorded
    inbox = Inbox("plc", intake)
    async with handing_over(inbox):
        inbox.hear(ARRIVED, more=True)
        put(inbox, 1.0)
        await asyncio.sleep(0.02)
        assert intake.samples == []
        inbox.hear(ARRIVED, more=not ends)
        put(inbox, 2.0)
        await intake.until(lambda: len(intake.samples) == 2)
    assert bursts == [2]

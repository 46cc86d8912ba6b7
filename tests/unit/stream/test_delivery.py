"""Delivery to one sink: everything, in order, whatever the sink says, and no hot loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.records import AlarmState, Alert, Priority, Sample, Status
from stream.clock import SystemClock
from stream.delivery import Delivery
from stream.journal.journal import Journal, JournalFullError
from stream.sinks.sink import Refused, SinkUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from detectors.records import Record

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def sample(i: int) -> Sample:
    at = T0 + timedelta(seconds=i)
    return Sample(tag="hx/t", value=float(i), source_at=at, arrived_at=at)


def alert(i: int) -> Alert:
    at = T0 + timedelta(seconds=i)
    return Alert(
        tag="hx/t", rule="tolerance", sequence=i, state=AlarmState.UNACKNOWLEDGED, previous=AlarmState.NORMAL, at=at,
        since=at, priority=Priority.LOW, text="",
    )  # fmt: skip


class ScriptedSink:
    """Answers each write with the next word of its script, and takes everything once that is used up."""

    name = "db"

    def __init__(self, script: Sequence[object] = (), kinds: frozenset[type] = frozenset({Sample})) -> None:
        self.kinds = kinds
        self.script = list(script)
        self.taken: list[float] = []
        self.asked: list[tuple[float, int]] = []
        self.closed = False

    async def write(self, records: Sequence[Record]) -> list[Refused]:
        self.asked.append((time.monotonic(), len(records)))
        word = self.script.pop(0) if self.script else None
        if isinstance(word, BaseException):
            raise word
        if callable(word):
            await word()
        refused = word if isinstance(word, set) else set()
        out = []
        for index, record in enumerate(records):
            number = record.value if isinstance(record, Sample) else getattr(record, "sequence", 0)
            if number in refused:
                out.append(Refused(index=index, reason=f"not {number}"))
            else:
                self.taken.append(number)
        return out

    async def probe(self) -> list[str]:
        return []

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite3", max_size_mb=8, keep_days=30)
    yield made
    made.close()


@asynccontextmanager
async def running(
    journal: Journal, sink: ScriptedSink, statuses: list[Status] | None = None, **settings: object
) -> AsyncIterator[Delivery]:
    said = [] if statuses is None else statuses
    settings = {"backoff_s": (0.01, 0.05), **settings}
    delivery = Delivery(journal, sink, report=said.append, clock=SystemClock(), **settings)
    task = asyncio.create_task(delivery.run())
    try:
        yield delivery
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object], limit_s: float = 5.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.002)


async def test_everything_arrives_in_order_in_batches(journal):
    sink = ScriptedSink()
    async with running(journal, sink, batch=10) as delivery:
        journal.append([sample(i) for i in range(35)])
        delivery.wake()
        await until(lambda: len(sink.taken) == 35)
        await until(lambda: delivery.depth() == 0)
    assert sink.taken == list(range(35))
    assert max(size for _, size in sink.asked) == 10
    assert sink.closed


async def test_what_is_appended_leaves_within_milliseconds(journal):
    sink = ScriptedSink()
    delays = []
    async with running(journal, sink) as delivery:
        for i in range(30):
            journal.append([sample(i)])
            begin = time.monotonic()
            delivery.wake()
            await until(lambda i=i: len(sink.asked) > i)
            delays.append(sink.asked[i][0] - begin)
            await until(lambda: delivery.depth() == 0)
    assert sorted(delays)[15] < 0.02


async def test_what_is_appended_while_a_batch_is_on_its_way_is_not_forgotten(journal):
    release = asyncio.Event()
    sink = ScriptedSink([release.wait])
    async with running(journal, sink) as delivery:
        journal.append([sample(0)])
        delivery.wake()
        await until(lambda: sink.asked)
        journal.append([sample(1)])
        delivery.wake()
        release.set()
        await until(lambda: sink.taken == [0, 1])


async def test_with_nothing_to_do_it_sleeps(journal, monkeypatch):
    looks = []
    real = journal.pending
    monkeypatch.setattr(journal, "pending", lambda *a: (looks.append(a), real(*a))[1])
    async with running(journal, ScriptedSink()) as delivery:
        for i in range(5):
            journal.append([sample(i)])
            delivery.wake()
            await asyncio.sleep(0.05)
        assert len(looks) <= 16


async def test_an_unavailable_sink_gets_it_all_later_and_the_reason_is_said_once(journal):
    sink = ScriptedSink([SinkUnavailableError("no answer")] * 4)
    statuses: list[Status] = []
    async with running(journal, sink, statuses) as delivery:
        journal.append([sample(i) for i in range(3)])
        delivery.wake()
        await until(lambda: delivery.depth() == 0)
        journal.append([sample(3)])
        delivery.wake()
        await until(lambda: len(sink.taken) == 4)
    assert sink.taken == [0, 1, 2, 3]
    assert [(s.subject, s.ok, s.detail) for s in statuses] == [
        ("sink.db", False, "no answer"),
        ("sink.db", True, "delivering"),
    ]


async def test_the_wait_doubles_up_to_its_limit_and_starts_again_after_a_success(journal):
    sink = ScriptedSink([SinkUnavailableError("no answer")] * 7)
    async with running(journal, sink, backoff_s=(0.02, 0.16)) as delivery:
        journal.append([sample(0)])
        delivery.wake()
        await until(lambda: sink.taken == [0])
        waits = [b[0] - a[0] for a, b in itertools.pairwise(sink.asked)]
        sink.script = [SinkUnavailableError("again")]
        journal.append([sample(1)])
        delivery.wake()
        await until(lambda: sink.taken == [0, 1])
        again = sink.asked[-1][0] - sink.asked[-2][0]
    for wait, longest in zip(waits, (0.02, 0.04, 0.08, 0.16, 0.16, 0.16, 0.16), strict=True):
        assert longest / 2 <= wait < longest + 1
    assert again < waits[-1]


@pytest.mark.parametrize(("asked_s", "least_s"), [(0.2, 0.2), (0.0, 0.05)], ids=["as told", "never at once"])
async def test_it_waits_as_long_as_it_is_asked_to(journal, asked_s, least_s):
    sink = ScriptedSink([SinkUnavailableError("busy", retry_after_s=asked_s)])
    async with running(journal, sink, backoff_s=(0.05, 1)) as delivery:
        journal.append([sample(0)])
        delivery.wake()
        await until(lambda: sink.taken == [0])
    assert sink.asked[1][0] - sink.asked[0][0] >= least_s


async def test_news_do_not_shorten_the_wait_for_a_sink_that_is_away(journal):
    sink = ScriptedSink([SinkUnavailableError("busy", retry_after_s=0.3)])
    async with running(journal, sink) as delivery:
        for i in range(20):
            journal.append([sample(i)])
            delivery.wake()
            await asyncio.sleep(0.005)
        assert len(sink.asked) == 1
        await until(lambda: len(sink.taken) == 20)


async def test_after_a_failure_batches_are_smaller_and_grow_again(journal):
    sink = ScriptedSink([SinkUnavailableError("timeout")] * 3)
    async with running(journal, sink, batch=1000) as delivery:
        journal.append([sample(i) for i in range(3000)])
        delivery.wake()
        await until(lambda: len(sink.taken) == 3000)
    assert [size for _, size in sink.asked][:7] == [1000, 500, 250, 125, 250, 500, 1000]
    assert sink.taken == list(range(3000))


async def test_what_is_refused_is_a_dead_letter_and_the_rest_goes_on(journal, caplog):
    sink = ScriptedSink([{3.0, 7.0}])
    statuses: list[Status] = []
    async with running(journal, sink, statuses) as delivery:
        journal.append([sample(i) for i in range(10)])
        delivery.wake()
        await until(lambda: delivery.depth() == 0)
        journal.append([sample(10)])
        delivery.wake()
        await until(lambda: delivery.depth() == 0)
        assert delivery.refused == 2
    assert sink.taken == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert journal.dead_letters("db") == [(sample(3), "not 3.0"), (sample(7), "not 7.0")]
    assert [(s.ok, s.detail) for s in statuses] == [(True, "delivering; what it refuses is kept as dead letters")]
    assert [r.message for r in caplog.records] == ["sink db: refused for ever, 1 so far: not 3.0"]


async def test_a_sink_that_refuses_the_very_news_of_its_refusals_comes_to_an_end(journal):
    class RefusingSink(ScriptedSink):
        async def write(self, records: Sequence[Record]) -> list[Refused]:
            self.asked.append((time.monotonic(), len(records)))
            return [Refused(index=i, reason=f"no {r}") for i, r in enumerate(records)]

    sink = RefusingSink(kinds=frozenset({Sample, Status}))
    delivery = Delivery(
        journal, sink, report=lambda s: (journal.append([s]), delivery.wake()), clock=SystemClock(), batch=10
    )
    task = asyncio.create_task(delivery.run())
    journal.append([sample(0)])
    await asyncio.sleep(0.3)
    assert len(sink.asked) <= 2
    assert delivery.depth() == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_sink_that_breaks_ends_nothing_and_loses_nothing(journal, caplog):
    sink = ScriptedSink([ZeroDivisionError("oh")] * 3)
    statuses: list[Status] = []
    async with running(journal, sink, statuses) as delivery:
        journal.append([sample(0)])
        delivery.wake()
        await until(lambda: sink.taken == [0] and len(statuses) > 1)
    assert [(s.ok, s.detail) for s in statuses] == [
        (False, "failed: ZeroDivisionError('oh')"),
        (True, "delivering"),
    ]
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


async def test_no_room_for_noting_a_delivery_does_not_send_it_again(journal, monkeypatch):
    real, failures = journal.delivered, [JournalFullError("no room")] * 3

    def delivered(*arguments: object) -> None:
        if failures:
            raise failures.pop()
        real(*arguments)

    monkeypatch.setattr(journal, "delivered", delivered)
    sink = ScriptedSink()
    async with running(journal, sink) as delivery:
        journal.append([sample(0)])
        delivery.wake()
        await until(lambda: delivery.depth() == 0)
    assert sink.taken == [0]


async def test_cancelled_in_the_middle_of_a_write_it_closes_the_sink_and_the_next_start_sends_it_again(journal):
    sink = ScriptedSink([asyncio.Event().wait])
    async with running(journal, sink) as delivery:
        journal.append([sample(0), sample(1)])
        delivery.wake()
        await until(lambda: sink.asked)
    assert sink.closed
    again = ScriptedSink()
    async with running(journal, again):
        await until(lambda: again.taken == [0, 1])


async def test_a_backlog_of_samples_does_not_stand_before_the_alerts_of_another_sink(journal):
    journal.register("db", frozenset({Sample}))
    alerts = ScriptedSink(kinds=frozenset({Alert}))
    alerts.name = "alerts"
    async with running(journal, alerts) as delivery:
        journal.append([*(sample(i) for i in range(20_000)), alert(1)])
        delivery.wake()
        await until(lambda: alerts.taken == [1])
    assert journal.depth("db") == 20_000


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(
        st.sampled_from(["ok", "away", "breaks", "crash", "append"]) | st.sets(st.integers(0, 40).map(float)),
        max_size=12,
    ),
    batch=st.integers(1, 7),
)
def test_whatever_happens_nothing_is_lost_and_nothing_overtakes(tmp_path_factory, script, batch):
    journal = Journal(tmp_path_factory.mktemp("life") / "j.sqlite3", max_size_mb=8, keep_days=30)
    count = 0
    words = {"away": SinkUnavailableError("away"), "breaks": ValueError("?"), "crash": asyncio.CancelledError()}
    taken: list[float] = []

    async def live() -> None:
        nonlocal count
        rest = list(script)
        journal.register("db", frozenset({Sample}))
        while True:
            step: list[object] = []
            while rest and rest[0] != "append":
                word = rest.pop(0)
                step.append(words.get(word) if isinstance(word, str) else word)
                if word == "crash":
                    break
            journal.append([sample(i) for i in range(count, count + 10)])
            count += 10
            sink = ScriptedSink(step)
            delivery = Delivery(
                journal, sink, report=lambda _s: None, clock=SystemClock(), batch=batch, backoff_s=(0.0, 0.001)
            )
            task = asyncio.create_task(delivery.run())
            await until(lambda task=task, delivery=delivery: task.done() or delivery.depth() == 0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            taken.extend(sink.taken)
            if not rest and not task.cancelled():
                return
            if not rest and delivery.depth() == 0:
                return
            rest = rest[1:] if rest[:1] == ["append"] else rest

    asyncio.run(live())
    refused = {record.value for record, _ in journal.dead_letters("db") if isinstance(record, Sample)}
    assert set(taken) | refused == set(map(float, range(count)))
    first = {value: place for place, value in reversed(list(enumerate(taken)))}
    order = sorted(first, key=first.__getitem__)
    assert order == sorted(order)
    journal.close()

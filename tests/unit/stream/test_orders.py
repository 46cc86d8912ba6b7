"""Commands on their way through the service: each is carried out once, and every answer is kept."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from stream.clock import SystemClock
from stream.command import CommandError, ask, parse
from stream.journal.journal import Journal, JournalFullError
from stream.orders import Orders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from detectors.records import Reply

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite3", max_size_mb=8, keep_days=1)
    yield made
    made.close()


class Service:
    """As much of the pipeline as commands need: what is kept is saved at once."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.carried_out: list[str] = []
        self.kept: list[Reply] = []
        self.orders = Orders(
            journal, clock=SystemClock(), carry_out=self.carry_out, keep=self.keep, report=lambda _: None
        )

    def carry_out(self, text: str) -> Reply:
        self.carried_out.append(text)
        reply = parse(text).reply("done", NOW, done=True)
        self.keep([reply])
        return reply

    def keep(self, records: Any) -> None:
        self.kept += records
        self.journal.append(list(records))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.orders.run())
        yield
        task.cancel()
        await asyncio.wait([task])

    async def until(self, replies: int) -> None:
        async with asyncio.timeout(5):
            while len(self.kept) < replies:
                await asyncio.sleep(0.01)


def named(name: str, command: str = "acknowledge") -> str:
    return ask(command, "hx/t/high", by="ana").replace('{"id": "', f'{{"id": "{name}-', 1)[:-1] + "}"


async def test_what_waits_is_carried_out_in_order_and_a_repetition_is_answered_as_before(journal: Journal) -> None:
    service = Service(journal)
    first, second = named("a"), named("b")
    async with service.running():
        for text in (first, second, first):
            await service.orders.post(text)
        await service.until(3)
    assert service.carried_out == [first, second]
    assert service.kept[2] == service.kept[0]
    assert service.orders.counts == {("acknowledge", "done"): 2, ("acknowledge", "repeated"): 1}
    for number in service.orders.obeyed():
        journal.done(number)
    assert journal.commands() == []


async def test_killed_before_the_command_left_the_journal_it_is_not_carried_out_again(journal: Journal) -> None:
    before = Service(journal)
    async with before.running():
        await before.orders.post(named("a"))
        await before.until(1)
    assert len(journal.commands()) == 1
    after = Service(journal)
    async with after.running():
        await after.until(1)
    assert after.carried_out == []
    assert after.kept == before.kept


async def test_a_refusal_without_an_id_stands_in_nobodys_way_after_a_restart(journal: Journal) -> None:
    before = Service(journal)
    before.orders.refuse(CommandError("expected a command", {}), via="alerts")
    after = Service(journal)
    journal.post('{"command": "acknowledge", "alarm": "hx/t/high", "by": "ana"}')  # as an earlier version left it
    async with after.running():
        await after.until(1)
    assert len(after.carried_out) == 1


async def test_what_was_said_before_is_not_said_again_of_a_command_that_was_done(journal: Journal) -> None:
    service = Service(journal)
    text = named("a")
    async with service.running():
        await service.orders.post(text)
        await service.until(1)
    kept = CommandError("retained", {"id": parse(text).id})
    service.orders.refuse(kept, via="alerts", said_before=True)
    assert len(service.kept) == 1
    assert service.orders.counts["unknown", "repeated"] + service.orders.counts["acknowledge", "repeated"] == 1


async def test_a_full_disk_is_waited_for(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.orders.DISK_RETRY_S", 0.01)
    service, tries = Service(journal), []
    post = journal.post

    def full_at_first(text: str) -> int:
        tries.append(text)
        if len(tries) < 3:
            raise JournalFullError("no room")
        return post(text)

    monkeypatch.setattr(journal, "post", full_at_first)
    await service.orders.post(named("a"))
    assert len(tries) == 3
    assert len(journal.commands()) == 1

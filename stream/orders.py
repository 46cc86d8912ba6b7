"""What becomes of the commands that wait in the journal? Each is carried out once, in order, and answered with its id.

The reply to a command is saved in one transaction with what the command changed, and every reply is known by its id: a command
that comes again, from its sender or after a crash, is answered as before and not carried out again. All of them are told in
the log, one line each: who asked for what, by which way, and what came of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from detectors.records import Reply
from stream.audit import Event, audit
from stream.command import COMMANDS, CommandError, parse, refusal
from stream.journal.journal import JournalFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detectors.records import Record, Status
    from stream.clock import Clock
    from stream.journal.journal import Journal

__all__ = ["Orders"]

_EVENTS = {"done": Event.COMMAND_DONE, "refused": Event.COMMAND_REFUSED, "repeated": Event.COMMAND_REPEATED}
LOOK_EVERY_S = 1.0
"""A command that another process left is seen after so long (machine time)."""
DISK_RETRY_S = 1.0
KNOWN = 100_000
"""Replies that are remembered: more than can come in while the oldest command would still be young enough."""


class Orders:
    """The commands on their way through the service, and the desk at which they are handed in."""

    def __init__(
        self,
        journal: Journal,
        *,
        clock: Clock,
        carry_out: Callable[[str], Reply],
        keep: Callable[[Sequence[Record]], None],
        report: Callable[[Status], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._carry_out = carry_out
        self._keep = keep
        self.report = report
        self.counts: Counter[tuple[str, str]] = Counter()
        """Commands by what was asked for, and by what came of it: done, refused, repeated."""
        self._news = asyncio.Event()
        self._obeyed: list[int] = []
        self._replies: dict[str, Reply] = {}
        for reply in journal.history(kinds={Reply}, limit=KNOWN):
            assert isinstance(reply, Reply)
            self._remember(reply)

    async def run(self) -> None:
        """Takes commands from the journal for ever."""
        last = 0
        while True:
            self._news.clear()
            for number, text in await asyncio.to_thread(self._journal.commands):
                if number > last:
                    last = number
                    self._take(text)
                    # It leaves the journal only after what came of it is saved there: killed before, it comes again.
                    self._obeyed.append(number)
                    self._keep(())
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._news.wait()
            except TimeoutError:
                pass

    def obeyed(self) -> list[int]:
        """The numbers of those that are done with since the last call, once what was kept until now is saved."""
        obeyed, self._obeyed = self._obeyed, []
        return obeyed

    async def post(self, text: str) -> None:
        """Takes a command; returns when it is on disk, however long that takes."""
        while True:
            try:
                await asyncio.to_thread(self._journal.post, text)
            except JournalFullError:
                await asyncio.sleep(DISK_RETRY_S)
            else:
                self._news.set()
                return

    def refuse(self, error: CommandError, *, via: str, said_before: bool = False) -> None:
        """Answers what is no command; one that was `said_before` is not answered where its id has been."""
        reply = refusal(error, self._clock.now(), via=via)
        if said_before and reply.id in self._replies:
            self._count(reply, "repeated")
            return
        self._keep([reply])
        self._remember(reply)
        self._count(reply, "refused")

    def _take(self, text: str) -> None:
        try:
            command = parse(text)
        except CommandError:
            command = None
        before = None if command is None else self._replies.get(command.id)
        if command is None or before is None:
            reply = self._carry_out(text)
            self._remember(reply)
            self._count(reply, "done" if reply.done else "refused")
        elif (command.command, command.alarm, command.by) == (before.command, before.alarm, before.by):
            self._keep([before])
            self._count(before, "repeated")
        else:
            said = f"refused, id: expected a new one for each command, found that of {before.command} {before.alarm}"
            reply = command.reply(said, self._clock.now(), done=False)
            self._keep([reply])
            self._count(reply, "refused")

    def _remember(self, reply: Reply) -> None:
        if reply.id:
            self._replies.setdefault(reply.id, reply)
        while len(self._replies) > KNOWN:
            del self._replies[next(iter(self._replies))]

    def _count(self, reply: Reply, result: str) -> None:
        # What was sent is not a label: there are endless words that are no command.
        self.counts[reply.command if reply.command in COMMANDS else "unknown", result] += 1
        said = f"{result}: id={reply.id!r} command={reply.command!r} alarm={reply.alarm!r} by={reply.by!r} "
        audit(_EVENTS[result], f"{said}reason={reply.reason!r} via={reply.via!r}: {reply.text}")

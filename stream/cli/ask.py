"""How does a command of the operator reach the service? Through the journal, so that it is not lost while the service is down."""

from __future__ import annotations

import getpass
import re
from typing import TYPE_CHECKING

from stream.assemble import alarm_names, open_journal
from stream.command import LONGEST_SHELVING_S, CommandError, ask, parse
from stream.journal.journal import JournalError

if TYPE_CHECKING:
    from rich.console import Console

    from config.load import Loaded

__all__ = ["leave", "seconds"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def leave(
    loaded: Loaded, command: str, alarm: str, *, by: str, for_s: float | None, reason: str, console: Console
) -> str:
    """Leaves a command, by the user of this machine unless told otherwise; returns what is wrong with it, or nothing."""
    known = alarm_names(loaded.settings)
    if alarm not in known:
        return f"no alarm is named {alarm!r}; alarms are: {', '.join(sorted(known))}"
    who = by.strip() or getpass.getuser()
    asked = ask(command, alarm, by=who, for_s=for_s, reason=reason)
    try:
        parse(asked)
    except CommandError as error:
        return str(error)
    try:
        journal = open_journal(loaded)
    except JournalError as error:
        return str(error)
    try:
        journal.post(asked)
    finally:
        journal.close()
    console.print(f"asked for: {command.replace('_', ' ')} {alarm}, by {who}", highlight=False, markup=False)
    return ""


def seconds(text: str) -> float | None:
    """Seconds of a text such as ``2h``; None if it is none, or not a time to shelve for."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    lasting = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    return lasting if 1 <= lasting <= LONGEST_SHELVING_S else None

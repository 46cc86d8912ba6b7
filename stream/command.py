"""What did the operator ask for? Commands as JSON, from `givre alarms` or a topic, and what comes of them (docs/alerts.md)."""

from __future__ import annotations

import json
import math
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from detectors.records import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from detectors.alarm import Alarm
    from detectors.records import Alert
    from stream.lane import FastLane

__all__ = ["COMMANDS", "LONGEST_SHELVING_S", "Command", "CommandError", "ask", "nearest", "obey", "parse", "refusal"]

COMMANDS = {
    "acknowledge": "acknowledged",
    "accept": "accepted as normal",
    "shelve": "shelved",
    "unshelve": "no longer shelved, ended",
    "out_of_service": "set out of service",
    "in_service": "back in service, set",
}
"""What can be asked for, and what is said when it is done."""
LONGEST_SHELVING_S = 30 * 86_400.0
AHEAD_S = 5.0
"""A sender's clock may be ahead of ours by so much."""
_TEXT_MAX = 200
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_KEYS = ("id", "at", "command", "alarm", "by", "reason", "for_s", "until", "via", "max_age_s")


class CommandError(ValueError):
    """A command that is none; the text says what was expected. `fields` is what could be read of it."""

    def __init__(self, text: str, fields: dict[str, Any]) -> None:
        super().__init__(text)
        self.fields = fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command; shelving lasts for `for_s` from when it is obeyed, or `until` then.

    One with a `max_age_s` is refused when it is older than that by the time of its sender, `at`.
    """

    id: str
    command: str
    alarm: str
    by: str
    reason: str = ""
    at: datetime | None = None
    for_s: float | None = None
    until: datetime | None = None
    via: str = ""
    max_age_s: float | None = None

    @property
    def text(self) -> str:
        """As JSON, the way it waits in the journal."""
        fields = {key: getattr(self, key) for key in _KEYS}
        return json.dumps({key: _plain(value) for key, value in fields.items() if value is not None})

    def reply(self, text: str, now: datetime, *, done: bool) -> Reply:
        """What came of it."""
        return Reply(
            id=self.id,
            at=now,
            command=self.command,
            alarm=self.alarm,
            by=self.by,
            reason=self.reason,
            via=self.via,
            done=done,
            text=text,
        )


def ask(
    command: str, alarm: str, *, by: str, for_s: float | None = None, reason: str = "", via: str = "terminal"
) -> str:
    """A command as text, under an id of its own; `for_s` is how long to shelve, in plant seconds."""
    made = Command(id=uuid.uuid4().hex, command=command, alarm=alarm, by=by, reason=reason, for_s=for_s, via=via)
    return made.text


def parse(text: str | bytes) -> Command:
    """The command that a text is. Raises CommandError, which says what was expected of it and what was found."""
    try:
        fields = json.loads(text, object_pairs_hook=_once)
    except _TwiceError as error:
        raise CommandError(f"expected each key once, found {error.args[0]!r} twice", {}) from None
    except (ValueError, RecursionError):
        raise CommandError(f"expected a command as a JSON object, found {_quoted(text)}", {}) from None
    if not isinstance(fields, dict):
        raise CommandError(f"expected a command as a JSON object, found {_quoted(text)}", {})
    return _Reading(fields).command()


def obey(text: str, lane: FastLane, now: datetime) -> Reply:
    """Carries a command out and says what came of it; a command that makes no sense changes nothing."""
    try:
        command = parse(text)
    except CommandError as error:
        return refusal(error, now)
    if command.alarm not in lane.alarms:
        said = f"refused, no alarm is named {command.alarm!r}{nearest(command.alarm, lane.alarms)}"
        return command.reply(said, now, done=False)
    try:
        _check_time(command, now)
        changed = lane.command(command.alarm, _change(command, now), now)
    except ValueError as error:
        return command.reply(f"refused, {error}", now, done=False)
    if not changed:
        state = lane.alarms[command.alarm].memory.told
        word = command.command.replace("_", " ")
        return command.reply(f"nothing to {word}: {command.alarm} is {state}", now, done=False)
    return command.reply(f"{command.alarm} {COMMANDS[command.command]} by {command.by}", now, done=True)


def refusal(error: CommandError, now: datetime, *, via: str = "") -> Reply:
    """The reply to what is no command, with as much of it as could be read."""
    known = {
        key: value
        for key in ("id", "command", "alarm", "by", "reason", "via")
        if _printable(value := error.fields.get(key, ""))
    }
    said = {"id": "", "command": "", "alarm": "", "by": "", "reason": "", "via": via} | known
    return Reply(at=now, done=False, text=f"refused, {error}", **said)


def nearest(alarm: str, alarms: Iterable[str]) -> str:
    """The names that an unknown one may have meant, as the end of a sentence."""
    close = get_close_matches(alarm[:_TEXT_MAX], list(alarms), n=3, cutoff=0.5)
    return f"; the nearest: {', '.join(close)}" if close else "; `givre alarms list --all` names them"


class _TwiceError(ValueError):
    pass


class _Reading:
    """The fields of a command, each looked at once."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def command(self) -> Command:
        for key in self._fields:
            if key not in _KEYS:
                self._fail("keys", f"among {', '.join(_KEYS[:8])}", key)
        command = self._text("command")
        if command not in COMMANDS:
            self._fail("command", f"one of {', '.join(COMMANDS)}", command)
        given = [key for key in ("for_s", "until") if key in self._fields]
        if (command == "shelve") != (len(given) == 1):
            found = " and ".join(given) or "none"
            wanted = "exactly one of for_s and until" if command == "shelve" else "neither for_s nor until"
            raise CommandError(f"{command}: expected {wanted}, found {found}", self._fields)
        return Command(
            id=self._id(),
            command=command,
            alarm=self._text("alarm"),
            by=self._text("by"),
            reason=self._text("reason", empty=True),
            at=self._moment("at"),
            for_s=self._seconds("for_s"),
            until=self._moment("until"),
            via=self._text("via", empty=True),
            max_age_s=self._seconds("max_age_s"),
        )

    def _id(self) -> str:
        # One that an earlier version left in the journal has none.
        found = self._fields.get("id", "")
        if not isinstance(found, str) or (found and not _ID.fullmatch(found)):
            self._fail("id", "1 to 64 letters, digits and _.:-, a new one for each command", found)
        return str(found)

    def _text(self, key: str, *, empty: bool = False) -> str:
        found = self._fields.get(key, "")
        if not _printable(found) or len(found) > _TEXT_MAX or not (found.strip() or empty):
            self._fail(key, f"a line of {0 if empty else 1} to {_TEXT_MAX} characters", found)
        return str(found)

    def _moment(self, key: str) -> datetime | None:
        if key not in self._fields:
            return None
        found = self._fields[key]
        try:
            return _aware(found)
        except (TypeError, ValueError, OverflowError):
            return self._fail(key, "a time with its zone, such as 2026-03-01T08:30:00Z", found)

    def _seconds(self, key: str) -> float | None:
        if key not in self._fields:
            return None
        found = self._fields[key]
        number = isinstance(found, int | float) and not isinstance(found, bool)
        # A whole number of thousands of digits is none that a float can be.
        seconds = float(found) if number and abs(found) <= LONGEST_SHELVING_S else math.nan
        if not 1 <= seconds <= LONGEST_SHELVING_S:
            self._fail(key, f"1 to {LONGEST_SHELVING_S:.0f} seconds", found)
        return seconds

    def _fail(self, key: str, expected: str, found: object) -> NoReturn:
        raise CommandError(f"{key}: expected {expected}, found {_quoted(found)}", self._fields)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise _TwiceError(key[:_TEXT_MAX])
        fields[key] = value
    return fields


def _check_time(command: Command, now: datetime) -> None:
    if command.max_age_s is None:
        return
    if command.at is None:
        raise ValueError("at: expected the time of the command, found none")
    age_s = (now - command.at).total_seconds()
    if age_s > command.max_age_s:
        raise ValueError(
            f"at: it is {age_s:.0f} s old, older than {command.max_age_s:g} s; look again and send it anew"
        )
    if age_s < -AHEAD_S:
        raise ValueError(
            f"at: it is {-age_s:.0f} s in the future; set the clock of its sender, or that of this machine"
        )


def _change(command: Command, now: datetime) -> Callable[[Alarm, datetime], Alert | None]:
    by, reason = command.by, command.reason
    match command.command:
        case "acknowledge":
            return lambda alarm, at: alarm.acknowledge(at, by=by)
        case "accept":
            return lambda alarm, at: alarm.accept(at, by=by)
        case "shelve":
            until = command.until or now + timedelta(seconds=command.for_s or 0.0)
            if until > now + timedelta(seconds=LONGEST_SHELVING_S):
                days = LONGEST_SHELVING_S / 86_400
                raise ValueError(f"until: expected at most {days:.0f} days from now, found {until.isoformat()}")
            return lambda alarm, at: alarm.shelve(at, until=until, by=by, reason=reason)
        case "out_of_service":
            return lambda alarm, at: alarm.take_out(at, by=by, reason=reason)
        case _:
            silence = "shelved" if command.command == "unshelve" else "out_of_service"
            return lambda alarm, at: alarm.speak(at, by=by) if alarm.memory.silence == silence else None


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return moment.astimezone(UTC)


def _printable(found: object) -> bool:
    return isinstance(found, str) and found.isprintable()


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _quoted(found: object) -> str:
    try:
        text = repr(found)
    except (ValueError, RecursionError):  # a number of too many digits, a list of too many lists
        return "something that cannot be printed"
    return text if len(text) <= 80 else text[:77] + "..."

"""Is every figure of a text one of the facts? What is no fact must not reach an operator, whoever wrote it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from detectors.reason.told import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detectors.reason.told import Told

__all__ = ["Checked", "check", "unfounded"]

LEAST_DIGITS = 2
FIVE_DIGITS = 5e-5
"""A figure of one digit alone is none that was rounded: it is the fact itself, as far as it is ever written."""

_DATES = ("%Y-%m-%d", "%d/%m/%Y")
_TIMES = ("%H:%M:%S", "%H:%M")
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d/\d\d/\d{4}")
_TIME = re.compile(r"\d\d:\d\d(?::\d\d)?")
_UNIT_S = {"d": 86_400, "j": 86_400, "h": 3600, "min": 60, "s": 1}
_SPAN = re.compile(r"(?<![\d.,])(\d+)\s(d|j|h|min)\s(\d+)\s(h|min|s)\b|(?<![\d.,])(\d+)\s(s)\b")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?(?!\w)|\d+(?:[.,]\d+)?")
_PERCENT = re.compile(r"\s*(%|per ?cent|pour ?cent)", re.IGNORECASE)
_TIME_WORD = re.compile(
    r"[-\s]*(s|min|h|d|j|seconds?|minutes?|hours?|days?|weeks?|secondes?|heures?|jours?|semaines?)\b", re.IGNORECASE
)
_TIMES_S = {
    **_UNIT_S,
    **dict.fromkeys(("second", "seconde"), 1),
    "minute": 60,
    **dict.fromkeys(("hour", "heure"), 3600),
    **dict.fromkeys(("day", "jour"), 86_400),
    **dict.fromkeys(("week", "semaine"), 604_800),
}
_SPACES = re.compile("[\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}]")


class Checked(NamedTuple):
    """The figures of a text, as they are written there: those that are facts, moments aside, and those that are none."""

    facts: list[str]
    wrong: list[str]


def unfounded(text: str, told: Told) -> list[str]:
    """The figures in a text that no fact bears out; empty if all are facts."""
    return check(text, told).wrong


def check(text: str, told: Told) -> Checked:
    """Lays every figure of a text against the facts.

    A figure may be rounded to two digits or more: it agrees with a fact where it is no further from it than half a unit of its
    last digit. A time agrees with a duration alone, a percentage with a share or a value in percent. A decimal comma is as good
    as a point; names are no figures, whatever digits they have.
    """
    right: list[str] = []
    wrong: list[str] = []
    rest = _SPACES.sub(" ", text)
    for name in sorted(_names(told), key=len, reverse=True):
        rest = rest.replace(name, " ")
    moments = [at for at in (told.at, told.since, told.until) if at is not None]
    rest = _struck(rest, _DATE, {f"{at:{form}}" for at in moments for form in _DATES}, wrong)
    rest = _struck(rest, _TIME, {f"{at:{form}}" for at in moments for form in _TIMES}, wrong)
    durations = list(_durations(told))
    figures = {percent: list(_figures(told, percent=percent)) for percent in (False, True)}

    def span(match: re.Match[str]) -> str:
        first, unit, second, finer, alone, _ = match.groups()
        said = int(alone) if alone else int(first) * _UNIT_S[unit] + int(second) * _UNIT_S[finer]
        # What is left of the finer unit is cut off, not rounded.
        least = 1 if alone else _UNIT_S[finer]
        (right if any(abs(said - seconds) <= least for seconds in durations) else wrong).append(match[0])
        return " "

    rest = _SPAN.sub(span, rest)
    for match in _NUMBER.finditer(rest):
        percent = _PERCENT.match(rest, match.end()) is not None
        time = _TIME_WORD.match(rest, match.end())
        if time is not None:
            unit_s = _TIMES_S[time[1].lower().rstrip("s") or "s"]
            facts = [seconds / unit_s for seconds in durations]
        else:
            facts = figures[percent]
        (right if any(_agrees(match[0], fact, rounded=percent) for fact in facts) else wrong).append(match[0])
    return Checked(right, wrong)


def _struck(text: str, pattern: re.Pattern[str], known: set[str], wrong: list[str]) -> str:
    wrong += [found for found in pattern.findall(text) if found not in known]
    return pattern.sub(" ", text)


def _agrees(written: str, figure: float, *, rounded: bool) -> bool:
    """`rounded`: to a single digit as well."""
    plain = written.replace(",", ".")
    mantissa, _, exponent = plain.partition("e")
    half = 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    # Which way a value moves may be said by a word: the sign is not compared.
    far = abs(abs(float(plain)) - abs(figure))
    if not rounded and len(mantissa.replace(".", "").lstrip("+-0")) < LEAST_DIGITS:
        return far <= FIVE_DIGITS * abs(figure)
    return far <= half + 1e-9 * abs(figure)


def _names(told: Told) -> Iterator[str]:
    texts = [told.by, told.note, told.facts.code, told.unit, *told.tag.split("/")]
    for part in told.facts.parts:
        texts += [part.unit, *part.tag.split("/")]
    for text in texts:
        for form in (text, short(text), short(text, 40)):
            if any(sign.isdigit() for sign in form):
                yield form


def _durations(told: Told) -> Iterator[float]:
    yield told.lasted_s
    yield from (value for name, value in told.facts.figures if name.endswith("_s"))
    if told.verdict is not None:
        yield (told.at - told.verdict.at).total_seconds()
        if told.verdict.lead_s is not None:
            yield told.verdict.lead_s


def _figures(told: Told, *, percent: bool) -> Iterator[float]:
    """Those that are percentages, of their nature or by their unit, or all the others."""
    verdict, parts = told.verdict, told.facts.parts
    found: list[float | None] = []
    if percent:
        shares = [part.share for part in parts] + [None if verdict is None else verdict.probability]
        found += [100 * share for share in shares if share is not None]
    fits = not told.unit or (told.unit == "%") is percent
    if fits and verdict is not None:
        found += [verdict.value, verdict.low, verdict.high]
    if fits or not percent:
        found += [value for name, value in told.facts.figures if not name.endswith("_s")]
    for part in parts:
        if not part.unit or (part.unit == "%") is percent:
            found += [part.value, part.expected, part.usual]
    return (figure for figure in found if figure is not None and math.isfinite(figure))

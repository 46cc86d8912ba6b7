"""Is every figure of a text one of the facts? What is no fact must not reach an operator, whoever wrote it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from detectors.reason.told import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detectors.reason.told import Told

__all__ = ["unfounded"]

_DATES = ("%Y-%m-%d", "%d/%m/%Y")
_TIMES = ("%H:%M:%S", "%H:%M")
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d/\d\d/\d{4}")
_TIME = re.compile(r"\d\d:\d\d(?::\d\d)?")
_UNIT_S = {"d": 86_400, "j": 86_400, "h": 3600, "min": 60, "s": 1}
_SPAN = re.compile(r"(?<![\d.,])(\d+)\s(d|j|h|min)\s(\d+)\s(h|min|s)\b|(?<![\d.,])(\d+)\s(s)\b")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?(?!\w)|\d+(?:[.,]\d+)?")
_SPACES = re.compile("[\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}]")


def unfounded(text: str, told: Told) -> list[str]:
    """The figures in a text that no fact bears out, as they are written there; empty if all are facts.

    A figure may be rounded as its writer likes: it agrees with a fact where it is no further from it than half a unit of its
    last digit. A decimal comma is as good as a point; names are no figures, whatever digits they have.
    """
    wrong: list[str] = []
    rest = _SPACES.sub(" ", text)
    for name in sorted(_names(told), key=len, reverse=True):
        rest = rest.replace(name, " ")
    moments = [at for at in (told.at, told.since, told.until) if at is not None]
    rest = _struck(rest, _DATE, {f"{at:{form}}" for at in moments for form in _DATES}, wrong)
    rest = _struck(rest, _TIME, {f"{at:{form}}" for at in moments for form in _TIMES}, wrong)
    durations, figures = list(_durations(told)), list(_figures(told))

    def span(match: re.Match[str]) -> str:
        first, unit, second, finer, alone, _ = match.groups()
        said = int(alone) if alone else int(first) * _UNIT_S[unit] + int(second) * _UNIT_S[finer]
        # What is left of the finer unit is cut off, not rounded.
        least = 1 if alone else _UNIT_S[finer]
        if not any(abs(said - seconds) <= least for seconds in durations):
            wrong.append(match[0])
        return " "

    rest = _SPAN.sub(span, rest)
    wrong += [match[0] for match in _NUMBER.finditer(rest) if not any(_agrees(match[0], figure) for figure in figures)]
    return wrong


def _struck(text: str, pattern: re.Pattern[str], known: set[str], wrong: list[str]) -> str:
    wrong += [found for found in pattern.findall(text) if found not in known]
    return pattern.sub(" ", text)


def _agrees(written: str, figure: float) -> bool:
    plain = written.replace(",", ".")
    mantissa, _, exponent = plain.partition("e")
    half = 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    # Which way a value moves may be said by a word: the sign is not compared.
    return abs(abs(float(plain)) - abs(figure)) <= half + 1e-9 * abs(figure)


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


def _figures(told: Told) -> Iterator[float]:
    found = [value for _, value in told.facts.figures]
    if told.verdict is not None:
        verdict = told.verdict
        found += [f for f in (verdict.value, verdict.low, verdict.high, verdict.lead_s) if f is not None]
        found += [100 * verdict.probability] if verdict.probability is not None else []
    for part in told.facts.parts:
        found += [f for f in (part.value, part.expected, part.usual) if f is not None]
        found += [100 * part.share] if part.share is not None else []
    return filter(math.isfinite, found)

"""How is a model asked in words for more of a series? The text of both instruction prompts, and of an answer that is right.

`json` gives the past as dated JSON and asks for more of it; `role` says who the model is and what its task is, and gives the
same JSON. Nothing here needs a model: the same words go to the model (`detectors.language.prompt`) and into texts that other
tools fine-tune with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from detectors.language.grammar import END, date_text, notation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from detectors.language.grammar import Number
    from detectors.records import Window

__all__ = ["Conversation", "Style", "Wording", "conversation", "opening", "step_at", "worded"]

Style = Literal["json", "role"]
_ROLE = "You are an expert in forecasting time series of industrial measurements."
_ASK = "Answer with JSON only, in the same form: {horizon} entries, from {first} to {last}."
_INTRODUCTION = {
    "json": "Here is a time series as JSON.\n",
    "role": "Task: forecast the next {horizon} values of the following time series, one every {period_s:g} seconds.\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What stands before and behind the past; `role` is the system's message, empty where there is none."""

    role: str
    introduction: str
    ask: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A system's message (may be empty), the question with the past in it, and the answer that would be right."""

    role: str
    prompt: str
    response: str


def worded(style: Style, window: Window, horizon: int, number: Number) -> Wording:
    """The words around the past of a window of which `horizon` more values are asked for."""
    first, last = (date_text(step_at(window, lead), window.period_s) for lead in (1, horizon))
    ask = _ASK.format(horizon=horizon, first=first, last=last)
    if number.power:
        ask = f"Values are in units of 1e{number.power}. {ask}"
    introduction = _INTRODUCTION[style].format(horizon=horizon, period_s=window.period_s)
    return Wording(role=_ROLE if style == "role" else "", introduction=introduction, ask=ask)


def opening(window: Window, lead: int, *, first: bool) -> str:
    """What stands before a value: the entry's bracket, its date, the key of the value."""
    date = date_text(step_at(window, lead), window.period_s)
    return f'{"[" if first else ", "}{{"date": "{date}", "value": '


def step_at(window: Window, lead: int) -> datetime:
    """Moment of a step so many behind the window's end; below 1 of the past."""
    return window.end_at + timedelta(seconds=lead * window.period_s)


def conversation(style: Style, window: Window, values: Sequence[float]) -> Conversation:
    """What would be asked behind a window, and the answer that gives these values, which have no holes."""
    past = [(i - len(window.values) + 1, value) for i, value in enumerate(window.values) if math.isfinite(value)]
    number = notation([value for _, value in past])
    words = worded(style, window, len(values), number)
    shown = _list(window, past, number)
    answer = _list(window, list(enumerate(values, 1)), number)
    return Conversation(role=words.role, prompt=f"{words.introduction}{shown}\n{words.ask}", response=answer)


def _list(window: Window, entries: Sequence[tuple[int, float]], number: Number) -> str:
    """Dated values as the prompts and their answers write them."""
    texts = [
        f"{opening(window, lead, first=not i)}{number.write(value)}{END}" for i, (lead, value) in enumerate(entries)
    ]
    return "".join(texts) + "]"

"""How must a single value look? The types that the schema is made of, each with its limits in words.

Strict pydantic takes a whole number where a number is asked for, and nothing else that is not exactly what is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = [
    "YEAR_S",
    "Address",
    "AlarmName",
    "Amount",
    "Duration",
    "Endpoint",
    "Finite",
    "Form",
    "Host",
    "JsonPath",
    "KeepAlive",
    "Name",
    "Node",
    "Port",
    "Positive",
    "Prefix",
    "Priority",
    "Section",
    "Sha256",
    "Span",
    "Topic",
    "Unit",
    "Words",
    "wrong",
]

YEAR_S = 31_536_000


@dataclass(frozen=True, slots=True)
class Form:
    """A pattern for the machine, and the same in words for whoever writes the file."""

    pattern: str
    words: str

    def __call__(self, text: str) -> str:
        """The text itself; raises ValueError if it looks otherwise."""
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise ValueError(f"expected {self.words}")
        return text


def _topic(text: str) -> str:
    levels = text.split("/")
    whole = all(level in {"+", "#"} or not set(level) & set("+#\0") for level in levels)
    if not text or not whole or "#" in levels[:-1] or len(text.encode()) > 65_535:
        raise ValueError("expected topic levels with / between them; + stands for one whole level, # for all the last")
    return text


# Names become topic levels, labels, file names and log words; nothing in them may mean anything to any of those.
Name = Annotated[
    str, AfterValidator(Form(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a name of letters, digits, _ . - (64 at most)"))
]
Prefix = Annotated[
    str, AfterValidator(Form(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", "topic levels of letters, digits, _ . -"))
]
AlarmName = Annotated[
    str,
    AfterValidator(Form(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63}/){2}[a-z_]{1,32}", "the name of an alarm, asset/tag/rule")),
]
Host = Annotated[str, AfterValidator(Form(r"[^\s/@]{1,253}", "a host name or address, without mqtt:// before it"))]
Address = Annotated[
    str, AfterValidator(Form(r"https?://[^\s/@]+(/[^\s@]*)?", "http://HOST:PORT or https://HOST:PORT, without a login"))
]
Endpoint = Annotated[
    str, AfterValidator(Form(r"opc\.tcp://[^\s/@]+(/[^\s]*)?", "opc.tcp://HOST:PORT/PATH, without a login"))
]
Node = Annotated[
    str,
    AfterValidator(
        Form(
            r"(nsu=[^;]+;)?(i=\d+|[sgb]=.+)",
            "a node such as s=Boiler.T, i=1001 or nsu=URI;s=Boiler.T (ns=NUMBER may move when the server restarts)",
        )
    ),
]
Topic = Annotated[str, AfterValidator(_topic)]
JsonPath = Annotated[
    str, AfterValidator(Form(r"\$((\.[A-Za-z_][\w-]*)|(\[\d+\]))*", "a path such as $.value or $.data[0].v"))
]
Sha256 = Annotated[str, AfterValidator(Form(r"[0-9a-f]{64}", "64 hexadecimal digits, in small letters"))]
Words = Annotated[str, AfterValidator(Form(r"[^\x00-\x1f\x7f]{1,1000}", "a line of text"))]
Unit = Annotated[str, AfterValidator(Form(r"[^\x00-\x1f\x7f]{0,32}", "a unit of at most 32 characters"))]

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Duration = Annotated[float, Field(ge=0, le=YEAR_S, allow_inf_nan=False)]
Span = Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65_535)]
KeepAlive = Annotated[int, Field(ge=5, le=3600)]
Priority = Literal["low", "medium", "high", "critical"]


class Section(BaseModel):
    """A part of the file: strict, frozen, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def wrong(key: str, message: str) -> PydanticCustomError:
    """An error of a whole section that is placed at one of its keys."""
    return PydanticCustomError("at", "{message}", {"message": message, "key": key})

"""Nothing from outside makes a line of the log, or tells journald what to think of one."""

from __future__ import annotations

import logging
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream.log_line import OneLine, printed


def line(message: str, *arguments: object, exc_info: Any = None) -> str:
    return OneLine().format(logging.LogRecord("stream.x", logging.WARNING, "f", 1, message, arguments, exc_info))


@given(st.text())
def test_whatever_a_text_holds_it_is_one_line(text: str) -> None:
    found = line("refused %s", text)
    assert found.splitlines() == [found]
    assert found.startswith("WARNING stream.x: refused ")
    assert found.isprintable()


@given(st.text(st.characters(categories=["L", "N", "P"])))
def test_what_prints_stays_as_it_is(text: str) -> None:
    assert printed(text) == text


def test_a_traceback_is_whole_and_no_line_of_it_passes_for_a_message() -> None:
    def fail() -> None:
        raise ValueError("bad\n<0>CRITICAL stream: the plant is on fire")

    try:
        fail()
    except ValueError:
        found = line("failed", exc_info=sys.exc_info())
    first, *rest = found.splitlines()
    assert first == "WARNING stream.x: failed"
    assert "ValueError: bad" in found
    assert all(each.startswith("  ") for each in rest)

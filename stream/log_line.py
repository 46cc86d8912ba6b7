"""What does the service's log look like? One line per message, whatever a broker, a server or a file put into it.

A text from outside may hold line ends, escape sequences for the terminal, or the `<0>` by which journald takes a line for an
emergency. So whatever does not print is shown as it would be written in Python, and no line begins with anything but its level.
"""

from __future__ import annotations

import logging

__all__ = ["OneLine", "printed"]


def printed(text: str) -> str:
    """The text with all that does not print as an escape: a line end is shown as backslash n."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class OneLine(logging.Formatter):
    """LEVEL logger: message. A traceback follows on lines of its own, each of them indented."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # logging's own name
        """The line, without what does not print."""
        return printed(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 # logging's own name
        """The traceback, indented, so that none of its lines can pass for a message."""
        text = super().formatException(ei)  # type: ignore[arg-type] # logging's private alias for what sys.exc_info gives
        return "\n".join(f"  {printed(line)}" for line in text.splitlines())

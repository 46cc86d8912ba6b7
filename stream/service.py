"""How does a pipeline live and end? Signals and a clean stop; `stream/running.py` follows the configuration as well."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream.pipeline import Pipeline

__all__ = ["log_to_stderr", "serve"]

_LEAST = {
    "asyncua": logging.CRITICAL,  # what matters of it is said by the source's status
    "paho": logging.WARNING,
    "transformers": logging.ERROR,
    "urllib3": logging.ERROR,
}


async def serve(pipeline: Pipeline, *, ready: Callable[[], None] = lambda: None) -> None:
    """Runs the pipeline until SIGTERM or SIGINT; a second signal ends the process at once, as usual."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        logging.getLogger(__name__).info("%s: stopping", number.name)
        loop.remove_signal_handler(number)
        pipeline.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        await pipeline.run(ready=ready)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def log_to_stderr(level: int = logging.INFO) -> None:
    """One line per message, for the supervisor's journal; libraries speak only of trouble that we do not report ourselves."""
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    for name, least in _LEAST.items():
        logging.getLogger(name).setLevel(least)

"""How does a pipeline live and end? Signals and a clean stop; `stream/running.py` follows the configuration as well."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
from typing import TYPE_CHECKING

from stream.log_line import OneLine
from stream.system_log import SystemLog, stderr_is_the_journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream.pipeline import Pipeline

__all__ = ["forbid_core_dumps", "log_to_stderr", "serve"]

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


def forbid_core_dumps() -> None:
    """A core dump would hold the secrets: none is written of this process and its children, whoever started it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def log_to_stderr(level: int = logging.INFO) -> None:
    """One line per message, for the supervisor's journal; libraries speak only of trouble that we do not report ourselves."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    if stderr_is_the_journal():
        handler = SystemLog(handler)
        handler.setFormatter(OneLine())
    logging.basicConfig(level=level, handlers=[handler])
    for name, least in _LEAST.items():
        logging.getLogger(name).setLevel(least)

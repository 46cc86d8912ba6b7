"""What does a call take? Wall time, and the memory of this process at its peak, read from the kernel."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from detectors.evaluation.backtest import Cost

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ProcessMeter"]

T = TypeVar("T")

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class ProcessMeter:
    """Measures one call at a time; where the kernel keeps no peak (another system than Linux) the memory is 0."""

    def measure(self, call: Callable[[], T]) -> tuple[T, Cost]:
        """What the call returns, and what it took; memory is the peak above what was in use before it."""
        try:
            _RESET.write_text("5", encoding="ascii")  # the peak is what is in use now
        except OSError:
            before = None
        else:
            before = _bytes("VmRSS")
        start = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - start
        peak = 0 if before is None else max(_bytes("VmHWM") - before, 0)
        return result, Cost(seconds=seconds, memory_bytes=peak)


def _bytes(name: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024

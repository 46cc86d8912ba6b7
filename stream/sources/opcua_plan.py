"""What is followed at an OPC UA server, and how?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.clock import Clock
    from stream.sources.opcua_node import UaTag

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to follow, and how; intervals are machine seconds."""

    source: str
    endpoint: str
    namespace: str
    tags: Sequence[UaTag]
    publishing_s: float
    sampling_s: float
    queue_size: int
    silent_after_s: float
    trigger: Literal["value", "timestamp"]
    clock: Clock

"""How does the simulated plant run in time?

One loop: at each second of plant time it scans the plant room and hands the reports to the OPC UA server and the MQTT
broker. A scan that comes late is still made, with its own time, so that nothing is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from plant.broker import EmbeddedBroker
from plant.opcua import OpcuaServer
from plant.record import Record
from plant.room import PlantRoom

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime
    from pathlib import Path

    from plant.clock import PlantClock
    from plant.faults import Fault
    from plant.room import Scan

__all__ = ["PlantError", "Settings", "run"]

LATE_S = 5.0
"""Machine seconds behind the clock that are worth a warning."""
STOP_S = 1.0
"""Machine seconds that the clients get to take their leave."""

_log = logging.getLogger(__name__)


class PlantError(Exception):
    """The plant cannot start; the message says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the program was asked for."""

    host: str
    opcua_port: int
    mqtt_port: int
    folder: Path
    seed: int
    faults: Iterable[Fault]


async def run(settings: Settings, clock: PlantClock, *, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serves the plant until `stop` is set; `ready` is called with one line once both servers answer.

    Raises PlantError where a port or the folder cannot be had.
    """
    opcua = OpcuaServer(host=settings.host, port=settings.opcua_port)
    broker = EmbeddedBroker(host=settings.host, port=settings.mqtt_port)
    async with contextlib.AsyncExitStack() as stack:
        try:
            record = stack.enter_context(Record(settings.folder))
        except OSError as error:
            raise PlantError(f"folder {settings.folder}: cannot write in it: {error}") from error
        # Stopped even where a start fails: what has started by then has tasks.
        stack.push_async_callback(_stop, opcua.stop, broker.stop)
        await _start(opcua.start, f"OPC UA server on {settings.host}:{settings.opcua_port}")
        await _start(broker.start, f"MQTT broker on {broker.address}")
        start = clock.now().replace(microsecond=0)
        midnight = start.replace(hour=0, minute=0, second=0)
        room = PlantRoom(seed=settings.seed, faults=settings.faults, second_of_day=(start - midnight).total_seconds())
        await _send(room.scan(), start, opcua, broker, record)  # whoever connects finds values
        ready(f"ready opcua={opcua.endpoint} mqtt={broker.address}")
        late = False
        while True:
            scan = room.scan()
            wait_s = clock.wait_s(start + timedelta(seconds=scan.at_s))
            late = _watch(wait_s, was_late=late)
            if await _stopped(stop, wait_s):
                break
            await _send(scan, start, opcua, broker, record)


async def _send(scan: Scan, start: datetime, opcua: OpcuaServer, broker: EmbeddedBroker, record: Record) -> None:
    source_at = start + timedelta(seconds=scan.at_s)
    for fault in scan.begun:
        record.label(fault, start)
    for reading in scan.reports:
        await opcua.report(reading, source_at)
        record.sent("opcua", reading, source_at)
        await broker.report(reading, source_at)
        record.sent("mqtt", reading, source_at)
    record.flush()


async def _start(start: Callable[[], Awaitable[None]], subject: str) -> None:
    # Both libraries log the traceback of what they raise; one line is enough.
    logs = [logging.getLogger(name) for name in ("amqtt", "asyncua")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        await start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise PlantError(f"{subject}: cannot listen: {reason}; choose another port or host") from error
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


async def _stop(*stops: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(TimeoutError):  # a client that does not let go is left behind
        async with asyncio.timeout(STOP_S):
            await asyncio.gather(*(stop() for stop in stops), return_exceptions=True)


async def _stopped(stop: asyncio.Event, wait_s: float) -> bool:
    if wait_s <= 0.0:
        await asyncio.sleep(0)  # late as we are, the servers get their turn
        return stop.is_set()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await stop.wait()
    return stop.is_set()


def _watch(wait_s: float, *, was_late: bool) -> bool:
    is_late = wait_s < -LATE_S
    if is_late and not was_late:
        _log.warning("the plant is %.1f s behind its clock: this machine is too busy for the speed asked for", -wait_s)
    return is_late

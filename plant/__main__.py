"""Starts the simulated plant from the command line: `python -m plant --help`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from plant.clock import PlantClock
from plant.faults import ScheduleError, scenario
from plant.server import PlantError, Settings, run

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the plant until it is told to stop; returns the exit code: 0, or 1 where it cannot start."""
    options = _parser().parse_args(arguments)
    if (options.origin is None) != (options.origin_unix is None):
        _parser().error("expected --origin and --origin-unix together, or neither")
    now = time.time()
    clock = PlantClock(
        origin=datetime.fromtimestamp(now, UTC) if options.origin is None else options.origin,
        origin_unix_s=now if options.origin_unix is None else options.origin_unix,
        speed=options.speed,
    )
    settings = Settings(
        host=options.host,
        opcua_port=options.opcua_port,
        mqtt_port=options.mqtt_port,
        folder=options.folder,
        seed=options.seed,
        faults=options.scenario,
    )
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # A client that leaves may have asked once more for notifications than it has subscriptions: no fault of the plant.
    logging.getLogger("asyncua.server.uaprocessor").addFilter(lambda said: "BadNoSubscription" not in said.getMessage())
    try:
        asyncio.run(_serve(settings, clock, options.seconds))
    except PlantError as error:
        sys.stderr.write(f"plant: {error}\n")
        return 1
    return 0


async def _serve(settings: Settings, clock: PlantClock, seconds: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def ready(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        if seconds is not None:
            loop.call_later(seconds, stop.set)

    await run(settings, clock, stop=stop, ready=ready)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m plant",
        description="A simulated chilled-water heat exchanger with five tags over OPC UA and MQTT, and labelled faults.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address that both servers bind (default: %(default)s)")
    add("--opcua-port", type=_port, default=4840, metavar="P", help="default: %(default)s")
    add("--mqtt-port", type=_port, default=1883, metavar="P", help="default: %(default)s")
    add("--speed", type=_positive, default=1.0, metavar="X", help="plant seconds per machine second (default: 1)")
    add("--seed", type=_seed, default=1, metavar="N", help="same seed and scenario, same plant (default: 1)")
    add(
        "--scenario",
        type=_scenario,
        default="tour",
        metavar="S",
        help="quiet, tour (default), or faults as kind[:tag][=size]@begin+duration, parted by commas",
    )
    add("--folder", type=Path, default=Path("plant-record"), metavar="DIR", help="for labels.csv and sent.csv")
    add("--for", dest="seconds", type=_positive, metavar="SECONDS", help="end so many machine seconds after `ready`")
    add("--origin", type=_moment, metavar="ISO", help="plant time at --origin-unix, ISO 8601 with its zone")
    add("--origin-unix", type=_number, metavar="S", help="machine time (Unix seconds) at which plant time is --origin")
    return parser


def _scenario(text: str) -> object:
    try:
        return scenario(text)
    except ScheduleError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a port of 1 to 65535, found {text[:20]!r}")
    return int(text)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, found {text[:20]!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, found {text[:20]!r}")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0.0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text[:20]!r}")
    return value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"expected ISO 8601 with a zone, such as 2026-01-05T12:00:00Z, found {text[:40]!r}"
        )
    return moment.astimezone(UTC)


if __name__ == "__main__":
    sys.exit(main())

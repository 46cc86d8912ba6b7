"""How does Givre look at work, with nothing prepared? The simulated plant as a program of its own, and Givre beside it.

Everything goes over the wire: the plant's OPC UA server and MQTT broker are real, and Givre is told of them by an ordinary
configuration file, the sample with other ports. Both programs share one fast clock.
"""

from __future__ import annotations

import asyncio
import csv
import os
import re
import signal
import socket
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.live import Live

from config.load import load
from config.reference import SAMPLE
from detectors.records import Alert
from stream.assemble import build_pipeline, open_journal
from stream.cli.demo_report import Fault, report
from stream.cli.view import TagFace, View
from stream.clock import FastClock
from stream.service import serve

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from config.load import Loaded
    from config.schema import Settings, Tag
    from stream.pipeline import Pipeline

__all__ = ["DemoError", "run_demo"]

ASSET = "exchanger"
PLANT_START_S = 30.0
SETTLE_S = 1.0
"""What the plant has sent must arrive within so many machine seconds, or it counts as lost."""
PLAIN_EVERY_S = 5.0
REFRESH_PER_S = 4
ENDLESS_S = 3600.0


class DemoError(Exception):
    """The demo cannot start; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plant:
    process: asyncio.subprocess.Process
    folder: Path

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(5):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()

    def faults(self) -> list[Fault]:
        """The faults that have begun, oldest first."""
        with (self.folder / "labels.csv").open(newline="", encoding="utf-8") as file:
            return [
                Fault(
                    kind=row["kind"],
                    tag=row["tag"],
                    begin_at=datetime.fromisoformat(row["begin_at"]),
                    end_at=datetime.fromisoformat(row["end_at"]),
                )
                for row in csv.DictReader(file)
            ]


async def run_demo(
    *, console: Console, folder: Path, speed: float, seed: int, scenario: str, seconds: float | None
) -> dict[str, object]:
    """Runs plant and Givre for `seconds` of machine time (None: until Ctrl-C) and returns the report."""
    # Plant time ends up at the machine's own at the end of the run, so that what is stored is never ahead of the clock.
    now = time.time()
    span_s = ENDLESS_S if seconds is None else seconds
    clock = FastClock(
        origin=datetime.fromtimestamp(now, UTC) - timedelta(seconds=span_s * (speed - 1)),
        origin_unix_s=now,
        speed=speed,
    )
    opcua_port, mqtt_port = _port(4840), _port(1883)
    loaded = _configuration(folder, opcua_port, mqtt_port)
    plant = await _start_plant(folder, opcua_port, mqtt_port, clock, seed, scenario)
    try:
        journal = open_journal(loaded)
        try:
            pipeline = build_pipeline(loaded, journal=journal, clock=clock)
            run = asyncio.create_task(serve(pipeline), name="service")
            try:
                await _watch(run, pipeline, plant, console, loaded, clock, seconds)
                # After Ctrl-C the sources have ended at once: what was sent last is on its way, and not lost.
                late = 2 * SETTLE_S * speed if pipeline.stopping else 0.0
                cut = clock.now() - timedelta(seconds=late)
                await asyncio.wait([run], timeout=SETTLE_S)
            finally:
                # Whatever ended the watch: what was delivered is judged and saved before the journal is closed.
                pipeline.stop()
                await run
            return report(
                pipeline=pipeline,
                received=journal.samples(clock.origin),
                alerts=journal.history(kinds={Alert}),
                sent=plant.folder / "sent.csv",
                asset=ASSET,
                by_opcua={name for name, tag in loaded.settings.tags().items() if tag.source.node is not None},
                faults=plant.faults(),
                cut=cut,
                clock=clock,
                seconds=time.time() - now,
            )
        finally:
            journal.close()
    finally:
        await plant.end()


async def _watch(  # noqa: PLR0917 - one caller, in this file
    run: asyncio.Task[None],
    pipeline: Pipeline,
    plant: _Plant,
    console: Console,
    loaded: Loaded,
    clock: FastClock,
    seconds: float | None,
) -> None:
    """Shows the run until its time is up, it is told to stop, or it ends by itself."""
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    view = View(pipeline, faces=_faces(loaded.settings), clock=clock, playing=lambda: _playing(plant, clock.now()))
    live = Live(view, console=console, refresh_per_second=REFRESH_PER_S, screen=False) if console.is_terminal else None
    try:
        if live is not None:
            live.start()
        said = 0.0
        while not run.done() and not pipeline.stopping:
            if plant.process.returncode is not None:
                raise DemoError(f"the plant has ended by itself, with code {plant.process.returncode}")
            now = asyncio.get_running_loop().time()
            if deadline is not None and now >= deadline:
                return
            if live is None and now - said >= PLAIN_EVERY_S:
                said = now
                console.print(_line(pipeline, plant, clock), highlight=False, soft_wrap=True)
            await asyncio.sleep(0.1)
    finally:
        if live is not None:
            live.stop()


def _line(pipeline: Pipeline, plant: _Plant, clock: FastClock) -> str:
    standing = sum(alarm.memory.state.active for alarm in pipeline.lane.alarms.values())
    return (
        f"{clock.now():%H:%M:%S}  samples {pipeline.metrics.samples}  forecasts {pipeline.metrics.forecasts.total()}  "
        f"alarms {standing} standing, {pipeline.metrics.raised} raised  plant: {_playing(plant, clock.now())}"
    )


def _playing(plant: _Plant, now: datetime) -> str:
    playing = [f"{f.kind} {f.tag}".strip() for f in plant.faults() if f.begin_at <= now < f.end_at]
    return ", ".join(playing) or "normal operation"


def _configuration(folder: Path, opcua_port: int, mqtt_port: int) -> Loaded:
    """The sample, with the demo's ports, beside the journal: an ordinary file to look at afterwards."""
    text = SAMPLE.read_text(encoding="utf-8")
    text = text.replace("127.0.0.1:4840/", f"127.0.0.1:{opcua_port}/").replace("port: 1883", f"port: {mqtt_port}")
    # The embedded broker speaks MQTT 3.1.1 only.
    text = re.sub(r'^( +)# protocol: "5".*$', r'\1protocol: "3.1.1"', text, flags=re.MULTILINE)
    if url := os.environ.get("INFLUXDB_URL"):
        text = text.replace("sinks:\n", "sinks:\n" + _influx(url), 1)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "demo.yaml"
    path.write_text(f"state_folder: state\n{text}", encoding="utf-8")
    return load(path)


def _influx(url: str) -> str:
    """An InfluxDB sink from the environment: INFLUXDB_TOKEN means the v2 API, none the older /write."""
    lines = ["type: influxdb", f"url: {url}", f"bucket: {os.environ.get('INFLUXDB_BUCKET', 'givre')}"]
    if os.environ.get("INFLUXDB_TOKEN"):
        lines += [f"org: {os.environ.get('INFLUXDB_ORG', 'givre')}", "token: {env: INFLUXDB_TOKEN}"]
    else:
        lines += ["version: 1"]
    return "  database:\n" + "".join(f"    {line}\n" for line in lines)


async def _start_plant(  # noqa: PLR0917 - one caller, in this file
    folder: Path, opcua_port: int, mqtt_port: int, clock: FastClock, seed: int, scenario: str
) -> _Plant:
    plant_folder = folder / "plant"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plant", "--opcua-port", str(opcua_port), "--mqtt-port", str(mqtt_port)),
        *("--speed", str(clock.speed), "--seed", str(seed), "--scenario", scenario, "--folder", str(plant_folder)),
        *("--origin", clock.origin.isoformat(), "--origin-unix", repr(clock.origin_unix_s)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for Givre, which ends the plant when it has counted
    )
    plant = _Plant(process=process, folder=plant_folder)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PLANT_START_S):
            line = await process.stdout.readline()
    except TimeoutError:
        await plant.end()
        raise DemoError(f"the plant did not start within {PLANT_START_S:g} s") from None
    if not line.startswith(b"ready"):
        said = (await process.stderr.read()).decode(errors="replace").strip()
        await plant.end()
        raise DemoError(f"the plant did not start: {said or 'it gave no reason'}")
    return plant


def _port(wanted: int) -> int:
    """The usual port if it is free, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("no free port on 127.0.0.1")


def _faces(settings: Settings) -> dict[str, TagFace]:
    """How every tag is written at the terminal."""

    def face(tag: Tag) -> TagFace:
        band = tag.tolerance
        if band is None or band.setpoint is None or band.setpoint_tag is not None:
            return TagFace(unit=tag.unit, low=None, high=None)
        return TagFace(unit=tag.unit, low=band.setpoint - band.tolerance, high=band.setpoint + band.tolerance)

    return {name: face(tag) for name, tag in settings.tags().items()}

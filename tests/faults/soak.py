"""Does Givre hold for hours while its servers, its network, its disk and itself fail at random?

`python tests/faults/soak.py --hours 1 --seed 7 [--every 180]` runs `givre run` between a real mosquitto, an OPC UA server and
InfluxDB, each behind a relay, with the state folder on a disk of its own. Every so often one fault is made, undone, and waited
for until Givre is well and all that was said so far is in the database. Givre itself is killed in the first third alone: over
the life that follows, its memory, descriptors and threads are watched.

The last line is JSON; exit code 1 where an invariant broke.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from soak_examination import examine
from soak_plant import FLOWS, Observer, Plant
from soak_service import SERVERS, Links, Service, growth

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
SITE = "soak"
DISK_MB = 256
WELL_WITHIN_S = 90.0
"""A fault that was undone is over for Givre within so long, or an invariant is broken."""
WATCH_EVERY_S = 2.0
CONFIG = """\
site: {site}
state_folder: state
lateness_s: 0.5
panel: {{members: [persistence]}}
journal: {{max_size_mb: 128}}
http: {{port: {http}}}
sources:
  broker: {{type: mqtt, host: 127.0.0.1, port: {broker}, client_id: in, keepalive_s: 10}}
  plc:
    {{type: opcua, endpoint: 'opc.tcp://127.0.0.1:{plc}/plant', namespace: 'urn:plant', publishing_interval_s: 0.2,
      sampling_interval_s: 0.05, queue_size: 400, silent_after_s: 5}}
sinks:
  alerts: {{type: mqtt, host: 127.0.0.1, port: {broker}, client_id: out, keepalive_s: 10}}
  database: {{type: influxdb, version: 1, url: 'http://127.0.0.1:{database}', bucket: givre}}
assets:
  hx:
    tags:
      count: {{unit: m3, period_s: 1, hold_s: 3600, source: {{name: plc, node: s=count}}}}
      wave:
        {{unit: degC, period_s: 1, hold_s: 3600, tolerance: {{setpoint: 5, tolerance: 0.5}},
          source: {{name: broker, topic: plant/wave, value: $.v, time: $.t}}}}
{flows}
"""
FLOW = "      {0}: {{unit: m3, period_s: 1, hold_s: 3600, source: {{name: broker, topic: plant/{0}, value: $.v, time: $.t}}}}"


@dataclass(slots=True)
class Fault:
    """One fault as it was made, from its beginning until Givre was well again (s since the epoch)."""

    name: str
    begin: float
    undone: float = 0.0
    well: float = 0.0


@dataclass
class Soak:
    """All that runs, and what has been seen of it."""

    service: Service
    broker: Any
    plc: Any
    database: Any
    links: Links
    plant: Any
    disk: Path | None
    dice: random.Random
    epoch: float
    faults: list[Fault] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    settled: int = 0
    """Ticks of the plant that are known to be in the database."""

    def names(self, *, kills: bool) -> list[str]:
        every = [
            f"{what} {who}" for who in ("broker", "plc", "database") for what in ("kill", "freeze", "cut", "reset")
        ]
        return [
            *every, "freeze service", "kill model", *(["fill disk"] if self.disk else []),
            *(["kill service"] * 3 if kills else []),
        ]  # fmt: skip

    def make(self, name: str, for_s: float) -> None:
        """One fault, from its beginning until all is well."""
        what, who = name.split()
        fault = Fault(name, time.time())
        self.faults.append(fault)
        server = getattr(self, who, None)
        if what == "kill" and who == "model":
            for child in self.service.children():
                if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(child, signal.SIGKILL)
        elif what == "kill":
            server.kill()
            if who == "broker":
                self.plant.lose_broker()
            self.wait(0.0 if who == "service" else for_s)
            server.start()
            if who == "broker":
                self.plant.find_broker(self.settled)
        elif what == "freeze":
            server.send(signal.SIGSTOP)
            self.wait(for_s)
            server.send(signal.SIGCONT)
        elif what == "cut":
            self.links.cut(who)
            self.wait(for_s)
            self.links.mend(who)
        elif what == "reset":
            self.links.reset(who)
        else:
            filler = self.fill()
            self.wait(for_s)
            filler.unlink()
        fault.undone = time.time()
        self.settle(name)
        fault.well = time.time()
        was, took = f"for {fault.undone - fault.begin:4.1f} s", f"well after {fault.well - fault.undone:4.1f} s"
        holds = f"{self.service.looks[-1].rss_mb:.1f} MB" if self.service.looks else ""
        print(f"{datetime.now(UTC):%H:%M:%S} {name:16} {was}, {took}, {holds}", flush=True)

    def fill(self) -> Path:
        assert self.disk is not None
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        return filler

    def wait(self, for_s: float) -> None:
        """Lets time pass, looking at the process meanwhile."""
        end = time.monotonic() + for_s
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, WATCH_EVERY_S))
            self.service.look()

    def settle(self, after: str) -> None:
        """Until Givre is well, and the database has all that was said so far and what the OPC UA server counts now."""
        ticks, began, deadline = len(self.plant.said), time.time(), time.monotonic() + WELL_WITHIN_S
        while time.monotonic() < deadline:
            if not self.service.alive:
                self.broken.append(f"after {after}: the service has ended by itself")
                self.service.start()
            self.service.look()
            state, why = self.service.health()
            if state == 200 and (missing := self.missing(ticks)) == 0 and self.counts_since(began):
                self.settled = ticks
                return
            time.sleep(0.2)
        state, why = self.service.health()
        missing = self.missing(ticks)
        self.broken.append(f"after {after}: not well within {WELL_WITHIN_S:.0f} s: {missing} missing, {state} {why}")
        print(self.broken[-1], flush=True)

    def counts_since(self, moment: float) -> bool:
        """Whether the database has what the OPC UA server has counted since."""
        begin = round(moment * 1e6)
        return bool(
            self.database.ask(f'SELECT LAST("value") FROM "sample" WHERE "tag" = \'count\' AND time >= {begin}u')
        )

    def missing(self, ticks: int) -> int:
        """How many of the ticks since the last settled one are not in the database, over all flows."""
        if ticks <= self.settled:
            return 0
        begin, end = (round(self.plant.said[i].at * 1e6) for i in (self.settled, ticks - 1))
        text = f'SELECT COUNT("value") FROM "sample" WHERE "tag" =~ /flow/ AND time >= {begin}u AND time <= {end}u'
        return (ticks - self.settled) * len(FLOWS) - sum(row["count"] for row in self.database.ask(text))


@contextmanager
def running(seed: int) -> Iterator[Soak]:
    """All servers and the service, up and well; all of it ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="givre-soak-"))
    state = folder / "state"
    state.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(state)], capture_output=True, check=False
    ).returncode
    state.chmod(0o700)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    broker = SERVERS.Mosquitto(SERVERS._require("mosquitto"), folder / "mosquitto", ports[0])
    plc = SERVERS.UaServer(ports[1])
    database = SERVERS.Influxd(SERVERS._require("influxd"), folder / "influxd")
    links = Links(broker=ports[0], plc=ports[1], database=int(database.url.rpartition(":")[2]))
    service = Service(folder, ports[2])
    flows = "\n".join(FLOW.format(name) for name in FLOWS)
    reached = {name: links.port(name) for name in ("broker", "plc", "database")}
    service.config.write_text(CONFIG.format(site=SITE, http=ports[2], flows=flows, **reached))
    plant: Any = None
    try:
        epoch = float(int(time.time()))
        broker.start("allow_anonymous true", "autosave_interval 1")
        plc.start(f"--epoch={epoch}")
        database.start()
        database.ask("CREATE DATABASE givre")
        plant = Plant(ports[0])
        service.start()
        soak = Soak(
            service=service, broker=broker, plc=plc, database=database, links=links, plant=plant,
            disk=state if mounted else None, dice=random.Random(seed), epoch=epoch,
        )  # fmt: skip
        soak.settle("the start")
        yield soak
    finally:
        if plant is not None:
            plant.close()
        service.kill()
        links.close()
        for server in (broker, plc, database):
            server.kill()
        if mounted:
            subprocess.run(["umount", "--lazy", str(state)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def play(soak: Soak, *, last_s: float, every_s: float) -> None:
    """Faults in a random order, each kind once before one comes again, for as long as it is to last."""
    began, bag = time.monotonic(), []
    while (gone_s := time.monotonic() - began) < last_s:
        kills = gone_s < last_s / 3
        bag = [name for name in bag if kills or name != "kill service"] or soak.names(kills=kills)
        name = bag.pop(soak.dice.randrange(len(bag)))
        soak.wait(soak.dice.uniform(0.3, 1.0) * every_s / 2)
        soak.make(name, soak.dice.uniform(1.0, min(max(every_s / 3, 2.0), 30.0)))
        soak.wait(min(every_s - (time.monotonic() - began - gone_s), last_s - (time.monotonic() - began)))


def main() -> int:
    """Runs, prints a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--every", type=float, default=120.0, help="from one fault to the next (s)")
    options = parser.parse_args()
    with running(options.seed) as soak:
        observer = Observer(soak.broker.port, SITE)
        try:
            soak.plant.start()
            play(soak, last_s=options.hours * 3600, every_s=options.every)
            soak.plant.rest()
            soak.settle("the end")
            soak.wait(3)  # the last swing is told
            if code := soak.service.end():
                soak.broken.append(f"ended with {code}")
            figures = examine(soak, observer) | growth(soak.service.looks, soak.broken)
        finally:
            observer.close()
        if soak.broken:
            shutil.copy(soak.service.log, log := Path(tempfile.gettempdir()) / f"givre-soak-{options.seed}.log")
            print(f"the service's log: {log}")
    waits = [f.well - f.undone for f in soak.faults]
    print(f"\n{len(soak.faults)} faults: {dict(Counter(f.name for f in soak.faults))}")
    for name, figure in figures.items():
        print(f"{name:20} {figure}")
    print("\n".join(soak.broken) or "no invariant broken")
    print(json.dumps({
        "ok": not soak.broken, "hours": options.hours, "seed": options.seed, "faults": len(soak.faults),
        "well_after_s": {"median": round(median(waits), 1), "most": round(max(waits), 1)} if waits else {},
        **figures, "broken": soak.broken,
    }))  # fmt: skip
    return int(bool(soak.broken))


if __name__ == "__main__":
    sys.exit(main())

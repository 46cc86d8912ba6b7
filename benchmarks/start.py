"""From the start of the service to the first value that the model has scored, and to its first forecast.

The default model is cached, as it is from its first use on. The service is started twice over a real mosquitto: with nothing,
and again with the windows that the journal has kept, which the model reads anew.

usage: python -m benchmarks.start [--tags 5]
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from rich.console import Console
from rich.table import Table

from benchmarks.latency import make_config
from benchmarks.machine import machine
from stream.journal.entry import KINDS
from stream.model.weights import default_model

LIMIT_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tags", type=int, default=5)
    options = parser.parse_args()
    broker = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if broker is None:
        sys.exit("mosquitto is not installed: apt-get install mosquitto")
    load_s = _load(default_model())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = (f"listener {port} 127.0.0.1", "allow_anonymous true", "user root", "")
        (folder / "mosquitto.conf").write_text("\n".join(settings))
        server = subprocess.Popen([broker, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        (folder / "bench.yaml").write_text(make_config(port, options.tags), encoding="utf-8")
        done = threading.Event()
        feed = threading.Thread(target=_feed, args=(port, options.tags, done))
        feed.start()
        try:
            first, again = _start(folder), _start(folder)
        finally:
            done.set()
            feed.join()
            server.terminate()
            server.wait()
    table = Table(title=f"seconds from the start of the service, {options.tags} tags, a step every 0.5 s")
    for head in ("start", "first score", "first forecast by the model"):
        table.add_column(head, justify="left" if head == "start" else "right")
    for name, found in (("with nothing kept", first), ("again, windows from the journal", again)):
        table.add_row(name, *(f"{found[kind]:.1f}" for kind in ("score", "forecast")))
    console = Console()
    console.print(machine())
    console.print(table)
    console.print(f"the model alone is loaded from its cache in {load_s:.2f} s, libraries aside")
    figures = {"load_s": load_s, "first_score_s": first["score"], "first_forecast_s": first["forecast"]}
    figures |= {"restart_score_s": again["score"], "restart_forecast_s": again["forecast"]}
    print(json.dumps({name: round(value, 2) for name, value in figures.items()} | {"machine": machine()}))


def _load(folder: Path) -> float:
    """Seconds in a process of its own, the libraries imported before."""
    code = "import sys, time; from pathlib import Path; from detectors.language.model import load_model; "
    code += "t = time.perf_counter(); load_model(Path(sys.argv[1])); print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def _feed(port: int, tags: int, done: threading.Event) -> None:
    """Values of all tags, ten times a second."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="plant")
    client.connect("127.0.0.1", port)
    client.loop_start()
    i = 0
    while not done.wait(0.1):
        for tag in range(tags):
            client.publish(f"plant/t{tag}", f"{5 + 0.01 * (i % 7)}")
        i += 1
    client.loop_stop()


def _start(folder: Path) -> dict[str, float]:
    """Seconds to the first record of each kind that only the model makes."""
    started = time.time()
    with (folder / "log").open("a") as log:
        service = subprocess.Popen([sys.executable, "-m", "stream", "run", str(folder / "bench.yaml")], stderr=log)
    found: dict[str, float] = {}
    try:
        while len(found) < 2:
            if time.time() - started > LIMIT_S:
                sys.exit(f"nothing was scored within {LIMIT_S:g} s: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
            for kind, number in {type_.__name__.lower(): number for type_, number in KINDS.items()}.items():
                if kind in {"score", "forecast"} and kind not in found and _made(folder, number, started):
                    found[kind] = time.time() - started
        time.sleep(5.0)  # so that the next start has windows
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(20)
    return found


def _made(folder: Path, kind: int, since: float) -> bool:
    """Whether the model has made a record of a kind since then; forecasts of the fallback do not count."""
    try:
        with sqlite3.connect(f"file:{folder / 'state' / 'journal.sqlite3'}?mode=ro", uri=True) as journal:
            rows = journal.execute(
                "SELECT count(*) FROM entry WHERE kind = ? AND at > ? AND body LIKE '[\"language\"%'",
                (kind, int(since * 1e6)),
            )
            return bool(rows.fetchone()[0])
    except sqlite3.OperationalError:
        return False


if __name__ == "__main__":
    main()

"""From a sample's publication to the alert at a follower, over a real mosquitto, while the model is busy all the time.

The service runs as a process of its own with the default language model, on tags whose steps close so often that the next
forecast is always due. A value leaves and enters the band in turns (no delays); the clock runs from just before its publish to
the arrival of the alert at another client, so both ways through the broker, the journal on disk and the acknowledgements
are in the figure: the time from the arrival at Givre is shorter.

usage: python -m benchmarks.latency [--transitions 300] [--tags 5]
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine

LIMIT_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=300)
    parser.add_argument("--tags", type=int, default=5)
    options = parser.parse_args()
    broker = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if broker is None:
        sys.exit("mosquitto is not installed: apt-get install mosquitto")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = (f"listener {port} 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true", "user root", "")
        (folder / "mosquitto.conf").write_text("\n".join(settings))
        server = subprocess.Popen([broker, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        config = folder / "bench.yaml"
        config.write_text(make_config(port, options.tags), encoding="utf-8")
        log = (folder / "log").open("w")
        service = subprocess.Popen([sys.executable, "-m", "stream", "run", str(config)], stderr=log)
        try:
            latencies, busy = _measure(port, options.transitions, options.tags, service.pid)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(20)
            server.terminate()
            server.wait()
    ordered = sorted(latencies)
    figures = {
        f"{level}_ms": round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
        for level, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }
    table = Table(title=f"{len(ordered)} alerts, publish to follower, model busy {busy:.0%} of the time")
    for column in ("p50 ms", "p99 ms", "max ms"):
        table.add_column(column, justify="right")
    table.add_row(*(str(value) for value in figures.values()))
    console = Console()
    console.print(machine())
    console.print(table)
    print(json.dumps(figures | {"alerts": len(ordered), "model_busy": round(busy, 3), "machine": machine()}))


def make_config(port: int, tags: int) -> str:
    tag = "unit: degC, period_s: 0.5, hold_s: 60, source: {{name: broker, topic: plant/t{i}}}{band}"
    band = ", tolerance: {setpoint: 5, tolerance: 0.2, deadband: 0.05}"
    body = "".join(f"      t{i}: {{{tag.format(i=i, band=band if i == 0 else '')}}}\n" for i in range(tags))
    return (
        "site: bench\nstate_folder: state\nlateness_s: 0.1\nsources:\n"
        f"  broker: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: in}}\n"
        "sinks:\n"
        f"  alerts: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: out}}\n"
        "model: {path: default, samples: 16}\n"
        f"assets:\n  hx:\n    tags:\n{body}"
    )


def _measure(port: int, transitions: int, tags: int, service: int) -> tuple[list[float], float]:
    heard: queue.Queue[tuple[float, str]] = queue.Queue()
    state: dict[str, str] = {}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="follower")

    def take(_client: object, _user: object, message: mqtt.MQTTMessage) -> None:
        at = time.perf_counter()
        if message.topic.endswith("/alarm/tolerance"):
            heard.put((at, json.loads(message.payload)["state"]))
        elif "/status/" in message.topic:
            state[message.topic.rsplit("/", 1)[1]] = message.payload.decode()

    client.on_message = take
    # Several small publishes in a row must not wait for each other's acknowledgement in our own socket.
    client.on_socket_open = lambda _c, _u, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.connect("127.0.0.1", port)
    client.subscribe("givre/bench/#", 1)
    client.loop_start()
    # Values until the model is up and has enough of them to forecast.
    deadline = time.monotonic() + 120
    i = 0
    while "SmolLM2" not in state.get("model", "") or i < 150:
        if time.monotonic() > deadline:
            sys.exit(f"the model did not come up: {state}")
        for k in range(tags):
            client.publish(f"plant/t{k}", f"{5 + 0.01 * (i % 7)}", qos=1)
        i += 1
        time.sleep(0.1)
    latencies, began = [], time.perf_counter()
    cpu = _cpu_s(service)
    for n in range(transitions):
        for k in range(1, tags):
            client.publish(f"plant/t{k}", f"{5 + 0.01 * (n % 7)}", qos=1)
        asked = time.perf_counter()
        client.publish("plant/t0", "5.5" if n % 2 == 0 else "5.0", qos=1)
        at, _ = heard.get(timeout=LIMIT_S)
        latencies.append(at - asked)
        time.sleep(0.05 + 0.01 * (n % 11))
    busy = (_cpu_s(service) - cpu) / (time.perf_counter() - began) / (os.cpu_count() or 1)
    client.loop_stop()
    return latencies, busy


def _cpu_s(service: int) -> float:
    """Processor seconds of the service's children: the model's process."""
    total = 0.0
    lists = (path.read_text() for path in Path(f"/proc/{service}/task").glob("*/children"))
    for child in " ".join(lists).split():
        fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    main()

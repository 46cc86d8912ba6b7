"""Samples per second from a real mosquitto through window, limits and journal, beside a consumer that only parses.

Both consumers are single processes held to one core; the broker and the publisher have the other. Every message waits in
the broker when a consumer starts (a persistent session fills up first), so that the consumer is what is measured and not the
publisher. Both acknowledge at QoS 1: the bare ones (paho, aiomqtt) at once, Givre after the journal has the sample on disk.

usage: python -m benchmarks.throughput [--samples 40000] [--tags 100] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import paho.mqtt.client as mqtt
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine

CONSUMERS = ("bare_paho", "bare_aiomqtt", "givre")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40_000)
    parser.add_argument("--tags", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    broker = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if broker is None:
        sys.exit("mosquitto is not installed: apt-get install mosquitto")
    rates: dict[str, list[float]] = {name: [] for name in CONSUMERS}
    for _ in range(options.rounds):
        for name in CONSUMERS:
            with tempfile.TemporaryDirectory() as folder:
                rates[name].append(_measure(name, broker, Path(folder), options.samples, options.tags))
    best_bare = max(CONSUMERS[:2], key=lambda name: median(rates[name]))
    table = Table(
        title=f"QoS 1, {options.samples} samples of {options.tags} tags, one core; median of {options.rounds}"
    )
    for column in ("consumer", "samples/s", "us per sample", "range"):
        table.add_column(column, justify="left" if column == "consumer" else "right")
    for name, values in rates.items():
        rate = median(values)
        table.add_row(name, f"{rate:,.0f}", f"{1e6 / rate:.0f}", f"{min(values):,.0f} to {max(values):,.0f}")
    console = Console()
    console.print(machine())
    console.print(table)
    givre, bare = median(rates["givre"]), median(rates[best_bare])
    print(
        json.dumps(
            {
                "givre_samples_per_s": round(givre),
                "bare_samples_per_s": round(bare),
                "ratio": round(givre / bare, 3),
                "bare": best_bare,
                "machine": machine(),
            }
        )
    )


def _measure(name: str, broker: str, folder: Path, samples: int, tags: int) -> float:
    """Samples per second of one consumer, from its first message to its last."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    conf = folder / "mosquitto.conf"
    conf.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 100\nuser root\n"
    )
    cores = sorted(os.sched_getaffinity(0))
    process = subprocess.Popen([broker, "-c", str(conf)], stderr=subprocess.DEVNULL)
    try:
        os.sched_setaffinity(process.pid, {cores[0]})
        _wait_for(port)
        _open_session(port)
        _publish(port, samples, tags)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "benchmarks.throughput_consumer",
                name,
                str(port),
                str(samples),
                str(tags),
                str(folder),
            ],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
        )
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
        return float(done.stdout.splitlines()[-1])
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            sys.exit("mosquitto did not start within 10 s")
        time.sleep(0.05)


def _open_session(port: int) -> None:
    """Subscribes under the consumer's name and leaves, so that the broker keeps what comes."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="consumer", clean_session=False)
    subscribed = []
    client.on_connect = lambda c, *_: c.subscribe("plant/#", 1)
    client.on_subscribe = lambda *_: subscribed.append(1)
    client.connect("127.0.0.1", port)
    deadline = time.monotonic() + 10
    while not subscribed and time.monotonic() < deadline:
        client.loop(0.1)
    client.disconnect()
    client.loop(0.1)


def _publish(port: int, samples: int, tags: int) -> None:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="publisher")
    client.max_inflight_messages_set(100)
    acked = 0

    def count(*_: object) -> None:
        nonlocal acked
        acked += 1

    client.on_publish = count
    client.connect("127.0.0.1", port)
    client.loop_start()
    # Every tag reports once a second, up to now: ordinary times, in order, as a plant would send them.
    seconds = samples // tags
    origin_ms = round(time.time() * 1000) - seconds * 1000
    for i in range(samples):
        payload = {"value": 5 + 0.001 * (i % 97), "time": origin_ms + i // tags * 1000 + i % tags, "quality": "good"}
        client.publish(f"plant/exchanger/t{i % tags}", json.dumps(payload), qos=1)
    deadline = time.monotonic() + 120
    while acked < samples and time.monotonic() < deadline:
        time.sleep(0.05)
    client.disconnect()
    client.loop_stop()
    if acked < samples:
        sys.exit(f"the broker took {acked} of {samples} messages")


if __name__ == "__main__":
    main()

"""One consumer of `benchmarks.throughput`, a process of its own: prints samples per second as its last line."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path


def bare_paho(port: int, samples: int, _tags: int, _folder: Path) -> float:
    import paho.mqtt.client as mqtt

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="consumer", clean_session=False)
    times: list[float] = []

    def take(_client: object, _user: object, message: mqtt.MQTTMessage) -> None:
        times.append(time.perf_counter())
        float(json.loads(message.payload)["value"])

    client.on_message = take
    client.connect("127.0.0.1", port)
    client.loop_start()
    _wait(lambda: len(times) >= samples)
    client.loop_stop()
    return (samples - 1) / (times[samples - 1] - times[0])


def bare_aiomqtt(port: int, samples: int, _tags: int, _folder: Path) -> float:
    import aiomqtt

    async def consume() -> float:
        first = count = 0
        async with aiomqtt.Client("127.0.0.1", port, identifier="consumer", clean_session=False) as client:
            async for message in client.messages:
                first = first or time.perf_counter()
                float(json.loads(message.payload)["value"])
                count += 1
                if count >= samples:
                    break
        return (samples - 1) / (time.perf_counter() - first)

    return asyncio.run(consume())


def givre(port: int, samples: int, tags: int, folder: Path) -> float:
    """The service itself: window, quality, range and tolerance on every sample, journal on disk, then the acknowledgement."""
    from config.load import load
    from stream.assemble import build_pipeline, open_journal
    from stream.clock import SystemClock

    tag = (
        "unit: degC, period_s: 1, hold_s: 3600, physical: {{low: -20, high: 60}}, "
        "tolerance: {{setpoint: 5, tolerance: 0.2, deadband: 0.05, on_delay_s: 20}}, "
        "source: {{name: broker, topic: plant/exchanger/t{i}, value: $.value, time: $.time, quality: $.quality}}"
    )
    lines = [
        "site: bench",
        "state_folder: state",
        "sources:",
        f"  broker: {{type: mqtt, host: 127.0.0.1, port: {port}, client_id: consumer, protocol: '3.1.1'}}",
        "assets:",
        "  exchanger:",
        "    tags:",
        *(f"      t{i}: {{{tag.format(i=i)}}}" for i in range(tags)),
    ]
    path = folder / "bench.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    loaded = load(path)
    journal = open_journal(loaded)
    pipeline = build_pipeline(loaded, journal=journal, clock=SystemClock())

    async def consume() -> float:
        run = asyncio.create_task(pipeline.run())
        first = 0.0
        while pipeline.metrics.samples < samples:
            if not first and pipeline.metrics.samples:
                first, before = time.perf_counter(), pipeline.metrics.samples
            await asyncio.sleep(0.002)
        # The last sample counts when it is on disk, which the stop waits for.
        pipeline.stop()
        await run
        return (samples - before) / (time.perf_counter() - first)

    try:
        rate = asyncio.run(consume())
        # What was not judged or not kept would be fast for nothing.
        kept = sum(1 for _ in journal.samples(datetime.fromtimestamp(0, UTC)))
        if kept != samples or pipeline.lane.verdicts < 3 * samples:
            sys.exit(
                f"expected {samples} samples kept and judged by three rules, found {kept}, {pipeline.lane.verdicts} verdicts"
            )
        return rate
    finally:
        journal.close()


def _wait(true: object) -> None:
    deadline = time.monotonic() + 150
    while not true():  # type: ignore[operator]  # a plain predicate
        if time.monotonic() > deadline:
            sys.exit("not every message arrived within 150 s")
        time.sleep(0.01)


if __name__ == "__main__":
    name, port, samples, tags, folder = sys.argv[1:]
    consumer = {"bare_paho": bare_paho, "bare_aiomqtt": bare_aiomqtt, "givre": givre}[name]
    print(consumer(int(port), int(samples), int(tags), Path(folder)))

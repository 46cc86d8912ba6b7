"""A server of another make than the client: node-opcua says the values, our source follows them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from stream.clock import SystemClock
from stream.sources.opcua import OpcuaSource, UaTag

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN = {"tags": 50, "last_s": 2.2, "begin_s": 1, "end_s": 2, "times": 10, "swinging": 5}


async def test_each_value_of_each_tag_comes_with_its_own_time(
    node_opcua: Callable[..., list[str]], free_port: int, intake: Any
) -> None:
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(
        *node_opcua("many_tags.js", str(free_port), json.dumps(PLAN)), stdin=pipe, stdout=pipe, stderr=-3
    )
    assert server.stdin is not None and server.stdout is not None
    source = OpcuaSource(
        name="plc",
        endpoint=f"opc.tcp://127.0.0.1:{free_port}/plant",
        namespace="urn:plant",
        tags=[UaTag(tag=f"hx/t{i}", node=f"s={i}") for i in range(PLAN["tags"])],
        publishing_interval_s=0.1,
        sampling_interval_s=0.0,
        queue_size=100,
        silent_after_s=60.0,
        security=None,
        username=None,
        password=None,
        clock=SystemClock(),
    )
    following = None
    try:
        assert await server.stdout.readline() == b"ready\n"
        following = asyncio.create_task(source.run(intake))
        await intake.until(lambda: len(intake.samples) == PLAN["tags"], 20)  # as they stand before anything moves
        intake.samples.clear()
        begin = datetime.now(UTC)
        server.stdin.write(b"go\n")
        played = json.loads(await server.stdout.readline())
        await intake.until(lambda: len(intake.samples) >= played["count"])
    finally:
        if following is not None:
            following.cancel()
            await asyncio.wait([following])
        server.kill()
        await server.wait()
    assert Counter(sample.tag for sample in intake.samples) == {
        f"hx/t{i}": played["count"] / PLAN["tags"] for i in range(PLAN["tags"])
    }
    assert all(begin - timedelta(seconds=1) < s.source_at <= s.arrived_at for s in intake.samples)
    crossed = {int(s.tag.removeprefix("hx/t")) for s in intake.samples if s.value is not None and s.value > 80}
    assert crossed == set(map(int, played["crossed"]))
    assert intake.rejections == []
    assert intake.dropped == {}

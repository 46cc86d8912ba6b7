"""The service with a model of the user's own, good and bad: what is wrong is said, and limits go on without it."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Follower, Service


def model_status(follower: Follower) -> list[dict]:
    return [m for topic, m, _ in list(follower.messages) if topic.endswith("/status/model")]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "expected config.json"),
        (lambda path: path.mkdir(), "expected config.json"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "GGUF"),
        (lambda path: (path.mkdir(), (path / "config.json").write_text("{}")), "safetensors"),
    ],
    ids=["nothing there", "an empty folder", "a file of another kind", "a config without weights"],
)
def test_a_model_that_is_none_is_named_and_limits_go_on(
    service: Service, follower: Follower, tmp_path: Path, make, expected: str
) -> None:
    path = tmp_path / "mymodel"
    make(path)
    service.config.write_text(service.config.read_text() + f"model: {{path: {path}}}\n")
    answer = service.say("check", "--json")
    assert answer.returncode == 1
    assert str(path) in json.loads(answer.stdout)["problems"][0]
    service.start()
    service.until(lambda: any(not m["ok"] for m in model_status(follower)), "the model was not refused", 60)
    said = next(m["detail"] for m in model_status(follower) if not m["ok"])
    assert "the model cannot be loaded" in said
    assert "forecasts by persistence" in said
    assert expected in said or "expected" in said
    follower.publish("plant/water", "5.5")
    service.until(lambda: follower.states("tolerance") == ["unacknowledged"], "no alarm was raised")
    assert service.end(signal.SIGTERM) == 0
    assert "Traceback" not in service.log.read_text()


@pytest.mark.model
def test_a_killed_model_costs_no_sample_and_no_alarm_and_scores_again_within_30_s(
    service: Service, follower: Follower, tmp_path: Path
) -> None:
    from pathlib import Path as _Path

    service.config.write_text(
        service.config.read_text() + "model: {path: default, min_context: 4, samples: 4}\npanel: {horizon: 3}\n"
    )
    service.start()
    stop = False

    def forecasters() -> set[str]:
        lines = service.say("history", "--json", "--kind", "forecast", "--limit", "12").stdout.splitlines()
        return {json.loads(line)["forecaster"] for line in lines}

    def scores() -> list[dict]:
        lines = service.say("history", "--json", "--kind", "score", "--limit", "10000").stdout.splitlines()
        return [json.loads(line) for line in lines]

    published = 0

    def feed() -> bool:
        nonlocal published
        follower.publish("plant/water", f"{5 + published % 7 / 100}")
        published += 1
        return stop

    service.until(
        lambda: feed() or (published % 20 == 0 and forecasters() >= {"language", "panel"}),
        "the model did not forecast",
        60,
    )
    assert service._process is not None
    pid = service._process.pid
    children = " ".join(p.read_text() for p in _Path(f"/proc/{pid}/task").glob("*/children")).split()
    (model,) = [c for c in children if "spawn_main" in _Path(f"/proc/{c}/cmdline").read_text()]
    import os

    service.until(lambda: feed() or (published % 10 == 0 and scores()), "nothing was scored", 30)
    os.kill(int(model), signal.SIGKILL)
    killed_at, kept = time.monotonic(), len(scores())
    service.until(lambda: feed() or any(not m["ok"] for m in model_status(follower)), "nobody noticed", 20)
    follower.publish("plant/water", "5.5")
    service.until(lambda: follower.states("tolerance") == ["unacknowledged"], "no alarm was raised")
    service.until(lambda: feed() or model_status(follower)[-1]["ok"], "the model did not come back", 30)
    service.until(lambda: feed() or (published % 10 == 0 and len(scores()) > kept), "nothing is scored again", 30)
    assert time.monotonic() - killed_at < 30
    assert all(0 <= score["pit"] <= 1 for score in scores())
    before = published
    service.until(lambda: feed() or published > before + 40, "feeding")
    samples = len(service.say("history", "--json", "--kind", "sample", "--limit", "10000").stdout.splitlines())
    assert samples >= published - 3
    again = {"language", "panel"}
    service.until(lambda: feed() or (published % 20 == 0 and forecasters() >= again), "it does not forecast again", 30)

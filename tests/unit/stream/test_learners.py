"""What the settings ask to be learnt is made, and every verdict of it has an alarm that waits for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from config.schema import Settings
from detectors.records import Window
from stream import extra
from stream.check import check
from stream.learners import learners
from stream.watches import judged_elsewhere

if TYPE_CHECKING:
    import pytest

T0 = datetime(2026, 1, 5, tzinfo=UTC)
SAMPLE = Path(__file__).parents[3] / "config" / "heat_exchanger.yaml"
ALARM = {"priority": "low"}


def content() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    exchanger = found["assets"]["exchanger"]
    exchanger["baseline"] = {
        "learn_s": 2000,
        "shift": ALARM,
        "components": ALARM,
        "mahalanobis": ALARM,
        "forest": ALARM,
    }
    exchanger["tags"]["inlet"] |= {"novelty": ALARM | {"remember_s": 4000}, "drift": ALARM, "rarity": ALARM}
    return found


def test_every_verdict_of_what_is_learnt_has_its_alarm_and_every_alarm_its_verdict() -> None:
    settings = Settings.model_validate(content())
    made = learners(settings)
    assert [one.name for one in made] == [
        "asset/exchanger",
        "exchanger/inlet/novelty",
        "exchanger/inlet/drift",
        "exchanger/inlet/rarity",
    ]
    dice = np.random.default_rng(0)
    values = {name: 5 + dice.normal(0, 1, 1000) for name in settings.tags()}
    told = set()
    for end in range(40, 1000):
        at = T0 + timedelta(seconds=10 * end)
        windows = [
            Window(tag=name, period_s=10.0, end_at=at, values=tuple(row[end - 40 : end].tolist()))
            for name, row in values.items()
        ]
        for one in made:
            told |= {(verdict.tag, verdict.rule) for verdict in one.take(windows, standing=())}
            if one.due:
                one.refit()
    assert told == {(watch.tag, watch.rule_name) for watch in judged_elsewhere(settings)}
    assert len(told) == 5 + 3 + 3


def test_the_check_names_what_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda _: None)
    path = tmp_path / "plant.yaml"
    path.write_text(yaml.safe_dump(content()), encoding="utf-8")
    found = [problem for problem in check(path, connect=False).problems if "pip install 'givre[learn]'" in problem]
    assert {problem.split(": ")[1] for problem in found} == {
        "assets.exchanger.baseline.components",
        "assets.exchanger.baseline.mahalanobis",
        "assets.exchanger.baseline.forest",
        "assets.exchanger.tags.inlet.drift",
        "assets.exchanger.tags.inlet.rarity",
    }

"""What was recorded, judged again: the same alerts to the byte, whatever happened in between."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from config.load import load
from detectors.records import LEVELS, Alert, Forecast, Quality, Sample, Score, Status, Verdict
from stream import alarm_memory
from stream.assemble import build_lane, restore
from stream.cli.recorded_day import RecordedDayError, is_journal, judge_again
from stream.command import ask, obey
from stream.journal.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from config.load import Loaded

T0 = datetime(2026, 1, 5, tzinfo=UTC)
CONFIG = {
    "site": "test",
    "lateness_s": 2,
    "language": "fr",
    "panel": {"horizon": 3},
    "sources": {"plc": {"type": "opcua", "endpoint": "opc.tcp://127.0.0.1:1/x", "namespace": "urn:x"}},
    "assets": {
        "hx": {
            "baseline": {"shift": {"on_delay_s": 10}},
            "tags": {
                name: {
                    "unit": "degC",
                    "period_s": 10,
                    "hold_s": 40,
                    "source": {"name": "plc", "node": f"s={name}"},
                    "tolerance": {
                        "setpoint": 5,
                        "tolerance": 0.2,
                        "deadband": 0.05,
                        "on_delay_s": 5,
                        "off_delay_s": 20,
                    },
                    "rate": {"per_minute": 2, "over_s": 20},
                    "frozen": {"after_s": 60},
                    "breach": {"probability": 0.5},
                    "deviation": {"minimum": 0.3},
                    "surprise": {"alpha": 0.01},
                    **(
                        {"deviation": {"minimum": 0.3, "suppressed_by": ["hx/water/tolerance"]}}
                        if name == "flow"
                        else {}
                    ),
                }
                for name in ("water", "flow")
            },
        }
    },
}


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    return load(config)


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[tuple[Journal, Journal]]:
    live, again = (Journal(tmp_path / name, max_size_mb=64, keep_days=1) for name in ("live.sqlite3", "again.sqlite3"))
    yield live, again
    live.close()
    again.close()


@dataclass
class Plant:
    """A service without its event loop: samples, ticks, answers of the model lane and commands at random moments."""

    loaded: Loaded
    journal: Journal
    rng: np.random.Generator
    now: datetime = T0
    alerts: list[Alert] = field(default_factory=list)

    def start(self) -> None:
        memories = alarm_memory.load(self.journal.memory(alarm_memory.PREFIX))
        self.lane = build_lane(self.loaded.settings, memories)
        restore(self.lane, self.journal, self.loaded.settings, self.now)
        self.journal.append([Status(subject="service", ok=True, detail="running", at=self.now)])

    def stop(self) -> None:
        self.lane.advance(self.now)
        self.save()
        self.journal.append([Status(subject="service", ok=False, detail="stopped", at=self.now)])

    def save(self) -> None:
        harvest = self.lane.harvest()
        self.alerts += [record for record in harvest.records if isinstance(record, Alert)]
        self.journal.append(harvest.records, memory=alarm_memory.dump(harvest.memories))

    def live(self, moves: int) -> None:
        for _ in range(moves):
            self.now += timedelta(seconds=float(self.rng.exponential(2.5)))
            [self.report, self.report, self.report, self.answer, self.tick, self.command, self.save][
                self.rng.choice(7, p=[0.3, 0.2, 0.1, 0.2, 0.1, 0.02, 0.08])
            ]()
        self.save()

    def report(self) -> None:
        tag = f"hx/{self.rng.choice(['water', 'flow'])}"
        bad = self.rng.random() < 0.02
        value = (
            None if bad else round(5 + float(self.rng.choice([0.0, 0.02, 0.3, -0.4], p=[0.48, 0.48, 0.02, 0.02])), 3)
        )
        back = timedelta(seconds=float(self.rng.choice([0.0, 0.5, 12.0, -1.0])))
        quality, reason = (Quality.BAD, "BadSensorFailure") if bad else (Quality.GOOD, "")
        # Two sources: what arrived may have been stamped a moment before the last one.
        arrived_at = self.now - timedelta(seconds=float(self.rng.choice([0.0, 0.2])))
        self.lane.offer(
            Sample(
                tag=tag, value=value, source_at=self.now - back, arrived_at=arrived_at, quality=quality, reason=reason
            )
        )

    def answer(self) -> None:
        windows = self.lane.windows()
        if not windows:
            return
        rng, now = self.rng, self.lane.mark(self.now, forecasts=len(windows))
        # The language model's own opinion stands in the journal beside those that are judged by.
        opinion = self.forecast("hx/water", windows[0].end_at)
        self.lane.score(
            Score(tag=w.tag, forecaster="panel", at=w.end_at, value=5.0, pit=float(rng.choice([0.5, 0.999])),
                  log_score=0.1, log_probability=-0.1)
            for w in windows
        )  # fmt: skip
        self.lane.hear([
            Verdict(tag=w.tag, rule="shift", at=w.end_at, score=float(rng.choice([0.3, 0.6, 1.4])), value=5.1) for w in windows
        ])  # fmt: skip
        self.journal.append([replace(opinion, forecaster="language")])
        for w in windows:
            self.lane.expect(self.forecast(w.tag, w.end_at), now)

    def forecast(self, tag: str, made_at: datetime) -> Forecast:
        to = float(self.rng.choice([5.0, 5.5]))
        paths = tuple((5.0, 5.1, to if i % 3 else 5.0) for i in range(6))
        rows = tuple(tuple(x + (q - 0.5) / 50 for q in LEVELS) for x in (5.0, 5.1, to))
        return Forecast(tag=tag, forecaster="panel", made_at=made_at, period_s=10, quantiles=rows, paths=paths)

    def tick(self) -> None:
        self.lane.advance(self.now)

    def command(self) -> None:
        alarm = str(self.rng.choice(sorted(self.lane.alarms)))
        what = str(self.rng.choice(["acknowledge", "shelve", "unshelve", "accept", "nonsense"]))
        text = ask(what, alarm, by="anna", for_s=30 if what == "shelve" else None, reason="test")
        obey(text, self.lane, self.lane.mark(self.now, command=text))


@pytest.mark.parametrize("seed", range(4))
def test_a_day_judged_again_tells_the_same_to_the_byte(loaded: Loaded, journals, seed: int) -> None:
    live, again = journals
    plant = Plant(loaded, live, np.random.default_rng(seed))
    for _ in range(2):
        plant.start()
        plant.live(1200)
        plant.stop()
        plant.now += timedelta(seconds=33)
    outcome = judge_again(loaded, live.path, again)
    assert {alert.rule for alert in plant.alerts} >= {"tolerance", "stale", "quality", "breach", "deviation", "shift"}
    assert {"shelved", "suppressed"} <= {alert.state for alert in plant.alerts}
    assert len(plant.alerts) > 60
    assert (outcome.same, outcome.first_difference, outcome.runs) == (True, None, 2)
    assert outcome.live == plant.alerts
    assert outcome.again == plant.alerts
    kept = [record for record in again.history(kinds={Alert}) if isinstance(record, Alert)]
    assert kept == plant.alerts


def test_another_configuration_shows_what_it_would_have_changed(loaded: Loaded, journals, tmp_path: Path) -> None:
    live, again = journals
    plant = Plant(loaded, live, np.random.default_rng(0))
    plant.start()
    plant.live(200)
    plant.stop()
    tags = {
        name: tag | {"tolerance": {"setpoint": 5, "tolerance": 0.5}}
        for name, tag in CONFIG["assets"]["hx"]["tags"].items()
    }
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(CONFIG | {"assets": {"hx": {"tags": tags}}}))
    outcome = judge_again(load(other), live.path, again)
    assert not outcome.same
    assert outcome.first_difference is not None
    assert outcome.first_difference.startswith("alert ")
    assert "tolerance" in {alert.rule for alert in outcome.live if alert.state.active}
    assert "tolerance" not in {alert.rule for alert in outcome.again if alert.state.active}


def test_what_is_no_journal_is_one_sentence_and_stays_as_it_is(loaded: Loaded, journals, tmp_path: Path) -> None:
    _, again = journals
    other = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE something (x)")
    before = other.read_bytes()
    assert is_journal(other)
    with pytest.raises(RecordedDayError, match="expected a journal of Givre, found what cannot be read: no such table"):
        judge_again(loaded, other, again)
    assert other.read_bytes() == before
    empty = Journal(tmp_path / "empty.sqlite3", max_size_mb=8, keep_days=1)
    empty.close()
    with pytest.raises(RecordedDayError, match="expected samples in it, found none"):
        judge_again(loaded, empty.path, again)
    text = tmp_path / "a.csv"
    text.write_text("date,x\n")
    assert not is_journal(text)
    assert not is_journal(tmp_path / "absent")

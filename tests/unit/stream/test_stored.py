"""History that Givre itself wrote to its InfluxDB: what its sink stored comes back, over a real server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from config.load import load
from detectors.records import Quality, Sample
from stream.cli.app import app
from stream.periphery import history_at
from stream.recording import read_recording
from stream.sinks.influxdb import InfluxSink
from stream.sources.history import HistoryError
from stream.sources.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
TAGS = ("hx/flow", "hx/it's")
SAMPLE = Path(__file__).parents[3] / "config" / "heat_exchanger.yaml"


def sample(tag: str, minute: float, value: float | None, quality: Quality = Quality.GOOD) -> Sample:
    at = NOON + timedelta(minutes=minute, microseconds=1)
    return Sample(tag=tag, value=value, quality=quality, source_at=at, arrived_at=at)


SAMPLES = [
    *(sample(TAGS[0], i, 4.0 + i / 8) for i in range(25)),
    *(sample(TAGS[1], i + 0.5, 90.0 - i, Quality.UNCERTAIN if i == 3 else Quality.GOOD) for i in range(10)),
    sample(TAGS[1], 10.5, None, Quality.BAD),
    sample(TAGS[1], 14.5, 80.0),
    sample("other/flow", 1, 7.0),
]


def write(sink: InfluxSink, samples: Sequence[Sample]) -> None:
    async def run() -> None:
        assert await sink.write(samples) == []
        await sink.close()

    asyncio.run(run())


@pytest.fixture(params=[1, 2])
def stored(request: pytest.FixtureRequest, influxd: Any) -> Stored:
    """What was written through the sink of either version, ready to be read."""
    reader = {"name": "store", "database": "givre", "site": "demo", "tags": TAGS, "page": 7}
    if request.param == 1:
        write(InfluxSink(name="store", site="demo", version=1, url=influxd.url, bucket="givre"), SAMPLES)
        return Stored(url=influxd.url, **reader)  # type: ignore[arg-type] # as above
    shim = request.getfixturevalue("v2_shim")
    login = {"url": shim.url, "token": shim.token}
    write(InfluxSink(name="store", site="demo", version=2, bucket="givre", org=shim.org, **login), SAMPLES)
    return Stored(**login, **reader)  # type: ignore[arg-type] # as above


def read(stored: Stored, **changes: Any) -> list[Sample]:
    return list(replace(stored, **changes).samples(tags={tag: tag for tag in (*TAGS, "other/flow")}))


def test_what_was_written_comes_back_by_time_page_by_page_and_of_no_other_tag_or_site(stored: Stored) -> None:
    found = read(stored)
    expected = sorted((s for s in SAMPLES if s.tag in TAGS), key=lambda s: s.source_at)
    assert [(s.tag, s.value, s.quality, s.source_at) for s in found] == [
        (s.tag, s.value, s.quality, s.source_at) for s in expected
    ]
    assert read(stored, page=1) == found
    assert read(stored, page=25) == found
    assert read(stored, site="elsewhere") == []
    between = read(stored, since=NOON + timedelta(minutes=5), until=NOON + timedelta(minutes=8))
    assert [s.value for s in between if s.tag == TAGS[0]] == [4.625, 4.75, 4.875]


def test_holes_stay_holes_on_the_grid(stored: Stored) -> None:
    groups, _ = read_recording(stored, tags=[TAGS[1]]).lay(period_s=60, hold_s=90)
    values = groups[0][0].values
    assert np.isfinite(values[:10]).all()
    assert np.isnan(values[10:14]).all()
    assert values[-1] == 80.0


def test_a_login_a_database_and_tags_that_are_not_there_are_each_one_sentence(stored: Stored) -> None:
    with pytest.raises(
        HistoryError, match=r"^sink:store \(InfluxDB at http.*database not found: nowhere\. Check the sink's"
    ):
        read(stored, database="nowhere")
    with pytest.raises(HistoryError, match="expected values of 'hx/none'"):
        read_recording(stored, tags=["hx/none"])
    with pytest.raises(HistoryError, match="expected values of at least one tag"):
        read_recording(replace(stored, site="elsewhere"))
    if stored.token:
        with pytest.raises(HistoryError, match=r"found 401 unauthorized access\. Check the token") as refusal:
            read(stored, token="wrong")
        assert "wrong" not in str(refusal.value)


def test_a_server_that_is_gone_is_said(influxd: Any) -> None:
    influxd.kill()
    gone = Stored(name="store", url=influxd.url, database="givre", site="demo", tags=TAGS)
    with pytest.raises(HistoryError, match=r"^sink:store .*expected an answer, found Connection refused$"):
        read(gone)


@pytest.fixture
def plant(tmp_path: Path, influxd: Any) -> Path:
    """A configuration whose sink is the server."""
    path = tmp_path / "plant.yaml"
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    begin = lines.index("sinks:")
    sink = [
        "sinks:",
        "  store:",
        "    type: influxdb",
        "    version: 1",
        f"    url: {influxd.url}",
        "    bucket: givre",
    ]
    rest = next((i for i in range(begin + 1, len(lines)) if lines[i][:1].isalpha()), len(lines))
    rest_of_it = [*lines[rest:], f"state_folder: {tmp_path / 'state'}"]
    path.write_text("\n".join([*lines[:begin], *sink, *rest_of_it]) + "\n")
    return path


def test_check_and_replay_and_train_take_a_sink_for_history(plant: Path, influxd: Any, tmp_path: Path) -> None:
    settings = load(plant).settings
    tags = list(settings.tags())
    samples = [sample(tag, i, 20.0 + i % 3 / 10) for i in range(240) for tag in tags]
    write(InfluxSink(name="store", site=settings.site, version=1, url=influxd.url, bucket="givre"), samples)
    runner = CliRunner()
    checked = runner.invoke(app, ["check", str(plant), "--history", "sink:store"])
    assert "not in sink:store" not in checked.output
    assert "tolerance" in checked.output
    replayed = runner.invoke(
        app, ["replay", str(plant), "--from", "sink:store", "--no-model", "--state", str(tmp_path / "replay")]
    )
    assert replayed.exit_code == 0, replayed.output
    texts = tmp_path / "texts.parquet"
    trained = runner.invoke(app, ["train", str(plant), "sink:store", "--texts", str(texts), "--tag", tags[0]])
    assert "more steps of each tag are missing" in trained.output.replace("\n", " "), trained.output
    for asked, said in (
        ("sink:nowhere", "expected an InfluxDB sink of the configuration (store)"),
        ("sink:store@2026-07-01", "expected FROM/TO"),
        ("sink:store@2026-07-02/2026-07-01", "expected FROM before TO"),
    ):
        refused = runner.invoke(app, ["train", str(plant), asked])
        assert refused.exit_code == 1
        assert said in refused.output.replace("\n", " ")
    with pytest.raises(HistoryError, match="expected FROM/TO"):
        history_at(load(plant), Path("sink:store@x/y"))
    assert history_at(load(plant), Path("h.csv")) == Path("h.csv")

"""Records as points: what docs/points.md promises, and what text can do to a line."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from detectors.records import (
    AlarmState,
    Alert,
    Forecast,
    Priority,
    Quality,
    Record,
    Sample,
    Score,
    Standing,
    Status,
    Verdict,
)
from stream.sinks.point import LEADS, MOST_TEXT, lines

AT = datetime(2026, 11, 23, 5, 13, 20, 123457, tzinfo=UTC)
US = 1795410800123457
DOCS = Path(__file__).parents[3] / "docs" / "points.md"


def verdict(**more: object) -> Verdict:
    return Verdict(tag="hx/water", rule="tolerance", at=AT, score=0.5, **more)


def alert(**more: object) -> Alert:
    fields = {
        "tag": "hx/water",
        "rule": "tolerance",
        "sequence": 7,
        "state": AlarmState.UNACKNOWLEDGED,
        "previous": AlarmState.NORMAL,
        "at": AT,
        "since": AT,
        "priority": Priority.HIGH,
        "text": "too warm",
    }
    return Alert(**{**fields, **more})


def score(**more: object) -> Score:
    fields = {"pit": 0.25, "log_score": -1.5, "log_probability": -4.5}
    return Score(tag="hx/water", forecaster="language", at=AT, value=5.1, **{**fields, **more})


def standing(**more: object) -> Standing:
    fields = {"coverage80": 0.79, "coverage90": 0.91, "skill": 0.12, "weights": (("NAME", 1.0),)}
    return Standing(tag="hx/water", at=AT, lead=3, lead_s=30.0, steps=42, **{**fields, **more})


def forecast(horizon: int) -> Forecast:
    rows = tuple(tuple(lead + level / 10 for level in range(7)) for lead in range(1, horizon + 1))
    return Forecast(tag="hx/water", forecaster="language", made_at=AT, period_s=10, quantiles=rows)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            Sample(tag="hx/water", value=5.25, source_at=AT, arrived_at=AT + timedelta(1)),
            f"sample,asset=hx,site=demo,tag=water quality=0i,value=5.25 {US}",
        ),
        (
            Sample(tag="hx/water", value=5.0, source_at=AT, arrived_at=AT, quality=Quality.UNCERTAIN, reason="Uncertain"),
            f'sample,asset=hx,site=demo,tag=water quality=1i,reason="Uncertain",value=5 {US}',
        ),
        (
            Sample(tag="hx/water", value=None, source_at=AT, arrived_at=AT, quality=Quality.BAD, reason="BadNoData"),
            f'sample,asset=hx,site=demo,tag=water quality=2i,reason="BadNoData" {US}',
        ),
        (verdict(), f"verdict,asset=hx,rule=tolerance,site=demo,tag=water score=0.5 {US}"),
        (
            verdict(value=5.5, low=4.8, high=5.2, probability=0.25, lead_s=30),
            ("verdict,asset=hx,rule=tolerance,site=demo,tag=water "
            f"high=5.2,lead_s=30,low=4.8,probability=0.25,score=0.5,value=5.5 {US}"),
        ),
        (
            score(),
            f"score,asset=hx,forecaster=language,site=demo,tag=water log_score=-1.5,nats=4.5,outside=0i,pit=0.25 {US}",
        ),
        (
            score(outside=True),
            f"score,asset=hx,forecaster=language,site=demo,tag=water log_score=-1.5,nats=4.5,outside=1i,pit=0.25 {US}",
        ),
        (
            standing(weights=(("smoothing", 0.75), ("language", 0.25))),
            ("panel,asset=hx,lead=3,site=demo,tag=water coverage80=0.79,coverage90=0.91,"
            f"skill=0.12,steps=42i,weight_language=0.25,weight_smoothing=0.75 {US}"),
        ),
        (
            standing(coverage80=None, coverage90=None, skill=None),
            f"panel,asset=hx,lead=3,site=demo,tag=water steps=42i,weight_NAME=1 {US}",
        ),
        (
            alert(),
            ("alarm,asset=hx,priority=high,rule=tolerance,site=demo,tag=water "
            f'active=1i,sequence=7i,state="unacknowledged",text="too warm" {US}'),
        ),
        (
            alert(state=AlarmState.RETURNED_UNACKNOWLEDGED, verdict=verdict()),
            ("alarm,asset=hx,priority=high,rule=tolerance,site=demo,tag=water "
            f'active=0i,score=0.5,sequence=7i,state="returned_unacknowledged",text="too warm" {US}'),
        ),
        (
            Status(subject="source.plc", ok=False, detail="no answer", at=AT),
            f'givre_status,site=demo,subject=source.plc detail="no answer",ok=0i {US}',
        ),
    ],
    ids=[
        "good", "uncertain", "bad", "verdict", "breach", "score", "left the grid", "panel", "panel that has judged nothing",
        "raised", "returned", "status",
    ],
)  # fmt: skip
def test_a_record_is_one_line(record: Record, expected: str) -> None:
    assert lines(record, "demo") == [expected]


def test_a_forecast_stands_at_the_moments_it_speaks_of() -> None:
    made = US // 1000
    assert lines(forecast(3), "demo") == [
        f"forecast,asset=hx,forecaster=language,lead={lead},site=demo,tag=water made_at={made}i,"
        f"q05={lead},q10={lead}.1,q25={lead}.2,q50={lead}.3,q75={lead}.4,q90={lead}.5,q95={lead}.6 "
        f"{US + lead * 10_000_000}"
        for lead in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("horizon", "leads"),
    [(1, [1]), (5, [1, 2, 3, 5]), (12, [1, 2, 3, 6, 12]), (13, [1, 2, 3, 6, 12, 13]), (200, [*LEADS, 200])],
)
def test_leads_are_the_short_list_and_the_last(horizon: int, leads: list[int]) -> None:
    assert [int(re.search(r"lead=(\d+)", line)[1]) for line in lines(forecast(horizon), "demo")] == leads


def test_no_text_can_make_a_line_of_its_own() -> None:
    text = 'a"b\\c\nalarm,asset=x active=1i\r\nd'
    for record in (
        Status(subject="model", ok=True, detail=text, at=AT),
        alert(text=text),
        Sample(tag="hx/water", value=None, source_at=AT, arrived_at=AT, quality=Quality.BAD, reason=text),
    ):
        (line,) = lines(record, "demo")
        assert len(line.splitlines()) == 1
        assert "\\n" in line


def test_a_text_without_end_is_cut() -> None:
    (line,) = lines(Status(subject="model", ok=True, detail="x" * 100_000, at=AT), "demo")
    assert line.count("x") == MOST_TEXT


@pytest.mark.parametrize("score", [math.inf, -math.inf, math.nan])
def test_a_score_that_is_no_number_is_the_largest_there_is(score: float) -> None:
    (line,) = lines(Verdict(tag="hx/water", rule="tolerance", at=AT, score=score), "demo")
    assert abs(float(re.search(r"score=(\S+)", line)[1])) == 1e308


def test_the_documentation_names_every_measurement_label_and_field() -> None:
    records = [
        Sample(tag="hx/w", value=1.5, source_at=AT, arrived_at=AT, quality=Quality.UNCERTAIN, reason="r"),
        forecast(1),
        score(),
        standing(),
        verdict(value=1.5, low=1.5, high=1.5, probability=0.5, lead_s=1.5),
        alert(verdict=verdict()),
        Status(subject="model", ok=True, detail="d", at=AT),
    ]
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", DOCS.read_text(), re.MULTILINE | re.DOTALL))
    for record in records:
        head, fields, _ = lines(record, "demo")[0].replace("too warm", "x").split(" ")
        measurement, *labels = head.split(",")
        said = dict(re.findall(r"^\| `(\w+)` \| (\w+)", sections.pop(measurement), re.MULTILINE))
        found = {label.partition("=")[0]: "label" for label in labels}
        for name, value in (item.split("=") for item in fields.split(",")):
            found[name] = "string" if value[0] == '"' else "integer" if value[-1] == "i" else "float"
        assert found == said
    assert set(sections) == {"givre_probe"}

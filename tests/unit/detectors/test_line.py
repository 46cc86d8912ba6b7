"""A source that falls silent is one alarm; a tag that falls silent alone is its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from detectors.detector import Step
from detectors.line import Line, Lost
from detectors.records import Sample
from detectors.signal import Stale

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def report(tag: str, seconds: float) -> Sample:
    return Sample(tag=tag, value=1.0, source_at=at(seconds), arrived_at=at(seconds))


def spoken(*reports: tuple[str, float]) -> Line:
    line = Line({"hx/a": 60, "hx/b": 60, "hx/slow": 600})
    for tag, seconds in reports:
        line.see(report(tag, seconds))
    return line


def lost(line: Line, seconds: float) -> float:
    detector = Lost(line, name="source/plc")
    detector.take(Step(tag="hx/a", end_at=at(seconds), value=None, age_s=None))
    verdict = detector.judge()
    assert verdict is not None
    return verdict.score


def stale(line: Line, tag: str, reported_s: float, now_s: float) -> bool:
    verdict = Stale(hold_s=60, line=line).judge(
        Step(tag=tag, end_at=at(now_s), value=None, age_s=now_s - reported_s, reason="stale")
    )
    return verdict is not None and verdict.score > 1


def test_a_silent_source_is_lost_and_none_of_its_tags_is_stale() -> None:
    line = spoken(("hx/slow", 0), ("hx/a", 20), ("hx/b", 45))
    assert lost(line, 105) == pytest.approx(1.0)
    assert lost(line, 106) > 1
    assert not stale(line, "hx/a", 20, 81)
    assert not stale(line, "hx/a", 20, 500)


def test_a_tag_that_falls_silent_alone_is_stale() -> None:
    line = spoken(("hx/a", 0), *(("hx/b", s) for s in range(0, 100, 10)))
    assert stale(line, "hx/a", 0, 95)
    assert lost(line, 95) < 1


def test_a_tag_that_was_dead_before_is_not_excused_by_the_source() -> None:
    line = spoken(("hx/a", 0), ("hx/slow", 300))
    assert stale(line, "hx/a", 0, 400)
    assert lost(line, 400) < 1, "the only tag alive may be held for 600 s"


def test_when_the_source_is_back_its_tags_get_their_hold_time_to_report() -> None:
    line = spoken(("hx/a", 0), ("hx/b", 0), ("hx/b", 200))
    assert lost(line, 201) < 1
    assert not stale(line, "hx/a", 0, 210)
    line.see(report("hx/b", 250))
    line.see(report("hx/b", 265))
    assert stale(line, "hx/a", 0, 270)


def test_a_source_that_has_never_spoken_has_no_verdict() -> None:
    detector = Lost(Line({"hx/a": 60}), name="source/plc")
    assert detector.judge() is None
    detector.take(Step(tag="hx/a", end_at=T0, value=None, age_s=None))
    assert detector.judge() is None

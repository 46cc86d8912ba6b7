"""The journal: nothing lost, nothing doubled, in order, whatever happens in between."""

from __future__ import annotations

import fcntl
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from detectors.records import AlarmState, Alert, Forecast, Priority, Quality, Sample, Status, Verdict
from stream.journal.file import JournalError
from stream.journal.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def sample(i: int, tag: str = "hx/t") -> Sample:
    at = T0 + timedelta(seconds=i)
    return Sample(tag=tag, value=float(i), source_at=at, arrived_at=at)


def alert(i: int) -> Alert:
    at = T0 + timedelta(seconds=i)
    return Alert(
        tag="hx/t", rule="tolerance", sequence=i, state=AlarmState.NORMAL, previous=AlarmState.UNACKNOWLEDGED, at=at,
        since=at, priority=Priority.LOW, text="",
    )  # fmt: skip


def status(i: int) -> Status:
    return Status(subject="x", ok=True, detail=str(i), at=T0)


def open_(path: Path, *, max_size_mb: int = 8, keep_days: float = 30) -> Journal:
    return Journal(path / "journal.sqlite3", max_size_mb=max_size_mb, keep_days=keep_days)


def test_a_sink_gets_its_kinds_in_order_and_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.register("alerts", frozenset({Alert, Status}))
    journal.append([sample(1), alert(1), sample(2), status(2)])
    first, second = journal.pending("alerts", 10)
    assert (first[1], second[1]) == (alert(1), status(2))
    journal.delivered("alerts", first[0])
    journal.close()
    journal = open_(tmp_path)
    journal.register("alerts", frozenset({Alert, Status}))
    assert [record for _, record in journal.pending("alerts", 10)] == [status(2)]
    journal.close()


def test_a_new_sink_starts_with_what_comes_from_now_on(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.append([sample(1)])
    journal.register("late", frozenset({Sample}))
    journal.append([sample(2)])
    assert [record for _, record in journal.pending("late", 10)] == [sample(2)]
    journal.close()


def test_the_same_sample_twice_is_kept_once(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.append([sample(1), sample(1), sample(2)])
    journal.append([sample(1)])
    assert list(journal.samples(T0)) == [sample(1), sample(2)]
    journal.close()


def test_memory_is_written_with_the_records_and_read_by_prefix(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.append([alert(1)], memory={"alarm:a": "1", "alarm:b": "2", "other": "3"})
    journal.append([], memory={"alarm:a": "4"})
    assert journal.memory("alarm:") == {"alarm:a": "4", "alarm:b": "2"}
    journal.close()


def test_ids_are_not_reused_after_everything_was_trimmed(tmp_path: Path) -> None:
    journal = open_(tmp_path, keep_days=0.001)
    journal.register("db", frozenset({Sample}))
    journal.append([sample(i) for i in range(10)])
    journal.delivered("db", journal.pending("db", 100)[-1][0])
    assert journal.trim(T0 + timedelta(days=1)) == {}
    assert journal.history() == []
    journal.append([sample(99)])
    assert [record for _, record in journal.pending("db", 10)] == [sample(99)]
    journal.close()


def test_what_a_sink_has_not_got_is_not_trimmed_for_its_age(tmp_path: Path) -> None:
    journal = open_(tmp_path, keep_days=0.001)
    journal.register("db", frozenset({Sample}))
    journal.append([sample(1)])
    journal.trim(T0 + timedelta(days=100))
    assert journal.depth("db") == 1
    journal.close()


def test_over_its_size_the_least_missed_go_first_and_the_loss_is_counted(tmp_path: Path) -> None:
    journal = open_(tmp_path, max_size_mb=8)
    journal.register("db", frozenset({Sample, Forecast, Verdict, Alert}))
    rows = tuple(tuple(float(i) for i in range(7)) for _ in range(12))
    journal.append([alert(i) for i in range(100)] + [sample(i) for i in range(1000)])
    dropped: dict[str, int] = {}
    for i in range(30):
        made = [
            Forecast(
                tag="hx/t", forecaster="f", made_at=T0 + timedelta(seconds=i * 1000 + k), period_s=10, quantiles=rows
            )
            for k in range(1000)
        ]
        journal.append(made)
        for kind, loss in journal.trim(T0).items():
            dropped[kind] = dropped.get(kind, 0) + loss.count
            # The oldest go, and nothing between what went before and what goes now is left out.
            assert loss.begin == T0 + timedelta(seconds=dropped[kind] - loss.count)
            assert loss.end == T0 + timedelta(seconds=dropped[kind] - 1)
    assert set(dropped) == {"forecast"}
    assert len(journal.history(kinds={Alert})) == 100
    assert len(list(journal.samples(T0))) == 1000
    assert len(journal.history(kinds={Forecast})) + dropped["forecast"] == 30_000
    assert (tmp_path / "journal.sqlite3").stat().st_size <= 8 * 2**20 * 1.11
    journal.close()


def test_dead_letters_are_kept_with_their_reason(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.register("db", frozenset({Sample}))
    journal.append([sample(1)])
    ((number, _),) = journal.pending("db", 1)
    journal.dead_letter("db", number, "field type conflict")
    journal.dead_letter("db", number, "field type conflict")
    assert journal.dead_letters("db") == [(sample(1), "field type conflict")]
    journal.close()


def test_commands_wait_for_the_service_and_go_when_done(tmp_path: Path) -> None:
    service, cli = open_(tmp_path), open_(tmp_path)
    cli.post("one")
    cli.post("two")
    (first, text), *_ = service.commands()
    assert text == "one"
    service.done(first)
    assert [text for _, text in cli.commands()] == ["two"]
    service.close()
    cli.close()


@pytest.mark.parametrize("harm", ["garbage", "truncated", "version"])
def test_a_file_that_cannot_be_read_is_moved_aside_and_said(tmp_path: Path, harm: str) -> None:
    journal = open_(tmp_path)
    journal.append([sample(i) for i in range(5000)])
    journal.close()
    path = tmp_path / "journal.sqlite3"
    if harm == "garbage":
        path.write_bytes(b"not a database" * 1000)
    elif harm == "truncated":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2 + 7])
    else:
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 99")
        db.close()
    journal = open_(tmp_path)
    assert journal.recovered is not None
    assert "moved to" in journal.recovered
    assert len(list(tmp_path.glob("*.corrupt-*"))) >= 1
    journal.append([sample(1)])
    assert list(journal.samples(T0)) == [sample(1)]
    journal.close()


def as_version_1(path: Path) -> None:
    """Makes a journal of today what the first version of it wrote."""
    db = sqlite3.connect(path)
    db.executescript("""
        DROP INDEX notable; DROP INDEX sample_once;
        CREATE UNIQUE INDEX sample_once ON entry (tag, at) WHERE kind = 0;
        PRAGMA user_version = 1;
    """)
    db.close()


def test_a_file_of_the_first_version_is_brought_up_to_date_and_loses_nothing(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.append([sample(i) for i in range(500)])
    before = list(journal.samples(T0))
    journal.close()
    shape = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3")) as db:
        made = db.execute(shape).fetchall()
    as_version_1(tmp_path / "journal.sqlite3")
    journal = open_(tmp_path)
    assert journal.recovered is None
    assert list(journal.samples(T0)) == before
    journal.append([sample(1), sample(900)])
    assert list(journal.samples(T0)) == [*before, sample(900)]
    journal.close()
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3")) as db:
        assert db.execute(shape).fetchall() == made
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_a_file_that_an_earlier_givre_still_writes_is_not_changed_under_its_hands(tmp_path: Path) -> None:
    open_(tmp_path).close()
    path = tmp_path / "journal.sqlite3"
    as_version_1(path)
    with Path(f"{path}.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        with pytest.raises(JournalError, match=r"brought up to version 2, and another process has it open"):
            open_(tmp_path)
    open_(tmp_path).close()


def test_samples_of_some_tags_come_in_source_time_order(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.append([sample(3), sample(1), sample(2, "hx/u"), sample(5, "hx/v")])
    assert list(journal.samples(T0, {"hx/t", "hx/u"})) == [sample(1), sample(2, "hx/u"), sample(3)]
    assert list(journal.samples(T0 + timedelta(seconds=3))) == [sample(3), sample(5, "hx/v")]
    journal.close()


def test_history_is_by_kind_tag_time_and_the_newest_so_many(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    bad = Sample(tag="hx/u", value=None, source_at=T0, arrived_at=T0, quality=Quality.BAD, reason="BadNoData")
    journal.append([sample(1), sample(2), bad, alert(3)])
    assert journal.history(kinds={Alert}) == [alert(3)]
    assert journal.history(tag="hx/u") == [bad]
    assert journal.history(since=T0 + timedelta(seconds=2)) == [sample(2), alert(3)]
    assert journal.history(until=T0 + timedelta(seconds=1)) == [sample(1), bad]
    assert journal.history(limit=2) == [bad, alert(3)]
    journal.close()


def test_what_is_refused_is_buried_with_the_note_of_the_delivery(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.register("db", frozenset({Sample}))
    journal.append([sample(i) for i in range(3)])
    entries = journal.pending("db", 10)
    journal.delivered("db", entries[-1][0], {entries[1][0]: "no"})
    assert journal.pending("db", 10) == []
    assert journal.dead_letters("db") == [(sample(1), "no")]
    journal.close()


def test_dead_letters_do_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.journal.journal.DEAD_LETTERS_KEPT", 10)
    journal = open_(tmp_path)
    for sink in ("a", "b"):
        journal.register(sink, frozenset({Sample}))
    journal.append([sample(i) for i in range(25)])
    numbers = [number for number, _ in journal.pending("a", 100)]
    journal.delivered("a", numbers[-1], dict.fromkeys(numbers, "no"))
    journal.delivered("b", numbers[-1], dict.fromkeys(numbers[:5], "no"))
    journal.trim(T0)
    assert [record for record, _ in journal.dead_letters("a")] == [sample(i) for i in range(15, 25)]
    assert len(journal.dead_letters("b")) == 5
    journal.close()


def test_half_a_surrogate_pair_in_a_text_from_outside_is_kept_as_a_question_mark(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    odd = Sample(
        tag="hx/u", value=None, source_at=T0, arrived_at=T0, quality=Quality.BAD, reason=json.loads('"\\ud800 broken"')
    )
    journal.append([sample(1), odd, sample(2)], memory={"a": "1"})
    first, second, third = journal.history()
    assert (first, third) == (sample(1), sample(2))
    assert isinstance(second, Sample)
    assert second.reason == "? broken"
    assert journal.memory("a") == {"a": "1"}
    journal.close()


def test_a_sink_that_was_away_while_others_delivered_keeps_what_it_needs(tmp_path: Path) -> None:
    journal = open_(tmp_path, keep_days=0.001)
    journal.register("quick", frozenset({Sample}))
    journal.register("away", frozenset({Sample}))
    journal.append([sample(i) for i in range(20)])
    journal.delivered("quick", journal.pending("quick", 100)[-1][0])
    journal.delivered("away", journal.pending("away", 5)[-1][0])
    journal.trim(T0 + timedelta(days=1))
    assert [record for _, record in journal.pending("away", 100)] == [sample(i) for i in range(5, 20)]
    assert journal.history() == [sample(i) for i in range(5, 20)]
    journal.close()


def test_a_place_never_goes_back(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.register("db", frozenset({Sample}))
    journal.append([sample(i) for i in range(4)])
    numbers = [number for number, _ in journal.pending("db", 10)]
    journal.delivered("db", numbers[2])
    journal.delivered("db", numbers[0])
    assert [record for _, record in journal.pending("db", 10)] == [sample(3)]
    journal.close()


def test_many_threads_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    journal = open_(tmp_path, keep_days=0.0001)
    journal.register("db", frozenset({Sample}))
    got: list[Sample] = []

    def write(tag: str) -> None:
        for i in range(0, 600, 5):
            journal.append([sample(k, tag) for k in range(i, i + 5)], memory={tag: str(i)})

    def deliver() -> None:
        while len(got) < 2400:
            entries = journal.pending("db", 50)
            got.extend(record for _, record in entries if isinstance(record, Sample))
            if entries:
                journal.delivered("db", entries[-1][0])
            journal.trim(T0 + timedelta(days=1))

    with ThreadPoolExecutor() as pool:
        tasks = [pool.submit(write, f"hx/{i}") for i in range(4)] + [pool.submit(deliver)]
        for task in tasks:
            task.result(30)
    for i in range(4):
        assert [s.value for s in got if s.tag == f"hx/{i}"] == [float(k) for k in range(600)]
    assert journal.memory("hx/") == {f"hx/{i}": "595" for i in range(4)}
    assert len(got) == 2400
    journal.close()


def test_alerts_are_found_at_once_behind_many_samples_and_a_trim_with_nothing_to_do_is_nothing(tmp_path: Path) -> None:
    journal = open_(tmp_path, max_size_mb=64)
    journal.register("alerts", frozenset({Alert, Status}))
    journal.register("db", frozenset({Sample}))
    for i in range(0, 100_000, 5000):
        journal.append([sample(k) for k in range(i, i + 5000)])
    journal.append([alert(1)])

    def ms(call: Callable[[], object]) -> float:
        began = time.perf_counter()
        call()
        return (time.perf_counter() - began) * 1000

    assert min(ms(lambda: journal.pending("alerts", 5000)) for _ in range(3)) < 3
    assert min(ms(lambda: journal.depth("alerts")) for _ in range(3)) < 3
    assert min(ms(lambda: journal.trim(T0)) for _ in range(3)) < 10
    assert [record for _, record in journal.pending("alerts", 5000)] == [alert(1)]
    journal.close()


class _Life(RuleBasedStateMachine):
    """A journal with two sinks, closed and opened again at any moment, against plain lists."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile
        from pathlib import Path

        self.folder = Path(tempfile.mkdtemp(prefix="givre-journal-"))
        self.sent: dict[str, list[int]] = {"a": [], "b": []}
        self.got: dict[str, list[int]] = {"a": [], "b": []}
        self.count = 0
        self.trimmed = 0
        """A sample that was trimmed, a year later, is not known when it comes again: up to this one."""
        self.open()

    def open(self) -> None:
        self.journal = open_(self.folder)
        self.journal.register("a", frozenset({Sample}))
        self.journal.register("b", frozenset({Alert, Sample}))

    @rule(kinds=st.lists(st.sampled_from(["sample", "alert", "again"]), max_size=5))
    def append(self, kinds: list[str]) -> None:
        records: list[Sample | Alert] = []
        for kind in kinds:
            if kind == "again" and self.sent["a"] and self.sent["a"][-1] > self.trimmed:
                records.append(sample(self.sent["a"][-1]))
                continue
            self.count += 1
            records.append(alert(self.count) if kind == "alert" else sample(self.count))
            self.sent["b"].append(self.count)
            if kind != "alert":
                self.sent["a"].append(self.count)
        self.journal.append(records)

    @rule(sink=st.sampled_from(["a", "b"]), limit=st.integers(1, 4), confirmed=st.integers(0, 4))
    def deliver(self, sink: str, limit: int, confirmed: int) -> None:
        batch = self.journal.pending(sink, limit)[:confirmed]
        for number, record in batch:
            self.got[sink].append(record.sequence if isinstance(record, Alert) else int(record.value or 0))
            self.journal.delivered(sink, number)

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.open()

    @rule()
    def trim(self) -> None:
        assert self.journal.trim(T0 + timedelta(days=400)) == {}
        self.trimmed = self.count

    @invariant()
    def nothing_is_lost_doubled_or_out_of_order(self) -> None:
        for sink, sent in self.sent.items():
            assert self.got[sink] == sent[: len(self.got[sink])]
            assert self.journal.depth(sink) == len(sent) - len(self.got[sink])

    def teardown(self) -> None:
        import shutil

        self.journal.close()
        shutil.rmtree(self.folder)


TestLife = _Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_appending_costs_little_enough(tmp_path: Path) -> None:
    """Not a benchmark, a guard: benchmarks.throughput has the figures; ten times slower would be a mistake somewhere."""
    journal = open_(tmp_path, max_size_mb=64)
    batches = [[sample(k, f"hx/{i}") for i in range(200)] for k in range(50)]
    began = time.perf_counter()
    for batch in batches:
        journal.append(batch)
    per_sample_us = (time.perf_counter() - began) / 10_000 * 1e6
    journal.close()
    print(f"{per_sample_us:.1f} us per sample")
    assert per_sample_us < 200

"""The journal against what disks and processes do: killed writers, full disks, damage, and others at the same file."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from detectors.facts import Facts
from detectors.records import AlarmState, Alert, Priority, Sample, Verdict
from stream.journal import file as journal_file
from stream.journal.journal import Journal, JournalError, JournalFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stream.journal.loss import Loss

T0 = datetime(2026, 1, 1, tzinfo=UTC)
WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from detectors.records import Sample
from stream.journal.journal import Journal

t0 = datetime(2026, 1, 1, tzinfo=UTC)
journal = Journal(Path(sys.argv[1]), max_size_mb=64, keep_days=30)
journal.register("db", frozenset({Sample}))
i = int(sys.argv[2])
while True:
    at = [t0 + timedelta(seconds=k) for k in range(i, i + 7)]
    journal.append([Sample(tag="hx/t", value=float(k), source_at=a, arrived_at=a) for k, a in enumerate(at, i)],
                   memory={"last": str(i + 6)})
    i += 7
    print(i, flush=True)
    if i % 3 == 0:
        got = journal.pending("db", 5)
        journal.delivered("db", got[-1][0])
        print(f"delivered {int(got[-1][1].value)}", flush=True)
"""


def sample(i: int, tag: str = "hx/t") -> Sample:
    at = T0 + timedelta(seconds=i)
    return Sample(tag=tag, value=float(i), source_at=at, arrived_at=at)


def alert(i: int) -> Alert:
    at = T0 + timedelta(seconds=i)
    return Alert(
        tag="hx/t", rule="tolerance", sequence=i, state=AlarmState.UNACKNOWLEDGED, previous=AlarmState.NORMAL, at=at,
        since=at, priority=Priority.LOW, text="too warm",
    )  # fmt: skip


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])


def open_(folder: Path, *, max_size_mb: int = 64) -> Journal:
    return Journal(folder / "journal.sqlite3", max_size_mb=max_size_mb, keep_days=30)


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_was_told_was_kept(tmp_path: Path) -> None:
    dice = random.Random(1)
    path = tmp_path / "journal.sqlite3"
    kept, delivered = 0, -1
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(kept)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline()]
            time.sleep(dice.uniform(0.0, 0.25))
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.readlines()
        for line in said:
            word, _, number = line.decode().rstrip("\n").rpartition(" ")
            if word:
                delivered = int(number)
            elif line.endswith(b"\n"):
                kept = int(number)
        journal = open_(tmp_path)
        assert journal.recovered is None
        values = [int(s.value or 0) for s in journal.samples(T0)]
        # What was being written when it was killed may be there as well, whole: 7 samples or none.
        assert values == list(range(len(values)))
        assert len(values) in (kept, kept + 7)
        assert journal.memory("last") == {"last": str(len(values) - 1)}
        journal.register("db", frozenset({Sample}))
        ((_, first),) = journal.pending("db", 1)
        assert isinstance(first, Sample)
        assert int(first.value or 0) > delivered
        assert int(first.value or 0) + journal.depth("db") == len(values)
        journal.close()
        kept = len(values)
    assert integrity(path) == "ok"
    assert kept > 100
    assert delivered > 10


# --- a full disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a test that failed may still hold files


def fill(folder: Path) -> Path:
    """Somebody else takes all that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return filler


def count(dropped: dict[str, Loss], kind: str) -> int:
    return dropped[kind].count if kind in dropped else 0


def test_a_disk_filled_by_others_costs_what_was_delivered_first_and_alerts_still_get_through(small_disk: Path) -> None:
    journal = open_(small_disk, max_size_mb=8)
    journal.register("db", frozenset({Sample, Alert}))
    journal.append([sample(i) for i in range(4000)])
    journal.delivered("db", journal.pending("db", 3000)[-1][0])
    fill(small_disk)
    for i in range(4000, 9000, 100):
        journal.append([sample(k) for k in range(i, i + 100)] + [alert(i)], memory={"alarm": str(i)})
    assert journal.memory("alarm") == {"alarm": "8900"}
    assert len(journal.history(kinds={Alert})) == 50
    dropped = journal.trim(T0)
    assert set(dropped) <= {"sample"}
    waiting = [record for _, record in journal.pending("db", 100_000)]
    assert len([r for r in waiting if isinstance(r, Alert)]) == 50
    # All that was not delivered is there, or is told to be lost.
    assert len(waiting) == 1000 + 5000 + 50 - count(dropped, "sample")
    journal.close()


def test_with_nothing_to_give_up_it_says_that_it_is_full_stays_sound_and_goes_on_when_there_is_room(
    small_disk: Path,
) -> None:
    journal = open_(small_disk, max_size_mb=8)
    journal.register("db", frozenset({Alert}))
    journal.append([alert(1)], memory={"alarm": "1"})
    filler = fill(small_disk)
    count = 1

    def append_for_ever() -> None:
        nonlocal count
        while True:
            more = count + 50
            journal.append([alert(k) for k in range(count + 1, more + 1)], memory={"alarm": str(more)})
            count = more

    with pytest.raises(JournalFullError, match="cannot be written now"):
        append_for_ever()
    assert journal.trim(T0) == {}
    assert journal.memory("alarm") == {"alarm": str(count)}
    assert journal.depth("db") == count
    filler.unlink()
    journal.append([alert(count + 1)])
    assert [r.sequence for _, r in journal.pending("db", 10**6) if isinstance(r, Alert)] == list(range(1, count + 2))
    journal.trim(T0)
    assert (small_disk / "journal.sqlite3.reserve").exists()
    journal.close()
    assert integrity(small_disk / "journal.sqlite3") == "ok"


def test_the_service_starts_on_a_full_disk(small_disk: Path) -> None:
    journal = open_(small_disk, max_size_mb=8)
    journal.register("db", frozenset({Sample}))
    journal.append([sample(i) for i in range(5000)])
    journal.close()
    fill(small_disk)
    journal = open_(small_disk, max_size_mb=8)
    assert journal.recovered is None
    journal.register("db", frozenset({Sample}))
    journal.append([sample(5000)])
    assert journal.depth("db") + count(journal.trim(T0), "sample") == 5001
    journal.close()


def test_its_own_limit_met_between_two_trims_is_no_dead_end(tmp_path: Path) -> None:
    journal = open_(tmp_path, max_size_mb=8)
    journal.register("db", frozenset({Sample, Verdict}))
    journal.append(
        [Verdict(tag="hx/t", rule="tolerance", at=T0, score=0.1, facts=Facts(code="x" * 500)) for _ in range(5000)]
    )
    for i in range(0, 150_000, 500):
        journal.append([sample(k) for k in range(i, i + 500)])
    dropped = journal.trim(T0)
    assert count(dropped, "verdict") == 5000
    assert journal.depth("db") + count(dropped, "sample") == 150_000
    assert (tmp_path / "journal.sqlite3").stat().st_size < 8 * 2**20 * 1.11
    # The newest are those that are left.
    assert [s.value for s in journal.samples(T0)][-1] == 149_999.0
    journal.close()


# --- damage --------------------------------------------------------------------------------------------------------------


def test_damage_met_while_running_is_looked_for_at_the_next_start_however_large_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "CHECK_BELOW_BYTES", 0)
    journal = open_(tmp_path)
    journal.append([sample(i) for i in range(20_000)])
    journal.close()
    path = tmp_path / "journal.sqlite3"
    with path.open("r+b") as file:
        for page in range(20, 400):
            file.seek(page * journal_file.PAGE)
            file.write(b"\xa5" * 64)
    journal = open_(tmp_path)
    assert journal.recovered is None
    with pytest.raises(JournalError, match="damaged"):
        journal.history()
    journal.close()
    journal = open_(tmp_path)
    assert journal.recovered is not None
    journal.append([sample(1)])
    assert list(journal.samples(T0)) == [sample(1)]
    journal.close()
    journal = open_(tmp_path)
    assert journal.recovered is None
    journal.close()


def test_a_file_that_somebody_has_open_is_not_moved_away_under_him(tmp_path: Path) -> None:
    journal = open_(tmp_path)
    journal.append([sample(1)])
    db = sqlite3.connect(tmp_path / "journal.sqlite3")
    db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="found version 99 of a later Givre, and another process has it open"):
        open_(tmp_path)
    journal.append([sample(2)])
    assert list(journal.samples(T0)) == [sample(1), sample(2)]
    db.close()
    journal.close()


def test_a_file_locked_by_somebody_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_(tmp_path)
    journal.append([sample(1)])
    holder = sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(journal_file, "LOCKED_S", 0.1)
    with pytest.raises(JournalFullError, match="locked"):
        open_(tmp_path)
    holder.execute("ROLLBACK")
    holder.close()
    assert list(tmp_path.glob("*.corrupt-*")) == []
    journal.append([sample(2)])
    journal.close()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="expected a folder that can be written, found: "):
        Journal(tmp_path / "missing" / "journal.sqlite3", max_size_mb=8, keep_days=1)


def test_two_that_make_the_same_new_journal_at_once_make_one(tmp_path: Path) -> None:
    script = WRITER.split("i = int", maxsplit=1)[0] + "journal.append([]); journal.post('x'); print(journal.recovered)"
    both = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "journal.sqlite3")], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [p.communicate()[0] for p in both] == [b"None\n"] * 3
    journal = open_(tmp_path)
    assert len(journal.commands()) == 3
    journal.close()

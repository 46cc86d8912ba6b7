"""How is this installation, on one page? Configuration, clock, disk, endpoints, certificates, model, journal, tags and alarms.

It reads beside a running service or without one and writes nothing: the journal is opened read-only. What stands under `do`
is what a person should do next, the most urgent first. Exit code of `givre doctor`: 1 if there is something to do at once.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from cryptography import x509
from rich.text import Text

from config.errors import ConfigError
from config.load import load
from config.schema import resolve
from detectors.records import Alert, Explanation, Mark, Reply, Sample, Status
from stream import alarm_memory
from stream.assemble import state_folder
from stream.check import check, named_files
from stream.flood import PLANT
from stream.journal.entry import KINDS, decode, moment

if TYPE_CHECKING:
    from rich.console import Console

    from config.load import Loaded

__all__ = ["Finding", "Page", "examine"]

Level = Literal["ok", "look", "bad"]
STYLES = {"ok": "green", "look": "yellow", "bad": "bold red"}
EXPIRES_SOON = timedelta(days=30)
BEHIND = 100_000
"""So many records that wait for one sink are said."""
CLOCK_OFF_S = 5.0
LOOKED_BACK = 200_000
"""Among so many newest samples each tag is looked for."""
COMMAND_LIMIT_S = 5.0
MIB = 2**20
_SINK_KINDS = {
    "influxdb": tuple(number for kind, number in KINDS.items() if kind not in {Mark, Explanation, Reply}),
    "mqtt": (KINDS[Alert], KINDS[Status], KINDS[Explanation], KINDS[Reply]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the page; `do` is what to do about it."""

    part: str
    level: Level
    text: str
    do: str = ""


@dataclass(slots=True, kw_only=True)
class Page:
    """What was found with a configuration, in the order of the page; its path stands in what to type."""

    config: Path
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done at once."""
        return all(finding.level != "bad" for finding in self.findings)

    def add(self, part: str, level: Level, text: str, do: str = "") -> None:
        """Takes a line."""
        self.findings.append(Finding(part=part, level=level, text=text, do=do))

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        lines = [{"part": f.part, "level": f.level, "text": f.text, "do": f.do} for f in self.findings]
        return {"ok": self.ok, "findings": lines}

    def print(self, console: Console) -> None:
        """For a person: a line each, and at the end what to do next."""
        part = ""
        for f in self.findings:
            name, part = ("" if f.part == part else f.part), f.part
            console.print(
                Text.assemble((f"{name:<13}", "bold"), (f"{f.level:<5}", STYLES[f.level]), f.text), soft_wrap=True
            )
        steps = [f.do for level in ("bad", "look") for f in self.findings if f.level == level and f.do]
        console.print(Text("what to do next" if steps else "nothing to do", style="bold"))
        for number, step in enumerate(dict.fromkeys(steps), start=1):
            console.print(Text(f"{number:>3}. {step}"), soft_wrap=True)


def examine(path: Path, *, connect: bool, now: datetime | None = None) -> Page:
    """Looks at everything; with `connect` at the endpoints as well."""
    now, page = now or datetime.now(UTC), Page(config=path)
    report = check(path, connect=connect)
    page.add("config", "ok" if report.ok else "bad", f"{path}: {len(report.problems)} problems")
    for line in report.problems:
        page.add("config", "bad", line, f"put right: {line}")
    for line in report.warnings:
        page.add("config", "look", line, line)
    for line in report.notes:
        page.add("config", "ok", line)
    try:
        loaded = load(path)
    except ConfigError:
        return page
    if connect and report.connected and report.ok:
        page.add("endpoints", "ok", "every source, sink and tag can be had")
    _certificates(loaded, page, now)
    _clock(page)
    _gpu(page)
    folder = state_folder(loaded)
    _disk(folder, page)
    _journal(folder / "journal.sqlite3", loaded, page, now)
    return page


def _certificates(loaded: Loaded, page: Page, now: datetime) -> None:
    for key, text in named_files(loaded):
        if key[-1] == "private_key":
            continue
        path, name = resolve(text, loaded.folder), ".".join(key)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            try:
                content = file.read_bytes()
                pem = b"-----BEGIN" in content
                found = x509.load_pem_x509_certificates(content) if pem else [x509.load_der_x509_certificate(content)]
            except (OSError, ValueError) as error:
                page.add("certificate", "bad", f"{name}: {file}: {error}", f"put a certificate at {file}")
                continue
            for one in found:
                _expiry(name, file, one.not_valid_after_utc, page, now)


def _expiry(name: str, file: Path, ends_at: datetime, page: Page, now: datetime) -> None:
    days = (ends_at - now).days
    if ends_at <= now:
        page.add("certificate", "bad", f"{name}: {file.name} expired on {ends_at:%Y-%m-%d}", f"renew {file}")
    else:
        level: Level = "look" if ends_at - now < EXPIRES_SOON else "ok"
        page.add(
            "certificate", level, f"{name}: {file.name} is valid for {days} days", f"renew {file} within {days} days"
        )


def _clock(page: Page) -> None:
    for command, good in (
        (("timedatectl", "show", "--property=NTPSynchronized", "--value"), "yes"),
        (("chronyc", "-n", "tracking"), "Leap status     : Normal"),
    ):
        said = _say(*command)
        if said:
            synchronised = good in said
            text = f"{command[0]}: {'synchronised' if synchronised else 'not synchronised'}"
            page.add(
                "clock",
                "ok" if synchronised else "look",
                text,
                "" if synchronised else "set up NTP (chrony or timesyncd)",
            )
            return
    page.add("clock", "look", "neither timedatectl nor chronyc answers", "see that the clock is set by NTP")


def _gpu(page: Page) -> None:
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        page.add("gpu", "ok", "none")
        return
    said = _say("nvidia-smi", "--query-gpu=name,memory.used,memory.total,temperature.gpu", "--format=csv,noheader")
    if said:
        page.add("gpu", "ok", said)
    else:
        page.add("gpu", "look", "its device is there and nvidia-smi does not answer", "look at the NVIDIA driver")


def _disk(folder: Path, page: Page) -> None:
    at = next(p for p in (folder, *folder.parents) if p.exists())
    usage = shutil.disk_usage(at)
    share = usage.free / usage.total
    text = f"{folder}: {usage.free // MIB:,} MiB of {usage.total // MIB:,} MiB free"
    page.add("disk", "ok" if share > 0.1 else "look", text, "" if share > 0.1 else f"make room on the disk of {folder}")


def _journal(path: Path, loaded: Loaded, page: Page, now: datetime) -> None:
    if not path.exists():
        page.add("journal", "look", f"none at {path} yet", "start the service: systemctl start givre")
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            page.add("journal", "ok", f"{path}: {path.stat().st_size // MIB:,} MiB")
            _sinks(db, loaded, page)
            _statuses(db, page)
            _tags(db, loaded, page, now)
            _alarms(db, page)
    except (sqlite3.Error, ValueError, KeyError) as error:
        page.add(
            "journal", "bad", f"{path}: cannot be read: {error}", "restart the service: it moves a broken journal aside"
        )


def _sinks(db: sqlite3.Connection, loaded: Loaded, page: Page) -> None:
    places = dict(db.execute("SELECT sink, position FROM cursor"))
    for name, sink in loaded.settings.sinks.items():
        if name not in places:
            page.add(
                "journal", "look", f"sink {name}: not known to it yet", "reload the service: systemctl reload givre"
            )
            continue
        kinds = ",".join(map(str, _SINK_KINDS[sink.type]))
        query = f"SELECT count(*) FROM entry WHERE id > ? AND kind IN ({kinds})"  # noqa: S608 - our own numbers
        (depth,) = db.execute(query, (places[name],)).fetchone()
        (dead,) = db.execute("SELECT count(*) FROM dead_letter WHERE sink = ?", (name,)).fetchone()
        behind = depth > BEHIND
        text = f"sink {name}: {depth:,} records wait" + (f", {dead:,} refused for ever" if dead else "")
        page.add("journal", "look" if behind or dead else "ok", text, f"see why sink {name} is behind or refuses")


def _statuses(db: sqlite3.Connection, page: Page) -> None:
    query = f"SELECT kind, tag, at, value, body FROM entry WHERE kind = {KINDS[Status]} ORDER BY id DESC LIMIT 1000"  # noqa: S608 - our own number
    newest: dict[str, Status] = {}
    for row in db.execute(query):
        record = decode(row)
        if isinstance(record, Status):
            newest.setdefault(record.subject, record)
    for subject, status in sorted(newest.items()):
        text = f"{subject}: {status.detail} (since {status.at:%Y-%m-%d %H:%M:%S} UTC)"
        do = (
            "start the service: systemctl start givre" if subject == "service" else f"see to {subject}: {status.detail}"
        )
        if subject.startswith(PLANT):
            page.add(
                "alarms",
                "ok" if status.ok else "look",
                text,
                "" if status.ok else f"look: givre alarms flood {page.config}",
            )
            continue
        page.add("parts", "ok" if status.ok else "bad", text, "" if status.ok else do)


def _tags(db: sqlite3.Connection, loaded: Loaded, page: Page, now: datetime) -> None:
    query = (
        "SELECT kind, tag, at, value, body FROM entry INDEXED BY sample_once WHERE kind = 0 ORDER BY at DESC LIMIT ?"
    )
    newest: dict[str, datetime] = {}
    delays_s: list[float] = []
    for number, row in enumerate(db.execute(query, (LOOKED_BACK,))):
        newest.setdefault(row[1], moment(row[2]))
        if number < 500 and isinstance(sample := decode(row), Sample):
            delays_s.append((sample.arrived_at - sample.source_at).total_seconds())
    if delays_s:
        off_s = median(delays_s)
        good = abs(off_s) <= CLOCK_OFF_S
        text = f"samples arrive {off_s:.2f} s after the time that their source gives them"
        page.add(
            "clock", "ok" if good else "look", text, "" if good else "compare the clocks of sources and this machine"
        )
    for tag, settings in loaded.settings.tags().items():
        at = newest.get(tag)
        if at is None:
            page.add(
                "tags",
                "bad",
                f"{tag}: no sample",
                f"find out why {tag} has no sample: givre check --connect {page.config}",
            )
            continue
        age_s = (now - at).total_seconds()
        stale = age_s > settings.hold_s
        text = f"{tag}: last sample {age_s:,.1f} s old{f', more than hold_s {settings.hold_s:g}' if stale else ''}"
        page.add(
            "tags",
            "look" if stale else "ok",
            text,
            f"find out why {tag} is silent: givre check --connect {page.config}",
        )


def _alarms(db: sqlite3.Connection, page: Page) -> None:
    texts = db.execute(
        "SELECT key, text FROM memory WHERE substr(key, 1, ?) = ?", (len(alarm_memory.PREFIX), alarm_memory.PREFIX)
    )
    standing = {name: m.shown for name, m in alarm_memory.load(dict(texts)).items() if m.shown != "normal"}
    for name, state in sorted(standing.items()):
        page.add("alarms", "look", f"{name}: {state}", f"see to the alarms: givre alarms list {page.config}")
    if not standing:
        page.add("alarms", "ok", "none")


def _say(*command: str) -> str:
    """What a program prints; empty where it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False)  # noqa: S603 - our own words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

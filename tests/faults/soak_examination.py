"""What a soak's plant said against what is stored and told: each difference is a broken invariant."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from soak_plant import FLOWS, WAVE, wave_value

from detectors.records import Alert
from stream.journal import Journal

if TYPE_CHECKING:
    from soak import Soak
    from soak_plant import Observer

__all__ = ["examine"]

AROUND_S = 6.0
"""What happens so long before or after a fault may be of it."""


def examine(soak: Soak, observer: Observer) -> dict[str, Any]:
    """What was said against what is stored and told; each difference is a broken invariant. The figures of the table."""
    said, broken = soak.plant.said, soak.broken
    for tag in FLOWS:
        rows = soak.database.ask(f'SELECT "value" FROM "sample" WHERE "tag" = \'{tag}\'')
        want = {round(s.at * 1e6): float(s.number) for s in said}
        have = Counter((row["time"], row["value"]) for row in rows)
        lost, others = want.items() - have.keys(), have.keys() - want.items()
        if lost or others or max(have.values()) > 1:
            broken.append(
                f"{tag}: {len(lost)} lost, {len(others)} that nobody said, of {len(want)}; {sorted(lost)[:3]}"
            )
    holes = counted(soak)
    with closing(Journal(soak.service.config.parent / "state/journal.sqlite3", max_size_mb=1024, keep_days=30)) as kept:
        alerts = [a for a in kept.history(kinds={Alert}) if isinstance(a, Alert)]
    wave = [a for a in alerts if a.alarm == WAVE]
    if [a.verdict and a.verdict.value for a in wave] != [wave_value(i) for i in range(soak.plant.swings)]:
        broken.append(f"{WAVE}: {len(wave)} transitions are not the {soak.plant.swings} swings of the wave")
    for alarm in sorted({a.alarm for a in alerts}):
        mine = [a for a in alerts if a.alarm == alarm]
        legal = all(after.previous is before.state for before, after in pairwise(mine))
        if not legal or [a.sequence for a in mine] != list(range(1, len(mine) + 1)):
            broken.append(f"{alarm}: transitions that do not follow one another: {[a.sequence for a in mine]}")
        told = {e["sequence"]: e for e in observer.events if e["alarm"] == alarm}
        if any(e != told[e["sequence"]] for e in observer.events if e["alarm"] == alarm):
            broken.append(f"{alarm}: one transition was told in two ways")
        silent = [a for a in mine if a.sequence not in told and not in_faults(soak, a.at.timestamp(), "kill broker")]
        if silent or set(told) - {a.sequence for a in mine}:
            broken.append(f"{alarm}: {len(silent)} transitions were never told: {[a.sequence for a in silent][:5]}")
        if mine and observer.states.get(alarm) != told.get(len(mine)):
            broken.append(f"{alarm}: the retained state is not the last transition")
    *_, name, tag = ["", *WAVE.split("/")[:2]]
    rows = soak.database.ask(f'SELECT "sequence" FROM "alarm" WHERE "asset" = \'{name}\' AND "tag" = \'{tag}\'')
    if sorted(row["sequence"] for row in rows) != [a.sequence for a in wave]:
        broken.append(f"{WAVE}: the database has {len(rows)} transitions of {len(wave)}")
    return {
        "samples": len(said) * len(FLOWS), "transitions": len(alerts), "swings": soak.plant.swings, "holes_opcua": holes,
    }  # fmt: skip


def counted(soak: Soak) -> int:
    """OPC UA keeps nothing for a client that is away: each hole must lie in a fault that can make one. How many there are."""
    rows = soak.database.ask('SELECT "value" FROM "sample" WHERE "tag" = \'count\'')
    counts = [int(row["value"]) for row in rows if row["value"] is not None]
    wrong = [r for r in rows if r["value"] is not None and abs(r["time"] / 1e6 - soak.epoch - r["value"] / 10) > 1e-4]
    if wrong or len(set(counts)) != len(counts):
        soak.broken.append(
            f"count: {len(wrong)} values at another time than theirs, {len(counts) - len(set(counts))} doubled"
        )
    holes = [(a, b) for a, b in pairwise(sorted(counts)) if b > a + 1]
    for a, b in holes:
        begin, end = soak.epoch + a / 10, soak.epoch + b / 10
        if not any(in_faults(soak, t, "plc", "service", "fill disk") for t in (begin, (begin + end) / 2, end)):
            soak.broken.append(
                f"count: {b - a - 1} values are missing from {begin - soak.epoch:.1f} s on, without a cause"
            )
    return len(holes)


def in_faults(soak: Soak, moment: float, *names: str) -> bool:
    """Whether a fault with such a name was on then, or just before."""
    return any(
        any(n in f.name for n in names) and f.begin - AROUND_S <= moment <= f.well + AROUND_S for f in soak.faults
    )

"""What a soak's plant said against what is stored and told: each difference is a broken invariant."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from soak_plant import FLOWS, WAVE, wave_value

if TYPE_CHECKING:
    from soak import Soak
    from soak_plant import Observer

__all__ = ["examine"]

RAISED, RETURNED = "unacknowledged", "returned_unacknowledged"
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
    which = "\"tag\" = 'wave' AND \"rule\" = 'tolerance'"
    rows = soak.database.ask(f'SELECT "sequence", "state", "active" FROM "alarm" WHERE {which}')
    swings = range(1, soak.plant.swings + 1)
    stored = sorted((row["sequence"], row["state"], row["active"]) for row in rows)
    if stored != [(i, RAISED if i % 2 else RETURNED, i % 2) for i in swings]:
        broken.append(f"{WAVE}: the database has {len(rows)} transitions of {soak.plant.swings} swings: {stored[:3]}")
    events = [e for e in observer.events if e["alarm"] == WAVE]
    told = {e["sequence"]: e for e in events}
    if any(e != told[e["sequence"]] for e in events):
        broken.append(f"{WAVE}: one transition was told in two ways")
    if any(e["value"] != wave_value(i - 1) for i, e in told.items()):
        broken.append(f"{WAVE}: a transition was told with the value of another swing")
    moments = {row["sequence"]: row["time"] / 1e6 for row in rows}
    silent = [i for i in moments.keys() - told.keys() if not in_faults(soak, moments[i], "kill broker")]
    if silent or told.keys() - moments.keys():
        broken.append(
            f"{WAVE}: never told: {sorted(silent)[:5]}; told and not stored: {sorted(told.keys() - moments.keys())[:5]}"
        )
    if observer.states.get(WAVE) != told.get(soak.plant.swings):
        broken.append(f"{WAVE}: the retained state is not the last transition")
    return {
        "samples": len(said) * len(FLOWS), "transitions": len(rows), "swings": soak.plant.swings, "holes_opcua": holes,
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

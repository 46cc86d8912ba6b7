"""Which alarms does a configuration make? Each with its name, its settings and where they stand in the file."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from config.rule import Alarm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.schema import Asset, Settings, Tag

__all__ = ["Key", "NamedAlarm", "alarms", "suppressions"]

Key = tuple[str | int, ...]


class NamedAlarm(NamedTuple):
    """One alarm; `rule` is None for those of the health of a tag, which have no settings."""

    name: str
    rule: Alarm | None
    key: Key


def alarms(settings: Settings) -> Iterator[NamedAlarm]:
    """Every alarm; those of tags in the order of the file, then those of sources."""
    tags = settings.tags()
    for asset_name, asset in settings.assets.items():
        at: Key = ("assets", asset_name)
        for own_name, tag in asset.tags.items():
            yield from _of_tag(f"{asset_name}/{own_name}", tag, (*at, "tags", own_name))
        yield from _of_asset(asset_name, asset, at)
    followed = {tag.source.name for tag in tags.values()}
    for name, source in settings.sources.items():
        if name in followed:
            yield NamedAlarm(f"source/{name}/lost", source.lost, ("sources", name, "lost"))


def suppressions(settings: Settings) -> Iterator[tuple[Key, str]]:
    """What is wrong with `suppressed_by`: names of no alarm, and alarms that would suppress themselves."""
    made = list(alarms(settings))
    parents: dict[str, list[str]] = {}
    for alarm in made:
        parents.setdefault(alarm.name, []).extend([] if alarm.rule is None else alarm.rule.suppressed_by)
    told: set[Key] = set()
    for alarm in made:
        if alarm.rule is None or alarm.key in told:
            continue
        told.add(alarm.key)  # a baseline has one rule for many tags
        for place, parent in enumerate(alarm.rule.suppressed_by):
            at = (*alarm.key, "suppressed_by", place)
            if parent not in parents:
                close = ", ".join(get_close_matches(parent, parents, n=3, cutoff=0.5)) or "none is like it"
                yield at, f"expected an alarm of this file ({close}), found {parent!r}"
            elif way := _way(parent, alarm.name, parents):
                yield at, f"expected no circle, found {' by '.join([alarm.name, *way])}"


def _way(start: str, end: str, parents: dict[str, list[str]]) -> list[str]:
    """The names from one alarm to another along what suppresses them; empty if there is no way."""
    waiting, seen = [[start]], {start}
    while waiting:
        way = waiting.pop()
        if way[-1] == end:
            return way
        for parent in parents.get(way[-1], []):
            if parent not in seen:
                seen.add(parent)
                waiting.append([*way, parent])
    return []


def _of_tag(name: str, tag: Tag, at: Key) -> Iterator[NamedAlarm]:
    health = ["quality", "stale"] + (["physical"] if tag.physical is not None else [])
    yield from (NamedAlarm(f"{name}/{rule}", None, at) for rule in health)
    for key in type(tag).model_fields:
        rule = getattr(tag, key)
        if isinstance(rule, Alarm):
            yield NamedAlarm(f"{name}/{key}", rule, (*at, key))
    if tag.limits is not None:
        for key, level in tag.limits.levels.items():
            yield NamedAlarm(f"{name}/{key}", level, (*at, "limits", key))


def _of_asset(name: str, asset: Asset, at: Key) -> Iterator[NamedAlarm]:
    if asset.balance is not None:
        yield NamedAlarm(f"{name}/{asset.balance.power}/balance", asset.balance, (*at, "balance"))
    for key, pump in asset.pumps.items():
        yield NamedAlarm(f"{name}/{pump.command}/response", pump, (*at, "pumps", key))
    if asset.baseline is None:
        return
    for key, rule in asset.baseline.rules.items():
        whose = [f"{name}/{tag}" for tag in asset.baseline.tags or asset.tags] if key == "shift" else [f"asset/{name}"]
        yield from (NamedAlarm(f"{one}/{key}", rule, (*at, "baseline", key)) for one in whose)

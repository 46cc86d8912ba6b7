"""Which of the packages that run here have weaknesses that are known?

Compared are names and versions with a list of records in the form of OSV (ossf.github.io/osv-schema), as a file: at the plant
nobody is asked. Which versions a record means is told by itself: versions one by one, or from where on and until where, by the
rules of the schema ("Evaluation") and the order of PEP 440. A record that cannot be read is counted and named, never passed over
in silence; one that says nothing of versions means all of them.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Comparison", "Weakness", "WeaknessError", "compare", "inside", "installed"]

ECOSYSTEM = "PyPI"
LONGEST_BYTES = 4 * 2**20
"""A record that is longer is none."""
_FIRST = "0"


class WeaknessError(Exception):
    """A list or a bill of materials that cannot be used; the text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """One known weakness of one package that is here."""

    package: str
    version: str
    id: str
    names: tuple[str, ...]
    """What else it is called: a CVE."""
    fixed_in: tuple[str, ...]
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of comparing."""

    packages: int
    records: int
    newest_at: datetime | None
    """When the newest of the records was last changed; None where none says."""
    found: list[Weakness]
    unreadable: list[str] = field(default_factory=list)
    """Names of records that are none."""


def installed() -> dict[str, str]:
    """Name and version of each package that this Python would import."""
    return {canonicalize_name(one.metadata["Name"]): one.version for one in distributions() if one.metadata["Name"]}


def inside(path: Path) -> dict[str, str]:
    """Name and version of each Python package in a bill of materials (CycloneDX, JSON). Raises WeaknessError."""
    wanted = f"bill of materials {path}: expected CycloneDX as JSON, such as the givre.cdx.json of a wheelhouse"
    try:
        listed = json.loads(path.read_bytes())["components"]
        purls = [str(one.get("purl", "")) for one in listed]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeaknessError(f"{wanted}, found: {error}") from error
    found: dict[str, str] = {}
    for purl in purls:
        name, at, version = purl.partition("?")[0].removeprefix("pkg:pypi/").partition("@")
        if purl.startswith("pkg:pypi/") and at:
            found[canonicalize_name(unquote(name))] = unquote(version)
    if not found:
        raise WeaknessError(f"{wanted}, found no Python package in it")
    return found


def compare(packages: Mapping[str, str], path: Path) -> Comparison:
    """Compares packages (name to version) with a list: a zip of OSV records, or a folder of them. Raises WeaknessError."""
    found: list[Weakness] = []
    unreadable: list[str] = []
    newest_at: datetime | None = None
    count = 0
    for name, text in _records(path):
        count += 1
        try:
            record = json.loads(text)
            changed_at = datetime.fromisoformat(record["modified"])
            changed_at = changed_at if changed_at.tzinfo else changed_at.replace(tzinfo=UTC)
            matches = list(_matches(record, packages))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            unreadable.append(name)
            continue
        newest_at = max(changed_at, newest_at or changed_at)
        found += matches
    if not count:
        raise WeaknessError(f"list {path}: expected OSV records, one JSON file each, found none")
    found.sort(key=lambda one: (one.package, one.id))
    return Comparison(
        packages=len(packages), records=count, newest_at=newest_at, found=found, unreadable=sorted(unreadable)
    )


def _records(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and text of each record of a list; an empty text for one that is too long."""
    try:
        if path.is_dir():
            for one in sorted(path.rglob("*.json")):
                yield one.name, b"" if one.stat().st_size > LONGEST_BYTES else one.read_bytes()
            return
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".json"):
                    # What it says of its size is not believed: only so much is ever unpacked.
                    with archive.open(entry) as file:
                        text = file.read(LONGEST_BYTES + 1)
                    yield entry.filename, b"" if len(text) > LONGEST_BYTES else text
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise WeaknessError(
            f"list {path}: expected a zip of OSV records, or a folder of them, found: {error}"
        ) from error


def _matches(record: dict[str, Any], packages: Mapping[str, str]) -> Iterator[Weakness]:
    if record.get("withdrawn"):
        return
    seen = set()
    for affected in record.get("affected", ()):
        package = affected.get("package", {})
        name = canonicalize_name(package.get("name", ""))
        if package.get("ecosystem") != ECOSYSTEM or name not in packages or name in seen:
            continue
        version = packages[name]
        if not _is_affected(version, affected):
            continue
        seen.add(name)
        ends = [event["fixed"] for one in _ranges(affected) for event in one["events"] if "fixed" in event]
        yield Weakness(
            package=name,
            version=version,
            id=str(record["id"]),
            names=tuple(map(str, record.get("aliases", ()))),
            fixed_in=tuple(dict.fromkeys(map(str, ends))),
            summary=str(record.get("summary") or record.get("details", "")).strip().partition("\n")[0],
        )


def _ranges(affected: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in affected.get("ranges", ()) if one.get("type") in {"ECOSYSTEM", "SEMVER"}]


def _is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """The schema's own rule; what says nothing of versions, or has a version that is none, is taken to mean this one."""
    ranges, versions = _ranges(affected), affected.get("versions", ())
    if version in versions or not (ranges or versions):
        return True
    try:
        here = _version(version)
        named = any(_is_version(one) and _version(one) == here for one in versions)
        return named or any(_lies_in(here, one["events"]) for one in ranges)
    except InvalidVersion:
        return True


def _lies_in(here: Version, events: Iterable[Mapping[str, str]]) -> bool:
    marks = sorted(
        ((_version("0.dev0" if text == _FIRST else text), kind) for event in events for kind, text in event.items()),
        key=lambda mark: mark[0],
    )
    affected = False
    for at, kind in marks:
        if kind == "introduced" and here >= at:
            affected = True
        elif (kind == "fixed" and here >= at) or (kind == "last_affected" and here > at):
            affected = False
    return affected


def _version(text: str) -> Version:
    # A build for another processor (2.13.0+cpu) has the weaknesses of what it is a build of.
    return Version(Version(text).public)


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True

"""Known weaknesses: which versions a record means, and that nothing in a list or a bill of materials is passed over."""

from __future__ import annotations

import json
import re
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from typer.testing import CliRunner

from stream.cli import weakness
from stream.cli.app import app
from stream.cli.weakness import WeaknessError, compare, inside, installed

if TYPE_CHECKING:
    from pathlib import Path

MODIFIED = "2026-11-20T10:00:00Z"


def record(*events: dict[str, str], name: str = "NumPy", **changes: Any) -> dict[str, Any]:
    """An OSV record that means the versions of some events."""
    affected: dict[str, Any] = {"package": {"ecosystem": "PyPI", "name": name}}
    if events:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": list(events)}]
    affected |= changes.pop("affected", {})
    return {
        "id": "PYSEC-1",
        "modified": MODIFIED,
        "aliases": ["CVE-1"],
        "summary": "It bites.",
        "affected": [affected],
    } | changes


def listed(folder: Path, *records: dict[str, Any] | str) -> Path:
    """A list of records as osv.dev has it."""
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i, one in enumerate(records):
            archive.writestr(f"{i}.json", one if isinstance(one, str) else json.dumps(one))
    return path


def ids(folder: Path, version: str, *records: dict[str, Any]) -> list[str]:
    return [one.id for one in compare({"numpy": version}, listed(folder, *records)).found]


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("1.9", False),
        ("2.0", True),
        ("2.1.3", True),
        ("2.2", False),
        ("2.2rc1", True),
        ("3.0", True),
        ("3.1", True),
        ("3.2", False),
    ],
)
def test_a_record_means_what_lies_between_its_events(tmp_path: Path, version: str, affected: bool) -> None:
    one = record({"introduced": "3.0"}, {"introduced": "2.0"}, {"fixed": "2.2"}, {"last_affected": "3.1"})
    assert bool(ids(tmp_path, version, one)) is affected


def test_zero_is_before_every_version(tmp_path: Path) -> None:
    assert ids(tmp_path, "0.0.dev1", record({"introduced": "0"}, {"fixed": "1"})) == ["PYSEC-1"]


def test_a_build_for_a_processor_is_the_version_that_it_is_a_build_of(tmp_path: Path) -> None:
    assert ids(tmp_path, "2.13.0+cpu", record({"introduced": "0"}, {"last_affected": "2.13.0"})) == ["PYSEC-1"]
    assert ids(tmp_path, "2.13.0+cpu", record(affected={"versions": ["2.13.0"]})) == ["PYSEC-1"]
    assert ids(tmp_path, "2.13.0+cpu", record({"introduced": "0"}, {"fixed": "2.13.0"})) == []


def test_versions_may_stand_one_by_one(tmp_path: Path) -> None:
    one = record(affected={"versions": ["2.0", "2.1"]})
    assert ids(tmp_path, "2.1.0", one) == ["PYSEC-1"]
    assert ids(tmp_path, "2.2", one) == []


def test_a_record_that_says_nothing_of_versions_means_all(tmp_path: Path) -> None:
    assert ids(tmp_path, "2.2", record()) == ["PYSEC-1"]
    git = {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}
    assert ids(tmp_path, "2.2", record(affected=git)) == ["PYSEC-1"]


def test_other_packages_other_ecosystems_and_what_was_withdrawn_are_not_meant(tmp_path: Path) -> None:
    other = record({"introduced": "0"}, name="numpy-stl")
    foreign = record({"introduced": "0"}, affected={"package": {"ecosystem": "npm", "name": "numpy"}})
    withdrawn = record({"introduced": "0"}, withdrawn=MODIFIED)
    assert ids(tmp_path, "2.0", other, foreign, withdrawn) == []


VERSIONS = st.builds(
    lambda a, b, end: f"{a}.{b}{end}", st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", "rc1", ".post1"])
)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_a_range_is_its_comparison_of_versions(here: str, introduced: str, fixed: str) -> None:
    events = [{"introduced": introduced}, {"fixed": fixed}]
    expected = Version(introduced) <= Version(here) and not Version(introduced) < Version(fixed) <= Version(here)
    if Version(introduced) != Version(fixed):
        assert weakness._lies_in(Version(here), events) is expected


def test_it_says_what_was_compared_and_how_old_it_is(tmp_path: Path) -> None:
    found = compare({"numpy": "2.0", "scipy": "1.0"}, listed(tmp_path, record({"introduced": "0"}, {"fixed": "2.1"})))
    assert (found.packages, found.records, found.newest_at) == (2, 1, datetime(2026, 11, 20, 10, tzinfo=UTC))
    (one,) = found.found
    assert (one.package, one.names, one.fixed_in, one.summary) == ("numpy", ("CVE-1",), ("2.1",), "It bites.")


@pytest.mark.parametrize(
    "broken",
    ["", "[]", "{", "[" * 100_000, '{"id": 1}', json.dumps(record(affected={"ranges": [{"type": "ECOSYSTEM"}]}))],
    ids=["empty", "list", "cut short", "deep", "no date", "no events"],
)
def test_a_record_that_cannot_be_read_is_named_and_stops_no_other(tmp_path: Path, broken: str) -> None:
    found = compare({"numpy": "2.0"}, listed(tmp_path, broken, record({"introduced": "0"})))
    assert found.unreadable == ["0.json"]
    assert [one.id for one in found.found] == ["PYSEC-1"]


def test_a_record_that_would_fill_the_memory_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weakness, "LONGEST_BYTES", 1000)
    found = compare({"numpy": "2.0"}, listed(tmp_path, record({"introduced": "0"}, details="x" * 2000)))
    assert found.unreadable == ["0.json"]


def test_a_folder_of_records_is_a_list_too(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/PYSEC-1.json").write_text(json.dumps(record({"introduced": "0"})))
    assert len(compare({"numpy": "2.0"}, tmp_path).found) == 1


@pytest.mark.parametrize("content", [None, b"", b"not a zip"])
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "all.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        WeaknessError, match=re.escape(f"list {path}: expected a zip of OSV records, or a folder of them")
    ):
        compare({}, path)
    with pytest.raises(WeaknessError, match="found none"):
        compare({}, listed(tmp_path))


def test_a_bill_of_materials_is_read_by_its_purls(tmp_path: Path) -> None:
    path = tmp_path / "givre.cdx.json"
    purls = [
        "pkg:pypi/PyYAML@6.0.2",
        "pkg:pypi/torch@2.13.0%2Bcpu?file=x.whl",
        "pkg:npm/left-pad@1",
        "pkg:pypi/unpinned",
    ]
    path.write_text(json.dumps({"components": [*({"purl": purl} for purl in purls), {"name": "no purl"}]}))
    assert inside(path) == {"pyyaml": "6.0.2", "torch": "2.13.0+cpu"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"components": [1]}', '{"components": []}'])
def test_what_is_no_bill_of_materials_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "givre.cdx.json"
    path.write_text(text)
    with pytest.raises(WeaknessError, match="expected CycloneDX as JSON"):
        inside(path)


def test_what_runs_here_is_known() -> None:
    packages = installed()
    assert packages["givre"] == "0.1.0"
    assert "pyyaml" in packages


def say(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["weaknesses", *map(str, arguments)])


def test_the_command_names_each_and_fails_unless_all_are_accepted(tmp_path: Path) -> None:
    path = listed(tmp_path, record({"introduced": "0"}, name="PyYAML"))
    said = say(path)
    assert said.exit_code == 1
    assert re.search(r"pyyaml \S+: PYSEC-1 \(CVE-1\)\n  It bites.\n  not mended in any version yet", said.output)
    assert "1 known weakness\n" in said.output
    accepted = say(path, "--accept", "CVE-1")
    assert accepted.exit_code == 0
    assert "accepted: pyyaml" in accepted.output
    assert "no known weakness" in accepted.output


def test_an_old_list_and_an_unreadable_record_are_said(tmp_path: Path) -> None:
    old = say(listed(tmp_path, record({"introduced": "0"}, name="nobody", modified="2021-01-01T00:00:00Z")))
    assert old.exit_code == 0
    assert "The list is old" in old.output
    torn = say(listed(tmp_path, record({"introduced": "0"}, name="nobody"), "{"))
    assert torn.exit_code == 1
    assert "1.json: no OSV record" in torn.output


def test_json_has_all_of_it(tmp_path: Path) -> None:
    said = json.loads(say(listed(tmp_path, record({"introduced": "0"}, name="PyYAML")), "--json").output)
    assert [(one["package"], one["id"], one["accepted"]) for one in said["found"]] == [("pyyaml", "PYSEC-1", False)]
    assert said["records"] == 1


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    said = say(tmp_path / "nothing.zip")
    assert said.exit_code == 1
    assert "expected a zip of OSV records" in said.output
    assert "Traceback" not in said.output

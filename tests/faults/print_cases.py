"""Which fault and security cases hold? Runs the tests of cases.toml, the slow ones too, and writes docs/reliability.md.

`python tests/faults/print_cases.py [F12 S3 ...]` runs those cases alone, and writes their rows anew.
The last line is JSON. Exit code 1 where a test of a case fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

__all__ = ["Case", "Seen", "page", "read_cases"]

FOLDER = Path(__file__).parent
REPOSITORY = FOLDER.parents[1]
PAGE = REPOSITORY / "docs/reliability.md"
HEAD = """\
# What has been tried

Each row is a fault or an attack, made for real against real servers, and what was seen.
`make faults` runs the tests that are named here, the slow ones too, and writes this page.
Where seconds show what minutes would, the times are shortened.
No machine with a GPU was at hand: where memory runs out it is the processor's own allocator, or a memory group of the kernel.
**holds**: all that is asked for is shown.
**in part**: what is shown holds; what is not shown yet is said.
**open**: not tried.
**skipped**: its tests need what that machine had not.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One of cases.toml; `tests` are FILE::TEST below tests/."""

    name: str
    fault: str
    asks: str
    tests: tuple[str, ...]
    rest: str
    shown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a test: over all its parameters, the worst of failed, skipped and passed; and the figures it gave."""

    outcome: str
    figures: tuple[str, ...]


def read_cases() -> list[Case]:
    """All cases in their order."""
    table = tomllib.loads((FOLDER / "cases.toml").read_text())
    return [
        Case(name=name, tests=tuple(c["tests"]), **{"rest": ""} | {key: c[key] for key in c if key != "tests"})
        for name, c in table.items()
    ]


def verdict(case: Case, seen: dict[str, Seen]) -> str:
    """The word of the last column; a test that did not run at all has failed."""
    if not case.tests:
        return "open"
    outcomes = {seen[t].outcome if t in seen else "failed" for t in case.tests}
    if "failed" in outcomes:
        return "FAILS"
    if "skipped" in outcomes:
        return "skipped"
    return "in part" if case.rest else "holds"


def page(cases: list[Case], seen: dict[str, Seen], took_s: float) -> str:
    """The page: a table, and below it how long all took and the tests of each case."""
    lines = [HEAD, "| case | fault | what must hold | seen | |", "|---|---|---|---|---|"]
    for case in cases:
        figures = "; ".join(f for t in case.tests if t in seen for f in seen[t].figures)
        missing = f"*not shown: {case.rest}*" if case.rest else ""
        cells = (
            case.name,
            case.fault,
            case.asks,
            ". ".join(filter(None, (figures, case.shown, missing))),
            verdict(case, seen),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"All of it took {took_s / 60:.0f} minutes on {os.cpu_count()} cores.", "", "## The tests", ""]
    for case in cases:
        lines += [f"- {case.name}: " + (", ".join(f"`{t}`" for t in case.tests) or "none") + "."]
    return "\n".join(lines) + "\n"


def renewed(old: str, new: str) -> str:
    """The old page, with the lines of those cases that the new one has."""
    lines = {line.split()[1]: line for line in new.splitlines() if line.startswith(("| F", "| S"))}
    lines |= {line.split()[1]: line for line in new.splitlines() if line.startswith(("- F", "- S"))}
    return "".join(f"{lines.get(([*line.split(), '', ''])[1], line)}\n" for line in old.splitlines())


def run(tests: list[str]) -> dict[str, Seen]:
    """Runs the tests and reads what became of them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-m",
            "",
            "-n",
            "2",
            "-o",
            "junit_family=xunit1",
            f"--junitxml={report}",
        ]
        subprocess.run([*command, *(f"tests/{t}" for t in tests)], cwd=REPOSITORY, check=False)
        return read_report(report.read_text())


def read_report(text: str) -> dict[str, Seen]:
    """What a report of pytest says of each test, by FILE::TEST; parameters of one test are taken together."""
    outcomes: defaultdict[str, set[str]] = defaultdict(set)
    figures: defaultdict[str, list[str]] = defaultdict(list)
    for item in ET.fromstring(text).iter("testcase"):
        file = item.get("file", "").removeprefix("tests/")
        name = f"{file}::{item.get('name', '').partition('[')[0]}"
        bad = item.find("failure") is not None or item.find("error") is not None
        outcomes[name].add("failed" if bad else "skipped" if item.find("skipped") is not None else "passed")
        figures[name] += [p.get("value", "") for p in item.iter("property") if p.get("name") == "figure"]
    worst = {n: min(o, key=("failed", "skipped", "passed").index) for n, o in outcomes.items()}
    return {n: Seen(outcome=worst[n], figures=tuple(dict.fromkeys(figures[n]))) for n in worst}


def main() -> int:
    """Runs, prints, writes."""
    every = read_cases()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="CASE", help="such as F12; without, all of them")
    names = parser.parse_args().names
    if unknown := set(names) - {c.name for c in every}:
        parser.error(f"no case is called {', '.join(sorted(unknown))}; they are {every[0].name} to {every[-1].name}")
    cases = [c for c in every if not names or c.name in names]
    began = time.monotonic()
    seen = run(list(dict.fromkeys(t for c in cases for t in c.tests)))
    words = {c.name: verdict(c, seen) for c in cases}
    for case in cases:
        figures = "; ".join(f for t in case.tests if t in seen for f in seen[t].figures)
        print(f"{case.name:4} {words[case.name]:8} {case.fault}" + (f" [{figures}]" if figures else ""))
    took_s = time.monotonic() - began
    text = page(cases, seen, took_s)
    PAGE.write_text(renewed(PAGE.read_text(), text) if names else text)
    print(json.dumps({"cases": words, "tests": len(seen), "took_s": round(took_s)}))
    return int("FAILS" in words.values())


if __name__ == "__main__":
    sys.exit(main())

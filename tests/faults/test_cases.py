"""The list of cases: every test that it names is there, and its table says no more than was seen."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cases() -> Any:
    spec = importlib.util.spec_from_file_location("print_cases", Path(__file__).parent / "print_cases.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["print_cases"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_test_that_a_case_names_is_there(cases: Any) -> None:
    for case in cases.read_cases():
        for test in case.tests:
            file, name = test.split("::")
            assert re.search(rf"def {name}\(", (TESTS / file).read_text()), f"{case.name}: {test}"


def test_every_case_is_listed_and_one_without_tests_says_what_is_missing(cases: Any) -> None:
    listed = {c.name: c for c in cases.read_cases()}
    assert list(listed) == [f"F{i}" for i in range(1, 32)] + [f"S{i}" for i in range(1, 16)]
    assert all(c.tests or c.rest for c in listed.values())


def test_the_worst_of_a_tests_parameters_is_what_it_is(cases: Any) -> None:
    report = """<testsuites><testsuite>
      <testcase file="tests/a.py" name="test_x[1]"><properties><property name="figure" value="3 s"/></properties></testcase>
      <testcase file="tests/a.py" name="test_x[2]"><failure/></testcase>
      <testcase file="tests/a.py" name="test_y"><skipped/></testcase>
      <testcase file="tests/a.py" name="test_z"/></testsuite></testsuites>"""
    seen = cases.read_report(report)
    assert seen["a.py::test_x"] == cases.Seen(outcome="failed", figures=("3 s",))

    def word(*tests: str, rest: str = "") -> str:
        return cases.verdict(cases.Case(name="F1", fault="", asks="", tests=tests, rest=rest), seen)

    assert word("a.py::test_z") == "holds"
    assert word("a.py::test_z", rest="a day of it") == "in part"
    assert word("a.py::test_z", "a.py::test_y") == "skipped"
    assert word("a.py::test_z", "a.py::test_x") == "FAILS"
    assert word("a.py::test_z", "a.py::test_gone") == "FAILS"
    assert word(rest="all") == "open"


def test_a_run_of_one_case_renews_its_lines_and_no_other(cases: Any) -> None:
    one, two = (cases.Case(name=n, fault="x", asks="y", tests=("a.py::test_z",), rest="") for n in ("F1", "S1"))
    old = cases.page([one, two], {}, 60.0)
    new = cases.page([one], {"a.py::test_z": cases.Seen(outcome="passed", figures=("3 s",))}, 60.0)
    both = cases.renewed(old, new)
    assert "| F1 | x | y | 3 s | holds |" in both
    assert "| S1 | x | y |  | FAILS |" in both
    assert len(both.splitlines()) == len(old.splitlines())


def test_the_page_in_the_documents_has_a_row_for_each(cases: Any) -> None:
    rows = re.findall(r"^\| ([FS]\d+) \|", (TESTS.parent / "docs/reliability.md").read_text(), re.MULTILINE)
    assert rows == [c.name for c in cases.read_cases()]

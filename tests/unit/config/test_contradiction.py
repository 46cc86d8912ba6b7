"""Sections that cannot both be meant are refused, each at the key where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "name: plc",
            "name: plx",
            ":12: assets.hx.tags.t.source.name: expected one of `sources` (broker, plc), found 'plx'",
        ),
        (
            "node: s=t",
            "topic: a/b",
            ":12: assets.hx.tags.t.source.topic: expected `node`, not `topic`: source 'plc' is an OPC UA server",
        ),
        (
            "name: plc",
            "name: broker",
            ":12: assets.hx.tags.t.source.node: expected `topic`, not `node`: source 'broker' is an MQTT broker",
        ),
        (
            "sinks:\n",
            "sinks:\n  alerts: {type: mqtt, host: H, client_id: c}\n",
            ":15: sinks.alerts.client_id: expected a client_id of its own, found that of sources.broker on the same broker",
        ),
    ],
)
def test_a_contradiction_is_named_with_its_line(
    problems: Callable[[str], list[str]], small: str, old: str, new: str, expected: str
) -> None:
    assert old in small
    found = problems(small.replace(old, new, 1))
    assert [line[: len(expected)] for line in found] == [expected]


def test_all_are_said_at_once_in_the_order_of_their_lines(problems: Callable[[str], list[str]], small: str) -> None:
    twice = "\n      u: {unit: K, period_s: 1, hold_s: 2, source: {name: none, node: s=u}}\nsinks:"
    found = problems(small.replace("name: plc", "name: plx").replace("\nsinks:", twice))
    assert [line.split(":")[1] for line in found] == ["12", "14"]


@pytest.mark.parametrize(
    "sink", ["host: h, client_id: d", "host: g, client_id: c", "host: h, port: 1884, client_id: c"]
)
def test_clients_that_differ_in_anything_are_none(read: Callable[[str], object], small: str, sink: str) -> None:
    read(small.replace("sinks:\n", f"sinks:\n  alerts: {{type: mqtt, {sink}}}\n"))

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


TAGS = """
      p: {unit: kW, period_s: 10, hold_s: 60, source: {name: plc, node: s=p}}
      f: {unit: m3/h, period_s: 10, hold_s: 60, source: {name: plc, node: s=f}}
      w: {unit: degC, period_s: 10, hold_s: 60, source: {name: plc, node: s=w}}
      x: {unit: bar, period_s: 60, hold_s: 60, source: {name: plc, node: s=x}}
    baseline: {tags: [f, w], learn_s: 3600, shift: {}}
    balance: {power: p, flow: f, warm: w, cold: t, minimum_kw: 10, min_flow: 5}
    pumps: {one: {command: p, flow: f, flow_above: 5}}
sinks:"""


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        ("power: p", "power: q", "balance.power", "expected a tag of this asset (f, p, t, w, x), found 'q'"),
        (
            "unit: m3/h",
            "unit: bar",
            "balance.flow",
            "expected a tag in one of m3/s, m3/h, l/s, l/min, l/h, found 'f' in 'bar': it cannot be balanced",
        ),
        ("unit: kW", "unit: kWh", "balance.power", "expected a tag in one of W, kW, MW, found 'p' in 'kWh'"),
        ("warm: w", "warm: t", "balance.cold", "expected a tag of its own, found that of `warm`: 't'"),
        (
            "p: {unit: kW, period_s: 10",
            "p: {unit: kW, period_s: 20",
            "balance",
            "expected four tags with the same period_s, found 20 s (p) and 10 s (f)",
        ),
        ("command: p", "command: q", "pumps.one.command", "expected a tag of this asset (f, p, t, w, x), found 'q'"),
        ("command: p", "command: f", "pumps.one.flow", "expected another tag than that of the command"),
        (
            "flow_above: 5}}",
            "flow_above: 5}, two: {command: p, flow: f, flow_above: 1}}",
            "pumps.two.command",
            "expected each command once, found 'p' again",
        ),
        ("tags: [f, w]", "tags: [f, q]", "baseline.tags.1", "expected a tag of this asset (f, p, t, w, x), found 'q'"),
        ("tags: [f, w]", "tags: [f, f]", "baseline.tags.1", "expected each tag once, found 'f' again"),
        (
            "tags: [f, w]",
            "tags: [f, x]",
            "baseline.tags",
            "expected `tags` with the same period_s, found 10 s (f) and 60 s (x)",
        ),
        (
            "learn_s: 3600",
            "learn_s: 60",
            "baseline.learn_s",
            "expected 800 to 1e+06 s (80 to 100000 steps), found 60",
        ),
        ("setpoint: 5", "setpoint_tag: q", "tags.t.tolerance.setpoint_tag", "expected a tag of this asset"),
        ("setpoint: 5", "setpoint_tag: t", "tags.t.tolerance.setpoint_tag", "expected another tag of the asset"),
        (
            "setpoint: 5",
            "setpoint_tag: f",
            "tags.t.tolerance.setpoint_tag",
            "expected a tag in 'degC', as this one is, found 'f' in 'm3/h'",
        ),
    ],
)
def test_a_rule_on_tags_that_cannot_be_is_refused_at_its_key(  # noqa: PLR0917 - the table's columns and two fixtures
    problems: Callable[[str], list[str]], small: str, old: str, new: str, key: str, expected: str
) -> None:
    text = small.replace("\nsinks:", TAGS)
    assert text.count(old) == 1
    (found,) = problems(text.replace(old, new))
    assert f": assets.hx.{key}: {expected}" in found


@pytest.mark.parametrize("unit", ["m³/h", "l/min", "L/s", "m3/s"])
def test_units_may_be_spelt_as_operators_do(read: Callable[[str], object], small: str, unit: str) -> None:
    text = small.replace("\nsinks:", TAGS).replace("unit: m3/h", f"unit: {unit}").replace("unit: degC", 'unit: "°C"')
    read(text)


@pytest.mark.parametrize("name", ["source", "asset"])
def test_an_asset_cannot_be_called_what_alarms_of_sources_and_assets_are(
    problems: Callable[[str], list[str]], small: str, name: str
) -> None:
    (found,) = problems(small.replace("  hx:", f"  {name}:"))
    assert f"assets.{name}: expected another name" in found


def test_a_baseline_asks_for_at_least_one_alarm(problems: Callable[[str], list[str]], small: str) -> None:
    (found,) = problems(small.replace("\nsinks:", "\n    baseline: {learn_s: 3600}\nsinks:"))
    assert "baseline: expected at least one of shift, components, mahalanobis, forest" in found

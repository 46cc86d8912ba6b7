"""What is legal and hardly meant is doubted, at its key; the sample gives no cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.doubt import doubts
from config.load import Loaded, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEVEL = "deadband: 0.1}\n"
CALM = "sources.broker: no tag follows it: it is not connected"


@pytest.fixture
def doubted(read: Callable[[str], Loaded]) -> Callable[[str], list[str]]:
    def doubted(text: str) -> list[str]:
        return [f"{'.'.join(map(str, key))}: {words}" for key, words in doubts(read(text).settings)]

    return doubted


def test_the_sample_gives_no_cause(sample: Path) -> None:
    assert list(doubts(load(sample).settings)) == []


def test_the_small_one_only_for_its_spare_source(doubted: Callable[[str], list[str]], small: str) -> None:
    assert doubted(small) == [CALM]


T = "assets.hx.tags.t."


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "deadband: 0.1}",
            "deadband: 0.1, suppressed_by: [hx/t/high]}\n        limits: {high: {at: 9, deadband: 1, on_delay_s: 3}}",
            f"{T}tolerance.suppressed_by.0: hx/t/high is raised 3 s after its condition, this one after 0 s",
        ),
        (
            "sinks:\n",
            "sinks:\n  out: {type: mqtt, host: 127.0.0.1, client_id: out, commands: {}}\n",
            "sinks.out.commands: the broker asks for no login",
        ),
        (LEVEL, f"{LEVEL}lateness_s: 60\n", f"{T}hold_s: hold_s 60 does not reach beyond lateness_s 60"),
        ("namespace:", "publishing_interval_s: 11, namespace:", f"{T}period_s: the server publishes every 11 s only"),
        ("namespace:", "sampling_interval_s: 11, namespace:", f"{T}period_s: the server looks at the node every 11 s"),
        (LEVEL, f"{LEVEL}        physical: {{low: 4.9, high: 9}}\n", f"{T}tolerance: the band 4.8 to 5.2 reaches beyond"),
        ("node: s=t", "node: s=t, deadband: 0.2", f"{T}source.deadband: the server reports changes of 0.2 and more"),
        (", deadband: 0.1", "", f"{T}tolerance: neither deadband nor off_delay_s"),
        ("deadband: 0.1", "deadband: 0.1, on_delay_s: 0.4", f"{T}tolerance.on_delay_s: on_delay_s 0.4 is shorter than the 0.5"),
        (LEVEL, f"{LEVEL}        breach: {{on_delay_s: 9}}\n", f"{T}breach.on_delay_s: on_delay_s 9 is shorter than the 10"),
        (LEVEL, f"{LEVEL}        breach: {{on_delay_s: 120}}\n", f"{T}breach.on_delay_s: forecasts reach 120 s ahead"),
        (
            LEVEL,
            f"{LEVEL}        deviation: {{minimum: 80}}\n        physical: {{low: -20, high: 60}}\n",
            f"{T}deviation.minimum: not below the physical range of 80: this alarm can never come",
        ),
        (
            LEVEL,
            f"{LEVEL}      u: {{unit: K, period_s: 10, hold_s: 60, source: {{name: plc, node: s=t}}}}\n",
            "assets.hx.tags.u.source: s=t is followed by several tags: hx/t, hx/u",
        ),
        ("name: plc, node: s=t", "name: broker, topic: a/+", f"{T}source.topic: several topics match"),
        ("host: h", "host: h, username: u, password: {env: P}", "sources.broker.password: the password goes over the network"),
        ("host: h", "host: h, port: 8883", "sources.broker.port: 8883 is the port of TLS, and there is no `tls`"),
        ("host: h", "host: h, tls: {}", "sources.broker.port: 1883 is the port without TLS"),
        ("bucket: b", "bucket: b, token: {env: T}", "sinks.store.url: token or password go over the network unencrypted"),
        ('  store: {type: influxdb, url: "http://h:8086", bucket: b}\n', "  {}\n", "sinks: no sinks: alarms and points"),
    ],
)  # fmt: skip
def test_an_oversight_is_doubted_at_its_key(
    doubted: Callable[[str], list[str]], small: str, old: str, new: str, expected: str
) -> None:
    assert old in small
    found = [line for line in doubted(small.replace(old, new, 1)) if "no tag follows" not in line]
    assert [line[: len(expected)] for line in found] == [expected]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "::1"])
def test_a_password_that_stays_on_this_machine_is_no_doubt(
    doubted: Callable[[str], list[str]], small: str, host: str
) -> None:
    login = f'host: "{host}", username: u, password: {{env: P}}'
    assert doubted(small.replace("host: h", login)) == [CALM]


def test_two_values_of_one_payload_are_two_tags(doubted: Callable[[str], list[str]], small: str) -> None:
    one = small.replace("name: plc, node: s=t", "name: broker, topic: a, value: $.x")
    two = "      u: {unit: K, period_s: 10, hold_s: 60, source: {name: broker, topic: a, value: $.y}}\n"
    assert not any("several tags" in line for line in doubted(one.replace(LEVEL, LEVEL + two)))
    assert any("several tags" in line for line in doubted(one.replace(LEVEL, LEVEL + two.replace("$.y", "$.x"))))

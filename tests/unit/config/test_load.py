"""Configuration files: every error names its line and says what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.errors import ConfigError
from config.load import Loaded, load

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[str], Loaded]
    Problems = Callable[[str | bytes], list[str]]

# Each alias stands for twice the one before: thirty lines that would unfold into a thousand million values.
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 31))


def test_the_sample_loads_and_knows_its_lines(sample: Path) -> None:
    loaded = load(sample)
    assert next(iter(loaded.settings.tags())) == "exchanger/chilled_water"
    at = ("assets", "exchanger", "tags", "chilled_water", "tolerance", "setpoint")
    lines = sample.read_text(encoding="utf-8").splitlines()
    assert loaded.line(*at) == lines.index("          setpoint: 5.0") + 1
    assert loaded.line(*at, "below") == loaded.line(*at)
    assert loaded.folder == sample.parent


def test_a_whole_number_is_a_number_and_a_number_is_no_whole_number(read: Read, problems: Problems, small: str) -> None:
    period_s = read(small).settings.tags()["hx/t"].period_s
    assert (period_s, type(period_s)) == (10.0, float)
    found = problems(small.replace("namespace:", "queue_size: 5.0, namespace:"))
    assert ":3: sources.plc.queue_size: expected a whole number, found 5.0" in found[0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("site: demo", "sit: demo", ":1: sit: expected a known key, found 'sit'. Did you mean 'site'?"),
        ("hold_s: 60", "hold: 60", ":11: assets.hx.tags.t.hold: expected a known key, found 'hold'. Did you mean 'hold_s'?"),
        ("host: h", "host: h, zzz: 1", "'zzz'. Known keys here: type, host, port, protocol,"),
        ("period_s: 10", "period_s: -1", ":10: assets.hx.tags.t.period_s: expected greater than 0, found -1"),
        ("period_s: 10", "period_s: .nan", ":10: assets.hx.tags.t.period_s: expected"),
        ("period_s: 10", "period_s: '10'", "t.period_s: expected a number, found '10'. A number stands without quotes"),
        ("period_s: 10", "period_s: 1e1", "expected a number, found '1e1'. A number stands without quotes; one with an exp"),
        ("period_s: 10", "period_s: yes", "t.period_s: expected a number, found True. YAML reads yes, no, on, off as true"),
        ("period_s: 10", "period_s: 010", ":10: assets.hx.tags.t.period_s: expected a plainly written number, found '010'"),
        ("period_s: 10", "period_s: 1:30", "expected a plainly written number, found '1:30'. YAML reads 010, 0x10, 1_000 an"),
        ("period_s: 10", "period_s:", ":10: assets.hx.tags.t.period_s: expected a number, found nothing. Give it a value"),
        ("        period_s: 10\n", "", ":8: assets.hx.tags.t.period_s: expected a value, found nothing"),
        ("site: demo", "site: no", ":1: site: expected text, found False. YAML reads yes, no"),
        ("site: demo", "site: 5", ":1: site: expected text, found 5. YAML reads"),
        ("hold_s: 60", "hold_s: 5", ":11: assets.hx.tags.t.hold_s: expected hold_s of at least period_s 10, found 5"),
        ("tolerance: {setpoint: 5, tolerance: 0.2, deadband: 0.1}", "breach: {}", ":13: assets.hx.tags.t.breach: breach needs"),
        ("deadband: 0.1", "deadband: 0.2", ":13: assets.hx.tags.t.tolerance.deadband: expected deadband below tolerance 0.2"),
        ("hold_s: 60", "hold_s: 60\n        physical: {low: 5, high: 5}", ":12: assets.hx.tags.t.physical.low: expected low b"),
        ("node: s=t", "", ":12: assets.hx.tags.t.source: expected exactly one of node (OPC UA) and topic (MQTT)"),
        ("node: s=t", "node: ns=2;s=t", ":12: assets.hx.tags.t.source.node: expected a node such as s=Boiler.T"),
        ("node: s=t", "node: s=t, value: $.v", "t.source.value: expected no `value`: it reads an MQTT payload"),
        ("name: plc, node: s=t", "name: broker, topic: a/b, deadband: 1", "t.source.deadband: expected no `deadband`"),
        ("name: plc, node: s=t", "name: broker, topic: a/b+", "t.source.topic: expected topic levels with / between them"),
        ("name: plc, node: s=t", "name: broker, topic: a/#/b", "t.source.topic: expected topic levels with / between them"),
        ("name: plc, node: s=t", "name: broker, topic: t, value: v", "t.source.value: expected a path such as $.value"),
        ("unit: degC", "unit: degC\n        unit: K", ":10: assets.hx.tags.t.unit: expected once, found twice: also on line 9"),
        ("      t:", "      a/b:", ":8: assets.hx.tags.a/b: expected a name of letters, digits"),
        ("type: opcua", "type: modbus", ":3: sources.plc.type: expected 'opcua' or 'mqtt', found 'modbus'"),
        ("type: opcua, ", "", ":3: sources.plc.type: expected 'opcua' or 'mqtt', found nothing"),
        ("opc.tcp://h:1/x", "opc.tcp://u:hunter2@h:1/x", ":3: sources.plc.endpoint: expected opc.tcp://HOST:PORT/PATH, without"),
        ("http://h:8086", "http://u:hunter2@h", ":15: sinks.store.url: expected http://HOST:PORT or https://HOST:PORT, wi"),
        ("host: h", "host: mqtt://h", ":4: sources.broker.host: expected a host name or address, without mqtt://"),
        ("host: h", "host: h, protocol: 5", ":4: sources.broker.protocol: expected '5' or '3.1.1', found 5. Text that looks"),
        ("host: h", "host: h, tls: {certificate: c}", ":4: sources.broker.tls: expected certificate and private_key together"),
        ("bucket: b", "bucket: b, version: 1, token: {env: T}", ":15: sinks.store.token: expected no `token` with version 1"),
        ("bucket: b", "bucket: b, version: 1, org: o", ":15: sinks.store.org: expected no `org` with version 1"),
        ("sinks:\n", "model: {min_context: 200}\nsinks:\n", ":14: model.min_context: expected at most context 128, found 200"),
        ("sinks:\n", "model: {sha256: ABC}\nsinks:\n", ":14: model.sha256: expected 64 hexadecimal digits"),
        ("bucket: b", "bucket:", ":15: sinks.store.bucket: expected text, found nothing. Give it a value, or take the key away"),
        ("    tags:\n", "    tags: {}\n    tog:\n", ":7: assets.hx.tags: expected at least one entry under it"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(problems: Problems, small: str, old: str, new: str, expected: str) -> None:
    assert old in small
    found = problems(small.replace(old, new, 1))
    assert any(expected in line for line in found), found
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize("name", ["a\\nb", "a b", "a,b", "a=b", "a/b", "a+", "#", "a\\0b", "..", "x" * 70_000, "é", ""])
@pytest.mark.parametrize("place", ["site: demo", "  hx:", "      t:"])
def test_a_name_that_would_mean_something_to_a_topic_a_file_or_a_log_is_refused(
    problems: Problems, small: str, place: str, name: str
) -> None:
    assert place in small
    key, _, value = place.partition(":")
    found = problems(small.replace(place, f'{key}: "{name}"' if value else f'{" " * key.count(" ")}"{name}":', 1))
    # Some of these are no key in YAML to begin with.
    assert any("expected a name of letters, digits" in line or "expected YAML" in line for line in found), found
    assert all(line.isprintable() and len(line) < 500 for line in found)


def test_all_mistakes_are_said_at_once_in_the_order_of_their_lines(problems: Problems, small: str) -> None:
    text = small.replace("degC", "5").replace("period_s: 10", "period_s: 0").replace("site: demo", "site: a/b")
    lines = [int(line.split(":")[1]) for line in problems(text)]
    assert lines == sorted(lines) == [1, 9, 10]
    site, rest = text.split("\n", 1)
    lines = [int(line.split(":")[1]) for line in problems(f"{rest}{site}\n")]
    assert lines == [8, 9, 15], "in the order of the file, not of the schema"


def test_a_key_in_the_wrong_section_is_told_the_keys_of_that_section_alone(problems: Problems, small: str) -> None:
    (found,) = problems(small.replace("bucket: b", "bucket: b, prefox: x"))
    assert "Known keys here: type, version, url, bucket, org, token, username, password." in found


@pytest.mark.parametrize(
    "secret",
    [
        "password: hunter2",
        "password: [hunter2]",
        "password: {hunter2}",
        "password: {value: hunter2}",
        "password: {env: P, hunter2: 1}",
        "password: {env: [hunter2]}",
        "password: !hunter2",
        "password: *hunter2",
        "password: 0xbadcafe",
        "pasword: hunter2",
    ],
)
@pytest.mark.parametrize("where", ['namespace: "urn:p"', "client_id: c", "bucket: b"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(
    problems: Problems, small: str, where: str, secret: str
) -> None:
    found = problems(small.replace(where, f"{where}, username: u, {secret}"))
    assert "hunter2" not in "".join(found)
    assert "badcafe" not in "".join(found)
    if "{" in secret or secret in {"password: hunter2", "password: [hunter2]"}:
        assert any("A secret never stands in the file: write {credential: NAME}" in line for line in found), found


def test_what_is_merely_named_like_a_secret_is_told_its_own_mistake(problems: Problems, small: str) -> None:
    found = problems(small.replace("  hx:\n", "  password:\n").replace("period_s: 10", "period_s: 0"))
    assert found[0].startswith(":10: assets.password.tags.t.period_s: expected greater than 0"), found


def test_a_password_without_encryption_or_without_a_user_is_refused(problems: Problems, small: str) -> None:
    found = problems(small.replace('"urn:p"', '"urn:p", username: u, password: {env: P}'))
    assert any("expected where the secret lies" not in line and "sent unencrypted" in line for line in found), found
    found = problems(small.replace("client_id: c", "client_id: c, password: {env: P}"))
    assert any("expected a username with the password" in line for line in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ": expected settings, found an empty file"),
        ("# nothing\n", ": expected settings, found an empty file"),
        ("- 1\n", ":1: expected settings (key: value), found a list"),
        ("demo\n", ":1: expected settings (key: value), found a single value"),
        ("site: [\n", ":1: expected YAML (the node content), found '<stream end>'"),
        ("site: a\n  b: c\n", ":2: expected YAML, found mapping values are not allowed here"),
        ("site: a\n---\nsite: b\n", ":2: expected YAML, found another document"),
        ("\tsite: a\n", ":1: expected YAML, found character '\\t' that cannot start any token"),
        ("site: !!python/object:os.system x\n", ":1: site: expected a plain value, found a YAML tag (!)"),
        ("sources: !!set {a}\n", ":1: sources: expected a plain value, found a YAML tag (!)"),
        ("a: &a {b: 1}\nc: {<<: *a}\n", ":2: c: expected a plain key, found a merge (<<)"),
        ("a: &a [*a]\n", "aliases unfold"),
        (b"a: 1\nsite: \xff\xfe\n", ":2: expected UTF-8, found another encoding"),
        ("site: a\nb: \x07\n", ":2: expected text, found the control character 0x07"),
        (BOMB, "aliases unfold"),
        ("[" * 500_000, ":1: expected fewer values, found more than 250000, or more than 40 inside each other"),
        ("x" * (4 * 2**20 + 1), ": expected at most 4 MiB"),
    ],
    ids=["empty", "comment", "list", "word", "torn", "indented", "two documents", "tab", "python object", "set", "merge",
         "circle", "not utf-8", "bell", "alias bomb", "deep", "large"],
)  # fmt: skip
def test_what_is_no_configuration_is_refused(problems: Problems, text: str | bytes, expected: str) -> None:
    found = problems(text)[0]
    assert found.startswith(expected) if expected.startswith(":") else expected in found, found


def test_a_file_with_more_values_than_a_plant_has_is_refused(
    problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.position.MAX_NODES", 5000)
    assert "expected fewer values" in problems("- 1\n" * 6000)[0]


def test_a_section_may_be_used_again_by_an_alias(read: Read, small: str) -> None:
    text = small.replace("      t:", "      t: &t").replace("sinks:", "      u: *t\nsinks:")
    tags = read(text).settings.tags()
    assert tags["hx/t"] == tags["hx/u"]


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path, small: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + small.encode())
    assert load(path).settings.site == "demo"


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"expected a configuration file, found nothing there\. config/heat_exchanger"
    ):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"expected a configuration file, found a folder\. Name the file"):
        load(tmp_path)
    (tmp_path / "f").write_text("x")
    with pytest.raises(ConfigError, match="expected a file that can be read, found Not a directory"):
        load(tmp_path / "f" / "c.yaml")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="expected a configuration file, found a device or a pipe"):
        load(tmp_path / "pipe")


def test_a_file_whose_reading_fails_is_said() -> None:
    # A regular file to look at, and nobody may read it from its beginning.
    with pytest.raises(ConfigError, match="expected a file that can be read, found Input/output error"):
        load(Path("/proc/self/mem"))


anything = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@anything
@given(text=st.text(st.sampled_from("ab:-[]{}#&*!|>?<'\"\n 01e.,%@~=_xo\\\t\x00½"), max_size=60))
def test_no_text_raises_anything_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(ConfigError):
        load(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@anything
@given(data=st.data())
def test_a_valid_file_with_one_foreign_value_is_accepted_or_told_where(
    tmp_path: Path, sample: Path, data: st.DataObject
) -> None:
    """Whatever stands at whatever place: no error but ConfigError, and its line is the place or one around it."""
    content = yaml.safe_load(sample.read_text(encoding="utf-8"))
    place, keys = content, []
    while isinstance(place, dict) and place and (not keys or data.draw(st.integers(0, 3))):
        holder, key = place, data.draw(st.sampled_from(sorted(place)))
        place = place[key]
        keys.append(key)
    if data.draw(st.booleans()):
        holder[key] = data.draw(VALUES)
    else:
        holder[data.draw(st.text(max_size=5))] = holder.pop(key)
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").split("\n")
    try:
        load(path)
    except ConfigError as error:
        for problem in error.problems:
            assert problem.line is not None
            assert 1 <= problem.line <= len(lines)
            assert problem.expected


@anything
@given(
    line=st.integers(0, 10_000), junk=st.sampled_from(["x", "- 1", "k: v", "  k: [", '"', "é: ½", "? a", "}", "| 3"])
)
def test_a_broken_line_gives_a_line_inside_the_file(tmp_path: Path, small: str, line: int, junk: str) -> None:
    lines = small.splitlines()
    line %= len(lines)
    lines[line] = " " * (len(lines[line]) - len(lines[line].lstrip())) + junk
    path = tmp_path / "c.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    for problem in caught.value.problems:
        assert problem.line is not None
        assert 1 <= problem.line <= len(lines)

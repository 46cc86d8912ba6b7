"""`givre check`: what it finds, what it costs, and that it never starts or writes anything."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from stream.check import Report, _probe, check
from stream.model.folder import check_sha256, examine_folder

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE = Path(__file__).parents[3] / "config" / "heat_exchanger.yaml"
HEAVY = {"torch", "transformers", "safetensors", "asyncua", "paho", "influxdb_client", "cryptography", "numpy"}
TEXT = """\
site: demo
state_folder: state
sources:
  plc: {type: opcua, endpoint: "opc.tcp://127.0.0.1:1/plant", namespace: "urn:plant"}
assets:
  hx:
    tags:
      a:
        unit: degC
        period_s: 10
        hold_s: 60
        source: {name: plc, node: s=x/a}
        tolerance: {setpoint: 5, tolerance: 0.2, deadband: 0.1}
sinks:
  store: {type: influxdb, version: 1, url: "http://127.0.0.1:1", bucket: givre}
"""
CONFIG = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_size": 16,
    "max_position_embeddings": 2048,
    "torch_dtype": "float32",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes the text with replacements as a configuration file."""

    def write(*replacements: tuple[str, str]) -> Path:
        text = TEXT
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "c.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that has all a model has, and nothing to compute with."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    return folder


def page(report: Report) -> str:
    out = io.StringIO()
    report.print(Console(file=out, width=80))
    return out.getvalue()


def givre(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_the_sample_is_checked_within_two_seconds_and_without_heavy_libraries(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from stream.check import check\n"
        "report = check(Path(sys.argv[1]), connect=False); assert report.ok, report\n"
        "print(*sys.modules)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, str(SAMPLE)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    loaded = set(done.stdout.split())
    assert "config.load" in loaded
    assert loaded & HEAVY == set()
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0
    assert list(tmp_path.iterdir()) == []


def test_a_sound_file_is_ok_in_one_short_page(write: Callable[..., Path], tmp_path: Path) -> None:
    report = check(write(), connect=False)
    assert (report.problems, report.warnings, report.exit_code) == ([], [], 0)
    assert page(report).splitlines() == [
        "    note  site demo: 1 tag, 1 asset, 1 source, 1 sink",
        "    note  forecasts of 12 steps: persistence, seasonal, smoothing, harmonic, autoregression; no language model",
        f"{tmp_path / 'c.yaml'}: ok",
    ]
    assert not (tmp_path / "state").exists()


def test_the_command_says_the_same_for_people_and_for_programs(write: Callable[..., Path]) -> None:
    path = write(("tolerance: 0.2", "tolerance: 0.0"))
    said = givre("check", str(path))
    wanted = f"{path}:13: assets.hx.tags.a.tolerance.tolerance: expected greater than 0, found 0.0"
    assert (said.returncode, said.stdout) == (1, f" problem  {wanted}\n{path}: 1 problem\n")
    answer = givre("check", str(path), "--json")
    assert answer.returncode == 1
    assert json.loads(answer.stdout) == {
        "ok": False, "file": str(path), "connected": False, "problems": [wanted], "warnings": [], "notes": [],
    }  # fmt: skip
    assert givre("check").returncode == 2


def test_a_warning_names_its_line_and_does_not_fail(write: Callable[..., Path]) -> None:
    path = write((", deadband: 0.1", ""))
    report = check(path, connect=False)
    assert report.exit_code == 0
    (warning,) = report.warnings
    assert warning == (
        f"{path}:13: assets.hx.tags.a.tolerance: neither deadband nor off_delay_s: a value on the limit raises and "
        "clears with each report"
    )
    assert page(report).endswith(f"{path}: ok, 1 warning\n")


def test_each_secret_that_cannot_be_had_is_named(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    login = "bucket: givre, username: u, password: {credential: store}"
    more = "  alerts: {type: mqtt, host: localhost, client_id: c, username: u, password: {env: GIVRE_NONE}}\n"
    more += '  other: {type: influxdb, url: "http://localhost", bucket: b, token: {file: none}}\n'
    path = write(("bucket: givre", login), ("sinks:\n", f"sinks:\n{more}"))
    report = check(path, connect=True)
    assert [line.split(", found")[0] for line in report.problems] == [
        f"{path}:15: sinks.alerts.password: expected the environment variable GIVRE_NONE",
        f"{path}:16: sinks.other.token: expected a secret in {path.parent}/none",
        f"{path}:17: sinks.store.password: expected the systemd credential store",
    ]
    assert not report.connected
    assert "no endpoint was tried: secrets and certificates come first" in report.notes


def test_each_certificate_that_is_not_there_is_named(write: Callable[..., Path], tmp_path: Path) -> None:
    security = "security: {certificate: pki/a.der, private_key: pki/a.pem, trust: pki/trusted}"
    tls = "  alerts: {type: mqtt, host: localhost, port: 8883, client_id: c, tls: {ca: pki/ca.pem}}\n"
    path = write(('namespace: "urn:plant"', f'namespace: "urn:plant", {security}'), ("sinks:\n", f"sinks:\n{tls}"))
    found = check(path, connect=False).problems
    pki = tmp_path / "pki"
    nothing = "found No such file or directory"
    assert found == [
        f"{path}:4: sources.plc.security.certificate: expected a file at {pki}/a.der, {nothing}",
        f"{path}:4: sources.plc.security.private_key: expected a file at {pki}/a.pem, {nothing}",
        f"{path}:4: sources.plc.security.trust: expected a folder of certificates at {pki}/trusted, {nothing}",
        f"{path}:15: sinks.alerts.tls.ca: expected a file at {pki}/ca.pem, {nothing}",
    ]
    (pki / "trusted").mkdir(parents=True)
    for name in ("a.der", "a.pem", "ca.pem"):
        (pki / name).touch(mode=0o644)
    report = check(path, connect=False)
    assert report.problems == []
    nobody = "none in it: every server is refused. Trust it: givre trust CONFIG"
    assert sorted(line.rpartition(", found ")[2] for line in report.warnings) == ["mode 0644", nobody]
    (pki / "trusted" / "server.der").touch()
    (pki / "a.pem").chmod(0o600)
    report = check(path, connect=False)
    assert report.problems + report.warnings == []
    (pki / "ca.pem").unlink()
    (pki / "ca.pem").mkdir()
    (pki / "trusted" / "server.der").unlink()
    (pki / "trusted").rmdir()
    (pki / "trusted").touch()
    assert [line.rpartition(", found ")[2] for line in check(path, connect=False).problems] == [
        "Not a directory",
        "no file",
    ]


def test_a_state_folder_that_cannot_be_made_is_named(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    (found,) = check(write(), connect=False).problems
    assert found.endswith(f"expected one that can be written, found {tmp_path}/state, which is no folder")
    if os.geteuid() != 0:  # root may write everywhere
        (found,) = check(write(("state_folder: state", "state_folder: /usr/x/y")), connect=False).problems
        assert found.endswith("found /usr, which cannot be written")


def test_a_journal_larger_than_the_disk_is_doubted(write: Callable[..., Path]) -> None:
    report = check(write(("sinks:\n", "journal: {max_size_mb: 1000000}\nsinks:\n")), connect=False)
    assert report.ok
    assert "the journal may grow to 1000000 MiB" in report.warnings[0]


def of_model(write: Callable[..., Path], settings: str, *, connect: bool = False) -> Report:
    # Without sinks, and with a source that no tag follows, there is nothing to connect to.
    return check(write(("state_folder: state\n", f"state_folder: state\nmodel: {settings}\n")), connect=connect)


def test_a_whole_model_is_planned(write: Callable[..., Path], model: Path) -> None:
    report = of_model(write, f"{{path: {model}, sha256: '{'0' * 64}'}}")
    assert report.ok
    assert any(f"model: {model.name}, memory at most (in float32)" in note for note in report.notes)
    assert "model: its checksum is computed with --connect, and at every start" in report.notes


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda m: (m / "config.json").unlink(), "with config.json, found no config.json in it"),
        (lambda m: (m / "config.json").write_text("[]"), "expected a JSON object in config.json"),
        (lambda m: (m / "tokenizer.json").unlink(), "expected a tokenizer (tokenizer.json, tokenizer.model"),
        (lambda m: (m / "model.safetensors").rename(m / "model.bin"), "Pickled weights (.bin, .pt) are never loaded"),
        (lambda m: (m / "model.safetensors").write_bytes(b""), "expected a safetensors file, found another one"),
        (lambda m: (m / "model.safetensors").write_bytes(b"\xff" * 99), "expected a safetensors file, found another one"),
        (lambda m: (m / "model.safetensors").write_bytes(b"\2" + bytes(7) + b"[]"), "found a header that is none"),
        (lambda m: (m / "model.safetensors").write_bytes(b"\2" + bytes(7) + b"{}"), "found a header that is none"),
        (lambda m: os.truncate(m / "model.safetensors", 98), "as its header says, found 98"),
        (lambda m: (m / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    ],
    ids=["no config", "odd config", "no tokenizer", "pickled", "empty", "noise", "list", "no tensors", "torn", "pointer"],
)  # fmt: skip
def test_a_damaged_model_is_named_at_its_line(
    write: Callable[..., Path], model: Path, damage: Callable[[Path], object], expected: str
) -> None:
    examine_folder(model)
    damage(model)
    (found,) = of_model(write, f"{{path: {model}}}").problems
    assert ":3: model.path: " in found
    assert expected in found


def test_what_is_no_model_is_named(write: Callable[..., Path], tmp_path: Path) -> None:
    (found,) = of_model(write, "{path: nowhere}").problems
    assert "expected a folder in Hugging Face layout, found nothing there" in found
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    (found,) = of_model(write, "{path: m.gguf}").problems
    assert "expected a folder in Hugging Face layout or a GGUF file, found a file that is no GGUF" in found
    (tmp_path / "m.gguf").write_bytes(b"GGUF\3\0\0\0")
    assert "model: m.gguf, a GGUF file" in of_model(write, "{path: m.gguf}").notes


def test_a_context_that_the_model_cannot_hold_is_named(write: Callable[..., Path], model: Path) -> None:
    (found,) = of_model(write, f"{{path: {model}, context: 1024}}").problems
    assert ":3: model.context: " in found
    assert "Set `context` to" in found


def test_a_default_model_that_is_not_there_yet_is_no_problem(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIVRE_CACHE", str(tmp_path / "cache"))
    report = of_model(write, "{}")
    assert report.ok
    assert any("is fetched at the first start" in note for note in report.notes)


def test_the_checksum_is_computed_with_connect(write: Callable[..., Path], model: Path) -> None:
    right = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    check_sha256(model, right)
    report = of_model(write, f"{{path: {model}, sha256: '{'0' * 64}'}}", connect=True)
    (found,) = [line for line in report.problems if "model" in line]
    assert f":3: model.sha256: weights {model}/model.safetensors: expected sha256 {'0' * 64}, found {right}" in found
    report = of_model(write, f"{{path: {model}, sha256: '{right}'}}", connect=True)
    assert not any("model" in line for line in report.problems)


async def test_an_endpoint_that_breaks_its_library_is_a_problem_of_its_own() -> None:
    class Broken:
        name = "broken"

        async def probe(self) -> list[str]:
            raise RuntimeError("a bug of somebody")

    assert await _probe(Broken()) == ["RuntimeError: a bug of somebody"]


async def test_each_tag_that_cannot_be_had_is_named(write: Callable[..., Path], ua_server, require) -> None:
    ua_server.start("--node=x/a")
    other = "      b: {unit: K, period_s: 10, hold_s: 60, source: {name: plc, node: s=x/none}}\n"
    path = write(("opc.tcp://127.0.0.1:1/plant", ua_server.endpoint), ("sinks:\n", f"{other}sinks:\n"))
    done = givre("check", "--connect", str(path))
    problems = [line for line in done.stdout.splitlines() if line.startswith(" problem")]
    assert done.returncode == 1
    assert len(problems) == 2
    assert "source plc: tag hx/b: node 's=x/none'" in problems[0]
    assert "BadNodeIdUnknown" in problems[0]
    assert "sink store: " in problems[1]
    assert done.stderr == ""


def test_all_endpoints_there_is_ok_and_a_wrong_database_is_not(write: Callable[..., Path], mosquitto, influxd) -> None:
    broker = f"  plc: {{type: mqtt, host: 127.0.0.1, port: {mosquitto.port}, client_id: in}}"
    plc = '  plc: {type: opcua, endpoint: "opc.tcp://127.0.0.1:1/plant", namespace: "urn:plant"}'
    there = [(plc, broker), ("node: s=x/a", "topic: x/a"), ("http://127.0.0.1:1", influxd.url)]
    report = check(write(*there), connect=True)
    assert (report.problems, report.connected) == ([], True)
    (found,) = check(write(*there, ("bucket: givre", "bucket: none")), connect=True).problems
    assert found.startswith("sink store: ")
    assert "none" in found


def test_a_forecaster_whose_package_is_not_installed_is_named_with_its_extra(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.extra.find_spec", lambda name: None if name == "statsforecast" else object())
    path = write()
    path.write_text(path.read_text() + "panel: {members: [persistence, arima]}\n")
    report = check(path, connect=False)
    (problem,) = report.problems
    assert (
        "panel.members.1: expected a forecaster that is installed (pip install 'givre[panel]'), found arima" in problem
    )

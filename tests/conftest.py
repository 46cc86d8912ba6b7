"""Fixtures that more than one folder of tests needs: free ports, and real servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import importlib.util
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

# As `givre` has it, before numpy is imported: the products of fits are many and small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis

# How long an example takes says more of the machine than of the code. What CI tries is the same each time.
hypothesis.settings.register_profile("givre", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("givre")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from detectors.records import Sample, Status
    from stream.sources.source import Rejection

INSTALL = {
    "mosquitto": "apt-get install mosquitto",
    "mosquitto_pub": "apt-get install mosquitto-clients",
    "influxd": "apt-get install influxdb",
    "influx": "apt-get install influxdb-client",
    "victoria-metrics": "apt-get install victoria-metrics",
    "systemd-analyze": "apt-get install systemd",
    "npm": "apt-get install nodejs npm",
}
NODE_OPCUA = "node-opcua-server@2.182.2"
NODE = f"node-linux-{'arm64' if platform.machine() == 'aarch64' else 'x64'}"
"""The node of the distribution may be older than node-opcua asks for: it is fetched beside it."""


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """Call it with a server program's name to get its path; see `_require`."""
    return _require


def _require(program: str) -> str:
    """Path of a server program; without it the test is skipped by name, or fails where GIVRE_REQUIRE_SERVERS=1."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is not None:
        return found
    reason = f"{program} is not installed: {INSTALL.get(program, program)}"
    if os.environ.get("GIVRE_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node_opcua(require: Callable[[str], str]) -> Callable[..., list[str]]:
    """Call it with the name of a script in tests/servers, and its arguments, for a command line with node-opcua at hand.

    The packages are fetched once, and kept in the cache folder.
    """
    from stream.model.weights import cache_folder

    npm = require("npm")
    folder = cache_folder() / NODE_OPCUA.replace("@", "-")
    if not (folder / "node_modules" / NODE).exists():
        # Beside its place, and then there at once: several test processes may want it.
        with tempfile.TemporaryDirectory(dir=_made(cache_folder())) as beside:
            quiet = ("--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--silent")
            subprocess.run(
                [npm, "install", "--prefix", beside, *quiet, NODE_OPCUA, f"{NODE}@22.23.3"], check=True, timeout=300
            )
            with contextlib.suppress(OSError):
                Path(beside, "node_modules").rename(_made(folder) / "node_modules")
    servers = Path(__file__).parent / "servers"
    path, node = f"NODE_PATH={folder / 'node_modules'}", folder / "node_modules" / NODE / "bin/node"
    return lambda script, *arguments: ["env", path, str(node), str(servers / script), *arguments]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Call it for so many different TCP ports on loopback that nobody listens on."""

    def find(count: int) -> list[int]:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        return ports

    return find


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def mosquitto(require: Callable[[str], str], tmp_path: Path, free_port: int) -> Iterator[Mosquitto]:
    """A real broker on loopback, already up; see `Mosquitto`."""
    broker = Mosquitto(require("mosquitto"), tmp_path / "mosquitto", free_port)
    broker.start()
    yield broker
    broker.kill()


def send_signal(process: subprocess.Popen, number: int) -> None:
    """Sends it; a process that is to stop has stopped when this returns, all its threads: on a busy machine some run on."""
    process.send_signal(number)
    if number != signal.SIGSTOP:
        return
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        states = [
            path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{process.pid}/task").glob("*/stat")
        ]
        if set(states) <= {"T", "t", "Z"}:
            return
        time.sleep(0.005)


class Mosquitto:
    """A mosquitto of the test's own that it may stop, kill, freeze and start again, with other settings if it likes."""

    host = "127.0.0.1"

    def __init__(self, program: str, folder: Path, port: int) -> None:
        self.port = port
        self.folder = folder
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: Sequence[str] = ("allow_anonymous true",)
        self.log = folder / "log"
        folder.mkdir()

    def start(self, *settings: str) -> None:
        """Starts it, with the settings of last time if none are given, and returns when it listens."""
        self._settings = settings or self._settings
        lines = (
            f"user {getpass.getuser()}",  # it would become `mosquitto`, who may not look into our folder
            "persistence true",
            f"persistence_location {self.folder}/",
            "max_queued_messages 100000",
            f"log_dest file {self.log}",
            f"listener {self.port} {self.host}",
            *self._settings,
        )
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen([self._program, "-c", str(config)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while True:
            with socket.socket() as s:
                if s.connect_ex((self.host, self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"mosquitto does not start: {self.log.read_text() if self.log.exists() else 'no log'}")
            time.sleep(0.02)

    def send(self, number: int) -> None:
        """Sends it a signal: SIGSTOP and SIGCONT freeze and thaw it."""
        assert self._process is not None
        send_signal(self._process, number)

    def stop(self) -> None:
        """Ends it in good order: what it holds is written to its folder."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """Ends it as a power cut would: what it has not written yet is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture
def ua_server(free_port: int) -> Iterator[UaServer]:
    """A real OPC UA server on loopback, not started yet; see `UaServer`."""
    server = UaServer(free_port)
    yield server
    server.kill()


class UaServer:
    """An asyncua server in a process of its own (`tests/servers/opcua_server.py`): started, told, frozen and killed by a test."""

    namespace = "urn:plant"

    def __init__(self, port: int) -> None:
        self.port = port
        self.endpoint = f"opc.tcp://127.0.0.1:{port}/plant"
        self._process: subprocess.Popen[str] | None = None
        self._options: Sequence[str] = ("--node=x/a", "--node=x/b")

    def start(self, *options: str) -> None:
        """Starts it, with the options of last time if none are given, and returns when it listens."""
        self._options = options or self._options
        program = Path(__file__).parent / "servers/opcua_server.py"
        command = [sys.executable, str(program), f"--port={self.port}", *self._options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            pytest.fail("the OPC UA server does not start")

    def tell(self, **order: object) -> dict[str, object]:
        """Has it do one thing, and returns its answer when it is done."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer.pop("ok"), answer
        return dict(answer)

    def send(self, number: int) -> None:
        """Sends it a signal: SIGSTOP and SIGCONT freeze and thaw it."""
        assert self._process is not None
        send_signal(self._process, number)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="session")
def new_influxd(require: Callable[[str], str]) -> Callable[[Path], Influxd]:
    """Call it with a new folder to get a real InfluxDB 1 that keeps its data there, not started yet; see `Influxd`."""
    return lambda folder: Influxd(require("influxd"), folder)


@pytest.fixture
def influxd(new_influxd: Callable[[Path], Influxd], tmp_path: Path) -> Iterator[Influxd]:
    """A real InfluxDB 1 on loopback, already up, with an empty database `givre`; see `Influxd`."""
    server = new_influxd(tmp_path / "influxd")
    server.start()
    server.ask("CREATE DATABASE givre")
    yield server
    server.kill()


@pytest.fixture
def v2_shim(influxd: Influxd, free_port: int) -> Iterator[Any]:
    """The write API of InfluxDB 2 before that server, already up; see `tests/servers/v2_shim.py`."""
    path = Path(__file__).parent / "servers" / "v2_shim.py"
    spec = importlib.util.spec_from_file_location("v2_shim", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shim = module.V2Shim(influxd.url, port=free_port)
    shim.start()
    yield shim
    shim.stop()


class Influxd:
    """An InfluxDB 1 of the test's own that it may stop, kill, freeze and start again; what it stored stays."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        own, http = (s.getsockname()[1] for s in sockets)
        for s in sockets:
            s.close()
        self.url = f"http://127.0.0.1:{http}"
        self._settings = (
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{own}"\n'
            f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
            f"[monitor]\nstore-enabled = false\n"
            f'[http]\nbind-address = "127.0.0.1:{http}"\nlog-enabled = false\nauth-enabled = '
        )
        folder.mkdir()

    def start(self, *, logins: bool = False, certificate: Path | None = None) -> None:
        """Starts it, over TLS if there is a certificate (with its key in one file), and returns when it answers."""
        config = self._folder / "influxdb.conf"
        tls = f'https-enabled = true\nhttps-certificate = "{certificate}"\n' if certificate else ""
        config.write_text(f"{self._settings}{str(logins).lower()}\n{tls}")
        port = int(self.url.rpartition(":")[2])
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, "-config", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                if certificate:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                else:
                    urllib.request.urlopen(f"{self.url}/ping", timeout=1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"influxd does not start: {(self._folder / 'log').read_text()[-2000:]}")
                time.sleep(0.05)
            else:
                return

    def ask(self, text: str, **login: str) -> list[dict[str, Any]]:
        """The rows that answer, each with its labels, times in Unix microseconds; a refused statement fails the test."""
        data = urllib.parse.urlencode({"db": "givre", "q": text, "epoch": "u"}).encode()
        try:
            with urllib.request.urlopen(
                f"{self.url}/query?{urllib.parse.urlencode(login)}", data, timeout=10
            ) as answer:
                results = json.load(answer)["results"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{error.code}: {error.read().decode()}\n{text}")
        assert not [result for result in results if "error" in result], results
        return [
            {
                "measurement": series.get("name"),
                **series.get("tags", {}),
                **dict(zip(series["columns"], row, strict=True)),
            }
            for result in results
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def send(self, number: int) -> None:
        """Sends it a signal: SIGSTOP and SIGCONT freeze and thaw it."""
        assert self._process is not None
        send_signal(self._process, number)

    def stop(self) -> None:
        """Ends it in good order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """Ends it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None


@pytest.fixture
def intake() -> RecordingIntake:
    """An intake that keeps all it is given; see `RecordingIntake`."""
    return RecordingIntake()


class RecordingIntake:
    """Keeps samples, rejections and statuses, and tells sources at once that all is on disk, or only when `withhold` ends."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.rejections: list[Rejection] = []
        self.statuses: list[Status] = []
        self.withhold = False
        self.unaccepted: list[Callable[[], None]] = []
        self.memory: dict[str, str] = {}
        self.dropped: Counter[tuple[str, str]] = Counter()

    async def deliver(
        self,
        samples: Sequence[Sample],
        accepted: Callable[[], None] | None = None,
        *,
        memory: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.samples += samples
        self.memory |= memory
        if accepted is not None and self.withhold:
            self.unaccepted.append(accepted)
        elif accepted is not None:
            accepted()

    def reject(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)

    def drop(self, source: str, why: str, count: int) -> None:
        self.dropped[source, why] += count

    def report(self, status: Status) -> None:
        self.statuses.append(status)

    @property
    def values(self) -> list[float | None]:
        """What came, in the order it came."""
        return [sample.value for sample in self.samples]

    async def until(self, condition: Callable[[], object], limit_s: float = 10.0) -> None:
        """Waits for a condition, and fails with what came so far where it does not come true."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(
                    f"waited {limit_s:g} s in vain: {len(self.samples)} samples, {self.rejections} {self.statuses}"
                )
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def default_model() -> Path:
    """Folder of the default model: the one in the cache folder, fetched if it is not there yet."""
    from stream.model.weights import default_model

    return default_model()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Call it with a kind of tokenizer to get the folder of a small random Llama; see `_tiny_model`."""
    made: dict[str, Path] = {}

    def make(tokens: str = "splits", **config: object) -> Path:
        key = f"{tokens}-{sorted(config.items())}"
        if key not in made:
            made[key] = _tiny_model(tmp_path_factory.mktemp(f"model-{tokens}"), tokens, config)
        return made[key]

    return make


def _tiny_model(folder: Path, tokens: str, config: dict[str, object]) -> Path:
    """A random Llama of two layers with sharp opinions, and a tokenizer that *splits* digits, *merges* pairs of them, has
    three-digit *groups*, writes digits only with a *space* before them, or has *none*; one *speaks* all printable characters.
    """
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    digits, others = list("0123456789"), ["<s>", ",", " ", "a", "b", "c"]
    pairs = [(a, b) for a in digits for b in digits]
    pieces = {
        "splits": [*others, *digits],
        "merges": [*others, *digits, *(a + b for a, b in pairs)],
        "groups": [*others, *digits, *(f"{i:03d}" for i in range(1000))],
        "spaced": [*others, *(f"\u2581{c}" for c in (*digits, ","))],
        "none": others,
        "speaks": ["<s>", "\n", *map(chr, range(32, 127))],
    }[tokens]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    if tokens == "speaks":
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    elif tokens == "groups":
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d{3}|."), "isolated")
    else:
        tokenizer = Tokenizer(models.BPE(vocabulary, pairs if tokens == "merges" else [], unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(5)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 2048}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.4}
    shape = LlamaConfig(vocab_size=len(pieces), **{**sizes, **heads, **config})
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder

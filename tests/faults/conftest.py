"""What tests of faults need: a network that fails, certificates, and a machine of its own for the service.

That machine is this one's systemd in private namespaces, over a throw-away copy of /.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asyncua.crypto.cert_gen import (
    dump_private_key_as_pem,
    generate_private_key,
    generate_self_signed_app_certificate,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

REPOSITORY = Path(__file__).parents[2]
NAMESPACES = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net")
SCRIPT = REPOSITORY / "tests/servers/nested_systemd.sh"


class Nest:
    """A booted system; `run` runs a command inside it."""

    def __init__(self, pid: str) -> None:
        self._pid = pid

    def run(self, command: str, limit_s: float = 20) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "--target", self._pid, "--all", "sh", "-c", command]
        # The commands of that machine: an environment of the tests' own has some of the same names.
        env = {**os.environ, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return subprocess.run(enter, capture_output=True, text=True, check=False, timeout=limit_s, env=env)

    def show(self, name: str) -> str:
        """One property of the service."""
        return self.run(f"systemctl show --value --property={name} givre").stdout.strip()

    def wait(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                journal = self.run("journalctl --unit=givre --no-pager | tail -40").stdout
                pytest.fail(f"not within {limit_s} s: {what}\n{self.run('systemctl status givre').stdout}\n{journal}")
            time.sleep(0.05)

    def started(self) -> str:
        """The service runs; its main process."""
        self.wait(lambda: self.show("ActiveState") == "active", 15, "the service is active")
        return self.show("MainPID")


@pytest.fixture(scope="session")
def nested_systemd(require: Callable[[str], str]) -> Callable[[Path], AbstractContextManager[Nest]]:
    """Call it with a folder whose content is laid over / to get a booted `Nest` for a `with`.

    Inside, this checkout lies at /opt/repository, the interpreter at /opt/python and its packages at /opt/venv: where they
    lie outside, under /root or /home perhaps, the unit would not let a service see them.
    """
    require("systemd-analyze")
    probe = subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        reason = f"the namespaces that a unit is started in need root, and more rights than most containers have: {probe.stderr}"
        if os.environ.get("GIVRE_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return _boot


@contextmanager
def _boot(folder: Path) -> Iterator[Nest]:
    mounts = [f"{sys.base_prefix}:/opt/python", f"{sys.prefix}:/opt/venv", f"{REPOSITORY}:/opt/repository"]
    with subprocess.Popen(
        [str(SCRIPT), str(folder), *mounts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        word, _, pid = process.stdout.readline().strip().partition(" ")
        try:
            assert word == "ready", process.stderr.read()
            yield Nest(pid)
        finally:
            process.stdin.close()
            process.wait(timeout=20)


class Relay:
    """A TCP relay to a port of loopback that can swallow all it is given, or what goes there alone, and reset its connections."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.hole = False
        self.mute = False
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def reset(self) -> None:
        """Cuts all connections with a reset, as a router that was restarted does."""
        for writer in self._writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        self._writers.clear()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.hole:
            await asyncio.sleep(0.02)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pipe(reader, far_writer, there=True), self._pipe(far_reader, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, there: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if there and self.mute:
                    continue
                while self.hole:
                    await asyncio.sleep(0.02)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)


@pytest.fixture
async def relay(free_port: int) -> AsyncIterator[Relay]:
    """A relay to the test's own server at `free_port`; see `Relay`."""
    made = Relay(free_port)
    async with await made.serve():
        yield made
        made.hole = False
        made.reset()


class Identity:
    """A self-signed OPC UA application certificate and its key, as files."""

    def __init__(self, folder: Path, name: str, *, days: float = 1, uri: str = "") -> None:
        self.uri = uri or f"urn:test:{name}"
        self.certificate, self.key = folder / f"{name}.der", folder / f"{name}.pem"
        key = generate_private_key()
        names = [x509.UniformResourceIdentifier(self.uri), x509.DNSName("localhost")]
        use = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        certificate = generate_self_signed_app_certificate(key, name, {"organizationName": "test"}, names, use, days)
        self.thumbprint = certificate.fingerprint(hashes.SHA1()).hex().upper()
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
        self.key.write_bytes(dump_private_key_as_pem(key))


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    """Certificates by name: `server`, `client`, a `stranger`, an `expired` one, and an `alien` with another's URI."""
    folder = tmp_path_factory.mktemp("pki")
    made = {name: Identity(folder, name) for name in ("server", "client", "stranger")}
    made["expired"] = Identity(folder, "expired", days=1e-6)
    made["alien"] = Identity(folder, "alien", uri="urn:elsewhere")
    return made

"""One connection to a real broker: opened, refused, lost, and closed."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import signal
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stream.backoff import Backoff
from stream.mqtt.address import Address, Tls
from stream.mqtt.broker import BrokerError, Connection
from stream.mqtt.message import Message, Will

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


def address(mosquitto, **changes) -> Address:
    settings = {"host": mosquitto.host, "port": mosquitto.port, "protocol": "5", "client_id": "c", "keepalive_s": 30}
    return Address(**settings | changes)


async def refusal(where: Address) -> str:
    with pytest.raises(BrokerError) as caught:
        await Connection.open(where)
    return str(caught.value)


async def lost(connection: Connection, limit_s: float = 5.0) -> str:
    async with asyncio.timeout(limit_s):
        return await asyncio.shield(connection.lost)


async def arrived(inbox: list[Message], count: int, limit_s: float = 5.0) -> list[Message]:
    async with asyncio.timeout(limit_s):
        while len(inbox) < count:
            await asyncio.sleep(0.01)
    return inbox


# -- messages


@PROTOCOLS
async def test_messages_arrive_in_order_and_the_sender_learns_that_they_are_taken(mosquitto, protocol):
    inbox: list[Message] = []
    receiver = await Connection.open(address(mosquitto, protocol=protocol), on_message=inbox.append)
    assert await receiver.subscribe(["a/+"]) == {}
    sender = await Connection.open(address(mosquitto, protocol=protocol, client_id="sender"))
    await asyncio.gather(*(sender.publish(f"a/{i}", str(i).encode(), retain=False) for i in range(300)))
    # 300 go beyond what the broker sends without acknowledgement at MQTT 3.1.1, so acknowledge as they come.
    done = 0
    while done < 300:
        await arrived(inbox, done + 1)
        receiver.acknowledge(m.mid for m in inbox[done:])
        done = len(inbox)
    assert [m.payload for m in inbox] == [str(i).encode() for i in range(300)]
    assert len({m.mid for m in inbox[:20]} - {0}) == 20
    await receiver.close()
    await sender.close()


async def test_what_is_larger_than_one_read_arrives_whole(mosquitto):
    inbox: list[Message] = []
    connection = await Connection.open(address(mosquitto), on_message=inbox.append)
    await connection.subscribe(["big"])
    body = bytes(range(256)) * 2000
    await connection.publish("big", body, retain=False)
    assert (await arrived(inbox, 1))[0].payload == body
    await connection.close()


async def test_a_packet_beyond_the_maximum_is_kept_from_us_by_the_broker(mosquitto):
    inbox: list[Message] = []
    connection = await Connection.open(address(mosquitto), on_message=inbox.append)
    await connection.subscribe(["big"])
    sender = await Connection.open(address(mosquitto, client_id="sender"))
    await sender.publish("big", bytes(10_000_000), retain=False)
    await sender.publish("big", b"small", retain=False)
    assert (await arrived(inbox, 1))[0].payload == b"small"
    assert not connection.lost.done()
    await connection.close()
    await sender.close()


@PROTOCOLS
async def test_a_session_keeps_what_is_not_acknowledged(mosquitto, protocol):
    inbox: list[Message] = []
    where = address(mosquitto, protocol=protocol)
    first = await Connection.open(where, session=True, on_message=inbox.append)
    assert not first.session_present
    await first.subscribe(["a"])
    sender = await Connection.open(address(mosquitto, client_id="sender"))
    for body in (b"1", b"2", b"3"):
        await sender.publish("a", body, retain=False)
    await arrived(inbox, 3)
    first.acknowledge([inbox[0].mid])
    await first.close()
    inbox.clear()
    second = await Connection.open(where, session=True, on_message=inbox.append)
    assert second.session_present
    assert [m.payload for m in await arrived(inbox, 2)] == [b"2", b"3"]
    first.acknowledge(m.mid for m in inbox)  # of a connection that is gone: it must not reach the broker
    await second.close()
    inbox.clear()
    third = await Connection.open(where, session=True, on_message=inbox.append)
    assert [m.payload for m in await arrived(inbox, 2)] == [b"2", b"3"]
    await third.close()
    await sender.close()


async def test_a_paused_connection_reads_nothing_and_a_resumed_one_all(mosquitto):
    inbox: list[Message] = []
    connection = await Connection.open(address(mosquitto), on_message=inbox.append)
    await connection.subscribe(["a"])
    connection.pause()
    sender = await Connection.open(address(mosquitto, client_id="sender"))
    await asyncio.gather(*(sender.publish("a", b"x" * 100, retain=False) for _ in range(1000)))
    assert inbox == []
    connection.resume()
    await arrived(inbox, 1000)
    await connection.close()
    await sender.close()


async def test_the_will_is_told_when_we_vanish_and_not_when_we_say_goodbye(mosquitto):
    inbox: list[Message] = []
    watcher = await Connection.open(address(mosquitto, client_id="watcher"), on_message=inbox.append)
    await watcher.subscribe(["will"])
    for leave in ("close", "abandon"):
        connection = await Connection.open(address(mosquitto), will=Will(topic="will", payload=leave.encode()))
        await connection.close() if leave == "close" else connection.abandon("as if the cable were cut")
    assert [m.payload for m in await arrived(inbox, 1)] == [b"abandon"]
    await watcher.close()


# -- refusals and losses


async def test_nobody_listening_is_said(free_port):
    where = Address(host="127.0.0.1", port=free_port, protocol="5", client_id="c", keepalive_s=30)
    assert await refusal(where) == f"broker 127.0.0.1:{free_port}: cannot connect: Connection refused"


async def test_an_unknown_host_is_said():
    where = Address(host="no-such-host.invalid", port=1883, protocol="5", client_id="c", keepalive_s=30)
    assert "broker no-such-host.invalid:1883: the host name cannot be looked up" in await refusal(where)


def test_an_unknown_protocol_is_refused_at_once():
    with pytest.raises(ValueError, match=r'expected "5" or "3.1.1", found \'4\''):
        Address(host="h", port=1, protocol="4", client_id="c", keepalive_s=30)


def test_a_password_is_not_shown():
    shown = repr(
        Address(host="h", port=1, protocol="5", client_id="c", keepalive_s=30, username="u", password="hidden")
    )
    assert "hidden" not in shown


@PROTOCOLS
async def test_a_wrong_password_is_said_without_the_password(mosquitto, protocol, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    mosquitto.stop()
    mosquitto.start("allow_anonymous false", f"password_file {passwords}")
    said = await refusal(address(mosquitto, protocol=protocol, username="plant", password="hidden"))
    assert "refuses user 'plant'" in said
    assert "hidden" not in said
    assert "refuses a client without user name" in await refusal(address(mosquitto, protocol=protocol))


async def test_a_broker_without_mqtt_5_is_said_with_what_to_set():
    """As amqtt does: the protocol level is unknown to it, and it closes the connection."""

    async def older(reader, writer):
        await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(older, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    where = Address(host="127.0.0.1", port=port, protocol="5", client_id="c", keepalive_s=30)
    assert 'set protocol: "3.1.1"' in await refusal(where)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"],
    ids=["as 3.1.1 has it", "as 5 has it"],
)
async def test_a_refusal_of_the_protocol_is_said_with_what_to_set(answer):
    async def older(reader, writer):
        await reader.read(1000)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(older, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    where = Address(host="127.0.0.1", port=port, protocol="5", client_id="c", keepalive_s=30)
    assert 'set protocol: "3.1.1"' in await refusal(where)
    server.close()
    await server.wait_closed()


async def test_what_is_no_broker_at_all_is_said(monkeypatch):
    async def web(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    where = Address(host="127.0.0.1", port=port, protocol="3.1.1", client_id="c", keepalive_s=30)
    assert "took the connection and closed it without an answer. Does the port want TLS?" in await refusal(where)
    server.close()
    await server.wait_closed()


async def test_a_peer_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr("stream.mqtt.broker.OPEN_LIMIT_S", 0.2)
    served = asyncio.Event()

    async def silent(_reader, writer):
        await served.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    said = await refusal(Address(host="127.0.0.1", port=port, protocol="5", client_id="c", keepalive_s=30))
    assert "did not answer within 0.2 s" in said
    assert 'set protocol: "3.1.1"' in said  # as amqtt 0.12 does when it is greeted with MQTT 5
    served.set()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("code", "said"), [(0x8E, "another client connected with our client_id 'c'"), (0x8B, "Server shutting down")]
)
async def test_a_goodbye_of_the_broker_is_said(code, said):
    async def leaving(reader, writer):
        await reader.read(1000)
        writer.write(b"\x20\x03\x00\x00\x00")
        writer.write(bytes([0xE0, 1, code]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(leaving, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = await Connection.open(
        Address(host="127.0.0.1", port=port, protocol="5", client_id="c", keepalive_s=30)
    )
    assert said in await lost(connection)
    server.close()
    await server.wait_closed()


@PROTOCOLS
async def test_a_take_over_is_said(mosquitto, protocol):
    first = await Connection.open(address(mosquitto, protocol=protocol))
    second = await Connection.open(address(mosquitto, protocol=protocol))
    said = await lost(first)
    assert "does another client use client_id 'c'?" in said  # mosquitto 2.0 itself says nothing
    await second.close()


async def test_a_frozen_broker_is_found_out_within_one_and_a_half_keepalives(mosquitto):
    connection = await Connection.open(address(mosquitto, keepalive_s=2))
    mosquitto.send(signal.SIGSTOP)
    begin = time.monotonic()
    try:
        assert "silent for" in await lost(connection, 10)
    finally:
        mosquitto.send(signal.SIGCONT)
    assert time.monotonic() - begin <= 3 + 1.5  # 1.5 x 2 s, and the second between two looks


async def test_an_idle_connection_stays(mosquitto):
    # Two seconds and not one: on a busy machine a second may go by without a turn for the network.
    connection = await Connection.open(address(mosquitto, keepalive_s=2))
    with pytest.raises(TimeoutError):
        await lost(connection, 5)
    await connection.close()


async def test_an_error_of_our_own_ends_the_connection_loudly(mosquitto):
    """The network code must not die unnoticed and leave the service deaf."""

    def broken(_message):
        raise RuntimeError("on purpose")

    connection = await Connection.open(address(mosquitto), on_message=broken)
    await connection.subscribe(["a"])
    connection.publish("a", b"x", retain=False)
    assert "on purpose" in await lost(connection)


async def test_whoever_waits_for_a_confirmation_hears_of_the_loss(mosquitto):
    connection = await Connection.open(address(mosquitto))
    mosquitto.send(signal.SIGSTOP)
    waiting = [connection.publish("a", b"x", retain=False) for _ in range(50)]
    mosquitto.kill()
    await lost(connection)
    assert all(isinstance(done.exception(), BrokerError) for done in waiting)
    assert isinstance(connection.publish("a", b"x", retain=False).exception(), BrokerError)
    with pytest.raises(BrokerError):
        await connection.subscribe(["a"])


@PROTOCOLS
async def test_topics_that_the_broker_forbids_are_named(mosquitto, protocol, tmp_path):
    rules = tmp_path / "acl"
    rules.write_text("topic read plant/#\n")
    mosquitto.stop()
    mosquitto.start("allow_anonymous true", f"acl_file {rules}")
    connection = await Connection.open(address(mosquitto, protocol=protocol))
    refused = await connection.subscribe(["plant/a", "secret/a"])
    # mosquitto takes a forbidden subscription and then delivers nothing, save where it is an outright error.
    assert set(refused) <= {"secret/a"}
    if protocol == "5":
        with pytest.raises(BrokerError, match="Not authorized"):
            await connection.publish("secret/a", b"x", retain=False)
    await connection.close()


async def test_a_cancelled_opening_leaves_nothing_behind(mosquitto):
    mosquitto.send(signal.SIGSTOP)
    opening = asyncio.create_task(Connection.open(address(mosquitto)))
    await asyncio.sleep(0.1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    mosquitto.send(signal.SIGCONT)  # an open socket would be a ResourceWarning, which is an error here


# -- back-off


def test_the_waits_grow_to_half_a_minute_and_never_fall_below_a_second():
    backoff = Backoff()
    waits = [backoff.next_s() for _ in range(20)]
    assert all(1 <= w <= 30 for w in waits)
    assert waits[0] <= 2
    assert min(waits[10:]) >= 15


def test_a_short_connection_does_not_shorten_the_wait_and_a_long_one_does():
    backoff = Backoff()
    for _ in range(20):
        backoff.next_s()
    assert backoff.next_s(lasted_s=30.0) >= 15
    assert backoff.next_s(lasted_s=61.0) <= 2


# -- TLS


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        extensions = [x509.BasicConstraints(ca=True, path_length=None)]
        self.certificate = self._sign(self.name, self.key.public_key(), extensions)
        self.file = self._write("ca.pem", self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, days: int = 1) -> tuple[str, str]:
        """Files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        host = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), [x509.SubjectAlternativeName([host])], days)
        plain = (
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return (
            self._write(f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM)),
            self._write(f"{name}.key", key.private_bytes(*plain)),
        )

    def _sign(self, subject, key, extensions, days=1):
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=3)).not_valid_after(now + dt.timedelta(days=days))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path, "ours")


def tls_settings(authority: Authority, name: str = "127.0.0.1", *more: str, days: int = 1) -> list[str]:
    certificate, key = authority.issue(name, days=days)
    return ["allow_anonymous true", f"cafile {authority.file}", f"certfile {certificate}", f"keyfile {key}", *more]


@PROTOCOLS
async def test_messages_pass_over_tls(mosquitto, authority, protocol):
    mosquitto.stop()
    mosquitto.start(*tls_settings(authority))
    inbox: list[Message] = []
    where = address(mosquitto, protocol=protocol, tls=Tls(ca=authority.file))
    connection = await Connection.open(where, on_message=inbox.append)
    await connection.subscribe(["a"])
    body = b"x" * 100_000  # several records of TLS: what is decrypted but not read yet never wakes the selector
    for _ in range(5):
        await connection.publish("a", body, retain=False)
    assert {m.payload for m in await arrived(inbox, 5)} == {body}
    await connection.close()


async def test_a_client_certificate_is_shown_and_without_one_the_refusal_is_said(mosquitto, authority):
    mosquitto.stop()
    mosquitto.start(*tls_settings(authority, "127.0.0.1", "require_certificate true", "tls_version tlsv1.3"))
    certificate, key = authority.issue("client")
    shown = Tls(ca=authority.file, certificate=certificate, private_key=key)
    await (await Connection.open(address(mosquitto, tls=shown))).close()
    said = await refusal(address(mosquitto, tls=Tls(ca=authority.file)))
    assert "Does it ask for a client certificate (tls.certificate, tls.private_key)?" in said


async def test_a_broker_of_another_authority_is_refused(mosquitto, authority, tmp_path):
    mosquitto.stop()
    mosquitto.start(*tls_settings(authority))
    other = Authority(tmp_path, "other")
    for tls in (Tls(ca=other.file), Tls()):
        said = await refusal(address(mosquitto, tls=tls))
        assert "its certificate is refused: " in said
        assert "issuer" in said or "self-signed" in said or "self signed" in said


async def test_a_broker_under_another_name_is_refused(mosquitto, authority):
    mosquitto.stop()
    mosquitto.start(*tls_settings(authority, "elsewhere.example"))
    said = await refusal(address(mosquitto, tls=Tls(ca=authority.file)))
    assert "its certificate is refused: IP address mismatch, certificate is not valid for '127.0.0.1'" in said


async def test_an_expired_certificate_is_refused(mosquitto, authority):
    mosquitto.stop()
    mosquitto.start(*tls_settings(authority, days=-1))
    assert "certificate has expired" in await refusal(address(mosquitto, tls=Tls(ca=authority.file)))


async def test_a_broker_without_tls_is_said(mosquitto, authority):
    assert "no TLS" in await refusal(address(mosquitto, tls=Tls(ca=authority.file)))


async def test_a_broker_that_wants_tls_is_said(mosquitto, authority):
    mosquitto.stop()
    mosquitto.start(*tls_settings(authority))
    assert "Does the port want TLS?" in await refusal(address(mosquitto))


async def test_tls_1_1_is_not_spoken(authority):
    """A peer that offers TLS 1.1 at most."""
    import ssl
    import warnings

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1"))
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    tls = Tls(ca=authority.file)
    said = await refusal(Address(host="127.0.0.1", port=port, protocol="5", client_id="c", keepalive_s=30, tls=tls))
    assert "TLS 1.2 or newer" in said
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_file_that_is_no_certificate_is_named(mosquitto, authority, tmp_path, content):
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_bytes(content)
    assert f"tls.ca {str(bad)!r}" in await refusal(address(mosquitto, tls=Tls(ca=str(bad))))
    ours = Tls(ca=authority.file, certificate=str(bad), private_key=str(bad))
    assert f"tls.certificate {str(bad)!r}" in await refusal(address(mosquitto, tls=ours))


async def test_a_key_under_a_password_is_refused_without_asking_the_terminal(mosquitto, authority, tmp_path):
    certificate, _ = authority.issue("client")
    key = ec.generate_private_key(ec.SECP256R1())
    locked = tmp_path / "locked.key"
    sealed = serialization.BestAvailableEncryption(b"x")
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed))
    tls = Tls(ca=authority.file, certificate=certificate, private_key=str(locked))
    assert "unencrypted key: the key is encrypted" in await refusal(address(mosquitto, tls=tls))

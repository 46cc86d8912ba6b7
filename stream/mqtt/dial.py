"""How does a TCP or TLS stream to a broker come about, without ever blocking the event loop?

paho would connect and shake hands in a blocking call of up to ten seconds; here both are awaited and can be cancelled, and
what goes wrong becomes one sentence. The stream reads in large pieces: paho asks for one byte, one byte, and the rest of
every packet, which costs four system calls a message on a bare socket and one per few hundred messages on this one. Its
writes are gathered in the same way while it is corked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING

from stream.mqtt.answer import words

if TYPE_CHECKING:
    from stream.mqtt.address import Address, Tls

__all__ = ["BrokerError", "Stream", "dial", "security"]

READ_BYTES = 32_768  # what one turn of the event loop reads at most: a few hundred messages, a few milliseconds
DIAL_LIMIT_S = 5.0  # per address that the host name stands for

# A broker that gathers small packets (mosquitto by default) holds a second PUBACK back until we acknowledge the first, which
# Linux delays by 40 ms unless told otherwise, each time anew.
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class BrokerError(Exception):
    """The broker cannot be had, or is lost; the text is a whole sentence for the operator."""


class Stream:
    """A connected, non-blocking socket as paho wants one, that reads ahead and can gather writes.

    `received_at` is when bytes last came in (`time.monotonic`), `error` the last error of the socket: paho keeps neither.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._ahead = b""
        self._read = 0
        self._corked: bytearray | None = None
        self.received_at = time.monotonic()
        self.error: OSError | None = None

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, read ahead where there are some; BlockingIOError (or its TLS twin) where there are none."""
        begin = self._read
        if begin >= len(self._ahead):
            try:
                self._ahead = self._sock.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._ahead, self._read = b"", 0
                raise
            except OSError as error:
                self.error = error
                raise
            self.received_at = time.monotonic()
            begin = 0
            if _QUICK_ACK is not None:
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        end = begin + size
        self._read = min(end, len(self._ahead))
        return self._ahead[begin:end]

    def send(self, data: bytes | bytearray) -> int:
        """Writes what the socket takes now, or gathers all of it while corked."""
        if self._corked is not None:
            self._corked += data
            return len(data)
        return self._send(data)

    def cork(self) -> None:
        """From here to `uncork`, writes are gathered."""
        if self._corked is None:
            self._corked = bytearray()

    def uncork(self) -> bool:
        """Writes what was gathered; False while some of it still waits for the socket, which keeps the cork in."""
        if self._corked:
            try:
                sent = self._send(self._corked)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            del self._corked[:sent]
            if self._corked:
                return False
        self._corked = None
        return True

    def pending(self) -> int:
        """Bytes that can be read without asking the socket."""
        ahead = len(self._ahead) - self._read
        return ahead + self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else ahead

    def fileno(self) -> int:
        """Number of the socket, for the selector."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Only ever False: nothing here may block."""
        self._sock.setblocking(flag)

    def close(self) -> None:
        """Closes the socket, after one try to write what is gathered: the farewell of MQTT is among it."""
        try:
            self.uncork()
        except OSError as error:
            self.error = error
        self._sock.close()

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.error = error
            raise


async def dial(address: Address) -> Stream:
    """A connected stream to the broker, TLS included. Raises BrokerError."""
    context = await asyncio.to_thread(security, address.tls) if address.tls is not None else None
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BrokerError(f"{address}: the host name cannot be looked up: {words(error)}") from error
    problem = BrokerError(f"{address}: the host name stands for no address")
    for family, kind, protocol, _, place in found:
        try:
            async with asyncio.timeout(DIAL_LIMIT_S):
                return Stream(await _connect(socket.socket(family, kind, protocol), place, context, address.host))
        except TimeoutError:
            problem = BrokerError(f"{address}: no answer within {DIAL_LIMIT_S:g} s")
        except ssl.SSLCertVerificationError as error:
            # Another address of the same name would only hide this one's certificate.
            raise BrokerError(f"{address}: its certificate is refused: {error.verify_message}") from error
        except ssl.SSLError as error:
            problem = BrokerError(f"{address}: no TLS: {words(error)}; is the port one that speaks TLS 1.2 or newer?")
        except OSError as error:
            problem = BrokerError(f"{address}: cannot connect: {words(error)}")
    raise problem


def security(tls: Tls) -> ssl.SSLContext:
    """The TLS settings, read from their files each time so that renewed certificates are taken. Raises BrokerError."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except (OSError, ValueError) as error:
        raise BrokerError(f"tls.ca {tls.ca!r}: expected PEM certificates: {words(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate is not None:
        try:
            # An encrypted key would make OpenSSL ask on the terminal and stand still.
            context.load_cert_chain(tls.certificate, tls.private_key, password=_no_password)
        except (OSError, ValueError) as error:
            files = f"tls.certificate {tls.certificate!r} with tls.private_key {tls.private_key!r}"
            raise BrokerError(f"{files}: expected a PEM certificate and its unencrypted key: {words(error)}") from error
    return context


async def _connect(
    sock: socket.socket, place: tuple[object, ...], context: ssl.SSLContext | None, host: str
) -> socket.socket:
    """Connects and shakes hands; the socket is closed if anything stops that, a cancellation included."""
    try:
        sock.setblocking(False)  # noqa: FBT003 - the name of the standard library
        await asyncio.get_running_loop().sock_connect(sock, place)
        # PUBACKs and alerts are small and urgent: without this each may wait 40 ms for the other side's acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return sock
        sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        try:
            await _handshake(sock)
        except ConnectionError as error:  # of one that takes our greeting for nonsense
            raise ssl.SSLError(ssl.SSL_ERROR_EOF, words(error)) from error
    except BaseException:
        sock.close()
        raise
    return sock


async def _handshake(sock: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            add, remove = loop.add_reader, loop.remove_reader
        except ssl.SSLWantWriteError:
            add, remove = loop.add_writer, loop.remove_writer
        else:
            return
        ready = asyncio.Event()
        add(sock.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            remove(sock.fileno())


def _no_password() -> str:
    raise ValueError("the key is encrypted")

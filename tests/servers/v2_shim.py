"""A stand-in for the write API of InfluxDB 2, before a real InfluxDB 1.x that stores what it is given.

Debian has no InfluxDB 2. This answers `/api/v2/write` as one does, login, organisation and words included, `/query` (InfluxQL)
behind the same login, and plays the
faults of a script: each request takes the next word of it, and once it is used up all is well.

    401, 503 ...   this status                      stored    stored, and then the connection is cut without an answer
    429:1.5        with Retry-After                 cut       the connection is cut and nothing is stored
    hang:SECONDS   silence, then all is well        html      200 with a page, as a portal before a network answers
    moved          a redirection                    proxy     400 with a page, as a proxy answers that is misconfigured
    echo           502 with the headers of the request, as some proxies answer that are being debugged
"""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

PAGE = b"<html><body>Welcome</body></html>"
PRECISIONS = {"ns": "n", "us": "u", "ms": "ms", "s": "s"}
CODES = {400: "invalid", 401: "unauthorized", 404: "not found", 413: "request too large", 429: "too many requests"}


class V2Shim:
    """Listens on loopback; `requests` holds the moment (monotonic) and the lines of each one that came."""

    def __init__(self, upstream: str, *, port: int, token: str = "secret-token", org: str = "plant") -> None:
        self.upstream = urlsplit(upstream).netloc
        self.port = port
        self.token = token
        self.org = org
        self.url = f"http://127.0.0.1:{port}"
        self.script: list[str] = []
        self.always = ""
        self.most_lines = 1_000_000
        self.requests: list[tuple[float, list[str]]] = []
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        shim = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                shim.answer(self)

            def do_GET(self) -> None:
                shim.ask(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        raw = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        body = gzip.decompress(raw) if request.headers.get("Content-Encoding") == "gzip" else raw
        with self._lock:
            self.requests.append((time.monotonic(), body.decode().splitlines()))
            word = self.script.pop(0) if self.script else self.always
        fault, _, figure = word.partition(":")
        if self._server is None:  # stopped: connections that were kept open are of no use either
            fault = "cut"
        if fault == "hang":
            time.sleep(float(figure))
            fault = ""
        if fault == "cut":
            request.close_connection = True
        elif fault == "stored":
            self._store(request, body)
            request.close_connection = True
        elif fault in {"html", "proxy"}:
            _reply(request, 200 if fault == "html" else 400, PAGE, {"Content-Type": "text/html"})
        elif fault == "echo":
            _reply(request, 502, f"\x1b[2J{request.headers}".encode(), {"Content-Type": "text/plain"})
        elif fault == "moved":
            _reply(request, 301, b"", {"Location": f"{self.url}/login"})
        elif fault:
            headers = {"Retry-After": figure} if figure else {}
            _reply(request, int(fault), _error(int(fault), "as the script says"), headers)
        else:
            status, words = self._store(request, body)
            _reply(request, status, _error(status, words) if status != 204 else b"")

    def ask(self, request: BaseHTTPRequestHandler) -> None:
        """InfluxQL, as InfluxDB 2 answers it for a bucket that is mapped to a database of its name."""
        if request.headers.get("Authorization") != f"Token {self.token}":
            _reply(request, 401, _error(401, "unauthorized access"))
            return
        server = http.client.HTTPConnection(self.upstream)
        try:
            server.request("GET", request.path)
            answer = server.getresponse()
            _reply(request, answer.status, answer.read())
        finally:
            server.close()

    def _store(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str]:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        if request.headers.get("Authorization") != f"Token {self.token}":
            return 401, "unauthorized access"
        if asked.get("org") != self.org:
            found = asked.get("org")
            return (
                (404, f'organization name "{found}" not found')
                if found
                else (400, "Please provide either orgID or org")
            )
        if body.count(b"\n") >= self.most_lines:
            return 413, "unable to read data: points batch is too large"
        query = urlencode({"db": asked.get("bucket", ""), "precision": PRECISIONS[asked.get("precision", "ns")]})
        server = http.client.HTTPConnection(self.upstream)
        try:
            server.request("POST", f"/write?{query}", body)
            answer = server.getresponse()
            words = answer.read().decode()
        except OSError as error:
            return 503, f"upstream: {error}"
        finally:
            server.close()
        if answer.status == 204 and not body.strip():
            return 400, "writing requires points"  # InfluxDB 1 is content with nothing
        return answer.status, json.loads(words)["error"] if words.strip() else ""


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True

    def handle_error(self, *_: Any) -> None:
        """Clients that did not wait for their answer are what some tests are about."""


def _error(status: int, words: str) -> bytes:
    return json.dumps({"code": CODES.get(status, "internal error"), "message": words}).encode()


def _reply(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    request.send_response(status)
    for name, value in {
        "Content-Type": "application/json",
        **(headers or {}),
        "Content-Length": str(len(body)),
    }.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)

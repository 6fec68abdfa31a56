"""A server before the authority that has bad days: slow, refusing, full of rubbish."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from flatrun_e2e.pebble import Pebble

ACME_ERROR = "urn:ietf:params:acme:error:"
FORWARD_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What is answered in the authority's place; without a status the connection just ends."""

    status: int = 0
    body: bytes = b""
    content_type: str = "text/html"
    retry_after: str = ""


@dataclass(frozen=True)
class Fault:
    """What happens to requests whose path matches, `times` of them or all."""

    path: re.Pattern[str]
    answer: Answer | None
    delay: float = 0
    times: int | None = None


class BadAuthority:
    """An ACME API that hands everything to the real one, until it has a bad day.

    Attributes:
        directory: the address of its directory.
        requests: method and path of everything that was asked, in order.
    """

    def __init__(self, pebble: Pebble, port: int) -> None:
        self.directory = f"https://127.0.0.1:{port}/dir"
        self.requests: list[tuple[str, str]] = []
        self._upstream = pebble
        self._faults: list[Fault] = []
        self._lock, self._over = threading.Lock(), threading.Event()
        self._server = _Server(port, self)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pebble.certificate.leaf, pebble.certificate.key)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def asked(self, path: str = "") -> int:
        """Count the requests whose path matches so far."""
        return sum(bool(re.search(path, asked)) for _, asked in self.requests)

    def refuse(
        self,
        path: str = "",
        *,
        kind: str = "serverInternal",
        detail: str,
        status: int = 500,
        times: int | None = None,
    ) -> None:
        """Answer with a problem document."""
        answer = Answer(status, _problem(kind, detail, status), "application/problem+json")
        self._add(path, answer, times=times)

    def limit(self, path: str = "", *, retry_after: str, detail: str) -> None:
        """Answer that there were too many requests."""
        body = _problem("rateLimited", detail, 429)
        self._add(path, Answer(429, body, "application/problem+json", retry_after))

    def babble(self, path: str = "", *, body: bytes = b"<html>Welcome!\x00\xff", status: int = 200) -> None:
        """Answer with something that no authority says."""
        self._add(path, Answer(status, body))

    def drop(self, path: str = "", *, times: int | None = None) -> None:
        """End the connection without an answer."""
        self._add(path, Answer(), times=times)

    def delay(self, path: str = "", *, seconds: float) -> None:
        """Hand requests on only after a while."""
        self._add(path, None, delay=seconds)

    def heal(self) -> None:
        """Have no bad day any more."""
        with self._lock:
            self._faults = []

    def close(self) -> None:
        """End the server; whoever waits is let go."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def outcome(self, method: str, path: str) -> Answer | None:
        """Note a request and return what is answered in the authority's place."""
        with self._lock:
            self.requests.append((method, path))
            fault = next((one for one in self._faults if one.path.search(path)), None)
            if fault and fault.times is not None:
                self._faults.remove(fault)
                if fault.times > 1:
                    left = Fault(fault.path, fault.answer, fault.delay, fault.times - 1)
                    self._faults.insert(0, left)
        if fault and fault.delay:
            self._over.wait(fault.delay)
        return fault.answer if fault else None

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> requests.Response:
        """Ask the real authority, which takes its own name from the Host header."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                f"https://{self._upstream.api}{path}",
                headers=headers,
                data=body,
                verify=str(self._upstream.ca_file),
                allow_redirects=False,
                timeout=FORWARD_SECONDS,
            )

    def _add(self, path: str, answer: Answer | None, *, delay: float = 0, times: int | None = None) -> None:
        with self._lock:
            self._faults.append(Fault(re.compile(path), answer, delay, times))


@contextmanager
def running_bad_authority(pebble: Pebble, port: int) -> Iterator[BadAuthority]:
    """Return a server before the authority, and end it afterwards."""
    made = BadAuthority(pebble, port)
    try:
        yield made
    finally:
        made.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, authority: BadAuthority) -> None:
        self.authority = authority
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        instead = self.server.authority.outcome(self.command, self.path)
        if instead is None:
            headers = {name: value for name, value in self.headers.items() if name != "Connection"}
            real = self.server.authority.forward(self.command, self.path, headers, body)
            self.reply(real.status_code, dict(real.headers), real.content)
        elif instead.status:
            headers = {"Content-Type": instead.content_type}
            if instead.retry_after:
                headers["Retry-After"] = instead.retry_after
            self.reply(instead.status, headers, instead.body)
        self.close_connection = True

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "content-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what was asked is noted."""

    do_GET = do_HEAD = do_POST = answer  # noqa: N815  (the names that the library calls)


def _problem(kind: str, detail: str, status: int) -> bytes:
    return json.dumps({"type": ACME_ERROR + kind, "detail": detail, "status": status}).encode()

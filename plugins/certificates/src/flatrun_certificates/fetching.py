"""Fetching a proof over HTTP as an authority does: from one address, following redirects."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urljoin, urlsplit

LONGEST_BODY: Final = 4096
# As many as Let's Encrypt follows.
MOST_REDIRECTS: Final = 10
REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
OK: Final = 200
PORTS: Final = {"http": 80, "https": 443}


class Outcome(Enum):
    """What became of a fetch."""

    RIGHT = "right"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    WRONG = "wrong"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True)
class Fetched:
    """The outcome, and for a person what exactly was seen."""

    outcome: Outcome
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in parts; ``path`` has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def header(self) -> str:
        """The value of the Host header."""
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.header}{self.path}"

    def follow(self, location: str) -> "Target":
        """Where a Location header leads; raises ``ValueError`` when nobody can go there."""
        parts = urlsplit(urljoin(str(self), location))
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError(location)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme], path)


class Deadline:
    """One point in time for many connections: at it, all of them are cut."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._over = False

    def left(self) -> float:
        """Seconds until then, never less than a moment."""
        return max(self._end - time.monotonic(), 0.01)

    def watch(self, connection: socket.socket) -> None:
        """Cut this connection too."""
        with self._lock:
            self._sockets.add(connection)
            if self._over:
                _cut(connection)

    def cut(self) -> None:
        """End every connection, so that no thread waits for a server that drips."""
        with self._lock:
            self._over = True
            for connection in self._sockets:
                _cut(connection)


class Fetcher:
    """Fetches one text from many addresses.

    ``resolve`` gives the addresses of a name that a redirect leads to, ``timeout`` is in seconds
    for each connection.
    """

    def __init__(self, resolve: Callable[[str], list[str]], deadline: Deadline, timeout: float) -> None:
        self._resolve, self._deadline, self._timeout = resolve, deadline, timeout

    def fetch(self, target: Target, address: str, expected: str, port: int | None = None) -> Fetched:
        """Fetch from an address, at another ``port`` than the URL's if given, and compare."""
        start = target
        for _ in range(MOST_REDIRECTS + 1):
            try:
                status, location, server, body = self._get(target, address, port or target.port)
            except (OSError, http.client.HTTPException, ValueError) as error:
                return _failure(error, target, moved=target is not start)
            if status not in REDIRECTS or not location:
                return _compare(status, server, body, expected, target if target is not start else None)
            try:
                following = target.follow(location)
                if start.port == PORTS["http"] and following.port not in PORTS.values():
                    return Fetched(
                        Outcome.REDIRECT, f"it redirects to port {following.port}, where no authority goes"
                    )
                # The same host is the same server; elsewhere the name decides.
                if following.host != target.host:
                    address = self._resolve(following.host)[0]
                if (following.host, following.port) != (target.host, target.port):
                    port = None
            except (ValueError, LookupError):
                return Fetched(Outcome.REDIRECT, f"it redirects to {_shown(location)}, where nobody can go")
            target = following
        return Fetched(Outcome.REDIRECT, f"it redirects more than {MOST_REDIRECTS} times")

    def _get(self, target: Target, address: str, port: int) -> tuple[int, str, str, str]:
        timeout = min(self._timeout, self._deadline.left())
        connection = socket.create_connection((address, port), timeout)
        with connection:
            self._deadline.watch(connection)
            if target.scheme == "https":
                connection = _unverified().wrap_socket(connection, server_hostname=target.host)
                self._deadline.watch(connection)
            with connection:
                return _ask(connection, target)


def _ask(connection: socket.socket, target: Target) -> tuple[int, str, str, str]:
    client = http.client.HTTPConnection(target.host, target.port)
    client.sock = connection
    headers = {"Host": target.header, "User-Agent": "Flatrun", "Accept": "*/*", "Connection": "close"}
    client.request("GET", target.path, headers=headers)
    with client.getresponse() as answer:
        body = answer.read(LONGEST_BODY).decode("utf-8", "replace")
        location, server = answer.headers.get("Location", ""), answer.headers.get("Server", "")
        return answer.status, location, server, body


def _compare(status: int, server: str, body: str, expected: str, moved: Target | None) -> Fetched:
    if status == OK and body.strip() == expected:
        return Fetched(Outcome.RIGHT)
    after = f" after a redirect to {moved.scheme}://{moved.header}" if moved else ""
    name = f" of a server that calls itself {server[:60]}" if server.isprintable() and server else ""
    what = "a page that is not our token" if status == OK else f"status {status}"
    return Fetched(Outcome.REDIRECT if moved else Outcome.WRONG, f"{what}{name}{after}")


def _failure(error: Exception, target: Target, *, moved: bool) -> Fetched:
    outcome = Outcome.BROKEN
    if isinstance(error, ConnectionRefusedError):
        outcome = Outcome.REFUSED
    elif isinstance(error, TimeoutError):
        outcome = Outcome.TIMEOUT
    elif isinstance(error, OSError) and not isinstance(error, (ConnectionError, ssl.SSLError)):
        outcome = Outcome.UNREACHABLE
    if not moved:
        return Fetched(outcome, str(error)[:200])
    text = f"it redirects to {target.scheme}://{target.header}, which does not answer ({error})"
    return Fetched(Outcome.REDIRECT, _shown(text))


def _shown(text: str) -> str:
    """What a stranger's server said, such that it does no harm to a log or a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:300])


def _unverified() -> ssl.SSLContext:
    # An authority that follows a redirect to https does not look at the certificate either.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return

"""Real servers on loopback addresses: one for names, for pages, and for TLS."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from flatrun_core.ports.certificates import Certificate


@dataclass
class Zone:
    """What a name server answers: texts of records by name and kind; it notes what it is asked."""

    address: str = ""
    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    errors: dict[str, dns.rcode.Rcode] = field(default_factory=dict)
    silent: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, kind: str, *values: str) -> None:
        self.records.setdefault((name, kind), []).extend(values)

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA | dns.flags.AA
        values = self.records.get((name, kind), [])
        if name in self.errors:
            response.set_rcode(self.errors[name])
        elif values:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *values))
        elif not self._exists(name):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()

    def _exists(self, name: str) -> bool:
        return any(known == name or known.endswith(f".{name}") for known, _ in self.records)


@pytest.fixture
def zone() -> Iterator[Zone]:
    made = Zone()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, connection = self.request
            answer = made.answer(wire)
            if answer is not None:
                connection.sendto(answer, self.client_address)

    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler) as server, _serving(server):
        made.address = f"127.0.0.1:{server.server_address[1]}"
        yield made


Page = Callable[[str, str], tuple[int, dict[str, str], bytes]]


class Pages:
    """Web servers on one port of several loopback addresses."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.port = 0

    def start(self, page: Page, address: str = "127.0.0.1", port: int | None = None) -> int:
        """Serve `page(host, path) -> status, headers, body`, and return the port."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = page(self.headers.get("Host", ""), self.path)
                self.send_response_only(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            daemon_threads = True

        wanted = self.port if port is None else port
        server = self._stack.enter_context(Server((address, wanted), Handler))
        self._stack.enter_context(_serving(server))
        if port is None:
            self.port = server.server_address[1]
        return int(server.server_address[1])


@pytest.fixture
def pages() -> Iterator[Pages]:
    with ExitStack() as stack:
        yield Pages(stack)


@pytest.fixture
def listen() -> Iterator[Callable[..., int]]:
    """Return a function that starts servers: `listen(lambda connection: ..., address="127.0.0.1")`."""
    with ExitStack() as stack:

        def start(talk: Callable[[socket.socket], None], address: str = "127.0.0.1", port: int = 0) -> int:
            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    with contextlib.suppress(OSError):
                        talk(self.request)

            class Server(socketserver.ThreadingTCPServer):
                daemon_threads = True
                allow_reuse_address = True
                block_on_close = False

            server = stack.enter_context(Server((address, port), Handler))
            stack.enter_context(_serving(server))
            return int(server.server_address[1])

        yield start


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as objects and as PEM files."""

    leaf: x509.Certificate
    chain: Path
    key: Path

    @property
    def pem(self) -> bytes:
        return self.leaf.public_bytes(Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.leaf.public_bytes(Encoding.DER)).hexdigest()

    def seen(self, *domains: str) -> Certificate:
        """The certificate as the panel knows it."""
        leaf = self.leaf
        times = (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
        return Certificate(
            "example.test", domains, "Test CA", *times, self.chain, self.chain, self.key, self.fingerprint
        )


MakePair = Callable[..., Pair]


@pytest.fixture
def make_pair(tmp_path: Path) -> MakePair:
    """Return a function that makes certificates: `make_pair("a.example.test", serial=1, days=90)`."""
    number = iter(range(1000))

    def make(
        *names: str,
        serial: int | None = None,
        days: float = 90,
        age: float = 1,
        issuer_key_id: bytes | None = b"\x69\x88\x5b\x6b",
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([]))
        builder = builder.public_key(key.public_key()).serial_number(serial or x509.random_serial_number())
        start = now - timedelta(days=age)
        builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=days))
        names_of = x509.SubjectAlternativeName([x509.DNSName(name) for name in names or ("example.test",)])
        builder = builder.add_extension(names_of, critical=True)
        if issuer_key_id is not None:
            issuer = x509.AuthorityKeyIdentifier(issuer_key_id, None, None)
            builder = builder.add_extension(issuer, critical=False)
        leaf = builder.sign(key, hashes.SHA256())
        place = tmp_path / f"pair-{next(number)}"
        place.mkdir()
        chain, key_file = place / "fullchain.pem", place / "privkey.pem"
        chain.write_bytes(leaf.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Pair(leaf, chain, key_file)

    return make


@pytest.fixture
def serve_tls(listen: Callable[..., int]) -> Callable[..., int]:
    """Return a function that starts TLS servers: `serve_tls(lambda name: pair)`, by the asked name."""

    def start(choose: Callable[[str], Pair | None], **where: Any) -> int:
        def talk(connection: socket.socket) -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

            def by_name(secured: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
                pair = choose(name or "")
                if pair is None:
                    return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
                chosen = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                chosen.load_cert_chain(pair.chain, pair.key)
                secured.context = chosen
                return None

            context.sni_callback = by_name
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)

        return listen(talk, **where)

    return start


@pytest.fixture
def serve_tls_page(listen: Callable[..., int]) -> Callable[[Pair, bytes], int]:
    """Return a function that starts TLS servers which answer everything with one page."""

    def start(pair: Pair, body: bytes) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.chain, pair.key)

        def talk(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(10_000)
                secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        return listen(talk)

    return start

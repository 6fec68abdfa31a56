"""A Caddy in memory, the real one, and applications for it to lead to."""

import json
import os
import random
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flatrun_caddy.backend import CaddyBackend
from flatrun_caddy.blocks import Block
from flatrun_caddy.program import CaddyProgram, unreachable
from flatrun_caddy.settings import CaddySettings, Layout
from flatrun_core.ports.proxy import PANEL, Host, Route, Site, Tls
from flatrun_core.programs import ProgramRunner
from flatrun_core.testing.proxy_samples import full_site

UNPACKED = Path(__file__).resolve().parents[3] / ".cache/caddy/usr/bin/caddy"
PATIENCE = 20.0  # seconds
# Below the range from which the kernel takes ports for outgoing connections.
FIRST_PORT, EACH_WORKER = 15000, 200


class FakeCaddy:
    """A Caddy that loads whatever it is given, but for names below ``refused.example.com``."""

    def __init__(self) -> None:
        self.running = True
        self.reloads = 0
        self.stubborn = ""
        self.seen: list[list[str]] = []

    def refusal(self, layout: Layout, file: Path, blocks: Sequence[Block]) -> str:
        assert file.parent == layout.file.parent
        assert file.read_text()
        names = [name for block in blocks for name in block.names]
        self.seen.append(names)
        bad = [name for name in names if name.endswith(".refused.example.com")]
        if bad:
            return f"{bad[0]} is not for me"
        if {"cat.example.com", "dog.example.com"} <= set(names):
            return "cat and dog in one file"
        return ""

    def reload(self, layout: Layout) -> str:
        assert layout.file.read_text()
        self.reloads += not self.stubborn
        return self.stubborn

    def answers(self, layout: Layout) -> bool:
        return self.running


@pytest.fixture
def everything() -> list[Site]:
    """Return sites with everything that a site may have, for rendering only: no file of theirs exists."""
    pem = Path("/srv/certificates")
    tls = [
        Tls(pem / name / "fullchain.pem", pem / name / "privkey.pem", f"{number}" * 64, hsts=number == 1)
        for number, name in enumerate(("shop", "wild"), start=1)
    ]
    blog = full_site("blog")
    shop = full_site("shop", tls[0])
    wild = Site("wild", (Host("*.example.org", ("example.org",), (Route("/a.b+c*", "w", 1),), tls[1]),))
    panel = Site(PANEL, (Host("panel.example.com", (), (Route("/", PANEL, 8090),), tls[0]),))
    return [panel, blog, shop, wild]


@pytest.fixture
def fake_caddy() -> FakeCaddy:
    return FakeCaddy()


@pytest.fixture
def root() -> Iterator[Path]:
    """Return a folder with a short and plain name, as sockets and Caddyfiles need it."""
    with tempfile.TemporaryDirectory(prefix="flatrun-caddy-") as folder:
        yield Path(folder)


@pytest.fixture
def layout(root: Path) -> Layout:
    return Layout.of(CaddySettings(), root)


@pytest.fixture
def backend(layout: Layout, fake_caddy: FakeCaddy) -> CaddyBackend:
    return CaddyBackend(lambda: layout, fake_caddy)


@dataclass
class RealCaddy:
    """A Caddy that runs; its files and ports are the test session's."""

    program: str
    folder: Path
    http_port: int
    https_port: int
    programs: ProgramRunner = field(default_factory=ProgramRunner)

    @property
    def admin(self) -> str:
        return f"unix/{self.folder / 'admin.sock'}"

    def layout(self, root: Path) -> Layout:
        settings = CaddySettings(
            admin=self.admin,
            program=self.program,
            http_port=self.http_port,
            https_port=self.https_port,
            bind_address="127.0.0.1",
        )
        return Layout.of(settings, root)

    def backend(self, root: Path) -> CaddyBackend:
        return CaddyBackend(lambda: self.layout(root), CaddyProgram(self.programs))


@pytest.fixture
def listening() -> Iterator[Callable[[Path], None]]:
    """Return a function that makes a socket in a folder take connections."""
    with ExitStack() as stack:

        def listen(path: Path) -> None:
            server = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            server.bind(str(path))
            server.listen()

        yield listen


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Return a function that finds ports of 127.0.0.1 on which nothing listens."""
    return some_free_ports


@pytest.fixture
def closed_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    return some_free_ports(1)[0]


class Target(ThreadingHTTPServer):
    """An application that tells what it was asked; ``go`` lets those go on that wait."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), TargetHandler)
        self.name = name
        self.port = self.server_address[1]
        self.go = threading.Event()
        self.waiting = threading.Event()
        self.bodies: list[int] = []


class TargetHandler(BaseHTTPRequestHandler):
    """Answers with what came, as JSON, unless the path asks for something else."""

    protocol_version = "HTTP/1.1"
    server: Target

    def do_GET(self) -> None:
        if self.headers.get("Upgrade"):
            self._echo()
        elif self.path == "/stream":
            self._stream()
        elif self.path == "/never":
            self.server.go.wait(PATIENCE)
            self._tell()
        else:
            self._tell()

    def do_POST(self) -> None:
        wanted = int(self.headers["Content-Length"])
        self.close_connection = len(self.rfile.read(wanted)) < wanted
        if not self.close_connection:
            self.server.bodies.append(wanted)
            self._tell()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _tell(self) -> None:
        told = {"name": self.server.name, "path": self.path, "headers": dict(self.headers)}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError):
            self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        self.server.waiting.set()
        self.server.go.wait(PATIENCE)
        self.wfile.write(b"4\r\nlast\r\n0\r\n\r\n")

    def _echo(self) -> None:
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        while data := self.connection.recv(1024):
            self.connection.sendall(data)
        self.close_connection = True


@pytest.fixture
def target() -> Iterator[Callable[[str], Target]]:
    """Return a function that starts an application of that name on a port of 127.0.0.1."""
    with ExitStack() as stack:

        def start(name: str) -> Target:
            server = Target(name)
            serve(stack, server)
            return server

        yield start


class SocketTarget(Target):
    """The same behind a Unix socket, as the panel is."""

    address_family = socket.AF_UNIX

    def __init__(self, path: Path, name: str) -> None:
        socketserver.BaseServer.__init__(self, str(path), TargetHandler)  # type: ignore[arg-type]
        self.socket = socket.socket(self.address_family, self.socket_type)
        socketserver.TCPServer.server_bind(self)
        self.server_activate()
        self.name = name

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept; who asks has no address."""
        return self.socket.accept()[0], ("", 0)


@pytest.fixture
def panel_socket() -> Iterator[Callable[[Path, str], None]]:
    """Return a function that starts an application behind a socket."""
    with ExitStack() as stack:

        def start(path: Path, name: str) -> None:
            path.parent.mkdir(parents=True)
            serve(stack, SocketTarget(path, name))

        yield start


def serve(stack: ExitStack, server: Target) -> None:
    """Let a server answer until the stack ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    stack.callback(server.server_close)
    stack.callback(thread.join)
    stack.callback(server.shutdown)
    thread.start()


@pytest.fixture(scope="session")
def caddy_program() -> str:
    """Return the real program; `scripts/test` unpacks it where it is not installed."""
    found = shutil.which("caddy") or (str(UNPACKED) if UNPACKED.is_file() else "")
    assert found, f"caddy is neither installed nor in {UNPACKED.parent}: run scripts/test"
    return found


@pytest.fixture(scope="session")
def caddy(caddy_program: str) -> Iterator[RealCaddy]:
    """Start a Caddy that serves nothing yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flatrun-caddy-")))
        real = RealCaddy(caddy_program, folder, *some_free_ports(2))
        (folder / "empty").write_text(f"{{\n\tadmin {real.admin}\n}}\n")
        stack.enter_context(running(caddy_program, folder / "empty", real.admin))
        yield real


@contextmanager
def running(program: str, config: Path, admin: str) -> Iterator[None]:
    """A Caddy that was started with a file, until it answers at its admin address."""
    home = config.parent
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [program, "run", "--config", str(config), "--adapter", "caddyfile"],
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            stderr=log,
        )
        try:
            eventually(lambda: process.poll() is not None or not unreachable(admin))
            assert process.poll() is None, (home / "log").read_text()
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture
def start_caddy(caddy_program: str) -> Iterator[Callable[[Layout], None]]:
    """Return a function that starts another Caddy with the file that a layout names."""
    with ExitStack() as stack:
        yield lambda layout: stack.enter_context(running(caddy_program, layout.file, layout.admin))


def some_free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens, of this pytest worker's own range."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker * EACH_WORKER
    candidates = random.sample(range(first, first + EACH_WORKER), EACH_WORKER)
    return [port for port in candidates if _is_free(port)][:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most ``PATIENCE``."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("It did not come to that in time")

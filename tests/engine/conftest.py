"""A socket of an Engine that a test holds."""

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.docker import DockerEngine
from flatrun_core.docker.client import EngineClient


class Request(BaseHTTPRequestHandler):
    """One connection to the stub; ``answer`` may take the raw connection for itself."""

    protocol_version = "HTTP/1.1"
    server: "Stub"

    def log_message(self, *args: Any) -> None: ...

    def address_string(self) -> str:
        return "stub"

    def reply(self, body: Any, status: int = 200) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        path = self.path.removeprefix("/v1.41")
        self.server.requests.append((self.command, path, self.rfile.read(length)))
        plain = path.partition("?")[0]
        if plain == "/version":
            self.reply({"ApiVersion": "1.41", "MinAPIVersion": "1.12"})
            return
        answer = self.server.answers.get(plain)
        if answer is None:
            self.reply({"message": f"page not found: {plain}"}, 404)
        elif callable(answer):
            answer(self)
        else:
            self.reply(*answer) if isinstance(answer, tuple) else self.reply(answer)

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815


class Stub(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: str) -> None:
        super().__init__(path, Request)
        self.answers: dict[str, Any] = {}
        self.requests: list[tuple[str, str, bytes]] = []
        self.released = threading.Event()
        self.open: list[Any] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def get_request(self) -> Any:
        request, _ = super().get_request()
        self.open.append(request)
        return request, ("stub", 0)

    def handle_error(self, *args: Any) -> None: ...

    def hang(self, request: Request) -> None:
        self.released.wait(10)

    def asked(self, path: str) -> int:
        return sum(1 for _, found, _ in self.requests if found.partition("?")[0] == path)

    def close(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tmp_path_factory.mktemp("s")) / "d.sock"


@pytest.fixture
def listen(socket_path: Path) -> Iterator[Callable[[], Stub]]:
    """Return a function that lets an Engine listen on the socket; it ends with the test."""
    started: list[Stub] = []

    def start() -> Stub:
        started.append(Stub(str(socket_path)))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def stub(listen: Callable[[], Stub]) -> Stub:
    return listen()


@pytest.fixture
def engine(socket_path: Path) -> Iterator[DockerEngine]:
    made = DockerEngine(EngineClient(f"unix://{socket_path}", environ={}, timeout=0.3))
    yield made
    made.close()

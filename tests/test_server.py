import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g

from flatrun_core import server
from flatrun_core.errors import StartupError
from flatrun_core.server import PanelServer, configure_logging, notify_systemd
from flatrun_core.settings import ApiSettings

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Running:
    """A server in a thread; leaving ends it."""

    def __init__(self, application: Application, **settings: Any) -> None:
        self.server = PanelServer(application, ApiSettings(host="127.0.0.1", port=0, **settings))
        self.url = self.server.addresses[0]
        self.port = int(self.url.rpartition(":")[2])
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.server.run, args=(self.closing.set,))
        self.thread.start()
        self.connections: list[http.client.HTTPConnection] = []

    def connect(self) -> http.client.HTTPConnection:
        self.connections.append(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10))
        return self.connections[-1]

    def open_stream(self) -> http.client.HTTPResponse:
        connection = self.connect()
        connection.request("GET", "/stream")
        return connection.getresponse()

    def get(self, path: str = "/") -> tuple[int, dict[str, str], bytes]:
        connection = self.connect()
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return answer.status, dict(answer.getheaders()), answer.read()

    def send(self, *pieces: bytes) -> tuple[str, dict[str, Any]]:
        """Raw bytes; the status line and the body of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as raw:
            for piece in pieces:
                raw.sendall(piece)
            answer = b""
            while data := raw.recv(65536):
                answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert "Content-Type: application/json" in lines
        assert any(line.lower().startswith("x-request-id: ") for line in lines)
        return lines[0], json.loads(body)

    def end(self) -> None:
        if self.thread.is_alive():
            self.server.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def close(self) -> None:
        try:
            self.end()
        finally:
            self.server.close()
            for connection in self.connections:
                connection.close()


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(application: Application, **settings: Any) -> Running:
        running.append(Running(application, **settings))
        return running[-1]

    yield start
    for one in running:
        one.close()


def hello(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


class Stream:
    """Writes until told to end, and looks for the client having gone as streams do."""

    def __init__(self, chunk: bytes = b"tick\n", pause: float = 0.02) -> None:
        self.chunk, self.pause = chunk, pause
        self.closing = threading.Event()
        self.open = 0
        self.written = 0
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != "/stream":
            return hello(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return self.body(environ["waitress.client_disconnected"])

    def body(self, gone: Callable[[], bool]) -> Iterator[bytes]:
        with self.lock:
            self.open += 1
        try:
            while not self.closing.wait(self.pause) and not gone():
                self.written += len(self.chunk)
                yield self.chunk
            yield b"end\n"
        finally:
            with self.lock:
                self.open -= 1


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.01)


def test_answers_without_naming_its_software(run: Callable[..., Running]) -> None:
    status, headers, body = run(hello).get()
    assert (status, body) == (200, b"hello")
    assert "Server" not in headers
    assert "Via" not in headers


@pytest.mark.parametrize(
    ("request_text", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "INVALID_REQUEST"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "INVALID_REQUEST"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "NOT_IMPLEMENTED"),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n", 413, "PAYLOAD_TOO_LARGE"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "INVALID_REQUEST"),
    ],
)
def test_refuses_in_the_shape_of_every_error(
    run: Callable[..., Running], request_text: bytes, status: int, code: str
) -> None:
    line, body = run(hello).send(request_text)
    assert line.split()[1] == str(status)
    assert body["code"] == code
    assert body["error"]
    assert set(body) == {"error", "code"}


def test_a_client_that_sends_far_too_much_still_reads_why(run: Callable[..., Running]) -> None:
    piece = b"x" * 65536
    head = b"POST / HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n"
    line, body = run(hello).send(head, *[piece] * 300)
    assert line.split()[1] == "413"
    assert body["code"] == "PAYLOAD_TOO_LARGE"


def test_a_broken_application_is_an_error_of_the_same_shape(run: Callable[..., Running]) -> None:
    def broken(_environ: dict[str, Any], _start_response: Callable[..., Any]) -> Any:
        raise RuntimeError("secret")

    status, headers, body = run(broken).get()
    assert status == 500
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["code"] == "INTERNAL_ERROR"
    assert b"secret" not in body


def test_forwarded_headers_reach_the_application_which_decides_about_them(
    run: Callable[..., Running],
) -> None:
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        seen.append(environ["HTTP_X_FORWARDED_FOR"])
        return hello(environ, start_response)

    connection = run(application).connect()
    connection.request("GET", "/", headers={"X-Forwarded-For": "192.0.2.7"})
    connection.getresponse().read()
    assert seen == ["192.0.2.7"]


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartupError, match=f"Port {port} is already in use"):
            PanelServer(hello, ApiSettings(host="127.0.0.1", port=port))


@pytest.mark.parametrize(
    ("host", "text"), [("192.0.2.1", "no address of this machine"), ("no.such.host.invalid", "fails")]
)
def test_an_address_that_is_not_ours_is_one_sentence(host: str, text: str) -> None:
    with pytest.raises(StartupError, match=text):
        PanelServer(hello, ApiSettings(host=host, port=0))


def test_every_stream_has_a_thread_and_requests_keep_theirs(run: Callable[..., Running]) -> None:
    stream = Stream()
    running = run(stream, threads=2, max_streams=12)
    followers = [running.open_stream() for _ in range(12)]
    assert all(follower.readline() == b"tick\n" for follower in followers)
    assert stream.open == 12
    assert running.get()[2] == b"hello"
    stream.closing.set()
    assert all(follower.read().endswith(b"end\n") for follower in followers)


def test_a_client_that_leaves_frees_its_thread(run: Callable[..., Running]) -> None:
    stream = Stream(pause=0.05)
    running = run(stream)
    answer = running.open_stream()
    assert answer.readline() == b"tick\n"
    answer.close()
    running.connections[-1].close()
    until(lambda: stream.open == 0, seconds=2)


def test_a_client_that_does_not_read_makes_the_stream_wait(run: Callable[..., Running]) -> None:
    stream = Stream(chunk=b"x" * 65536, pause=0.0)
    running = run(stream)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        slow.connect(("127.0.0.1", running.port))
        slow.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: stream.written > 0)
        last = -1
        while stream.written != last:
            last = stream.written
            time.sleep(0.1)
        # What is unsent here, and what the kernel holds for both ends.
        assert stream.written < 16 * server.MAX_UNSENT
    until(lambda: stream.open == 0)


def test_the_end_lets_a_running_request_finish_and_takes_no_more(run: Callable[..., Running]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        entered.set()
        assert leave.wait(5)
        return hello(environ, start_response)

    running = run(slow)
    connection = running.connect()
    connection.request("GET", "/")
    assert entered.wait(5)
    running.server.stop()
    assert running.closing.wait(5)
    with pytest.raises(ConnectionRefusedError):
        running.get()
    assert running.thread.is_alive()
    leave.set()
    assert connection.getresponse().read() == b"hello"
    running.thread.join(5)
    assert not running.thread.is_alive()


def test_the_end_reaches_streams_as_their_last_line(run: Callable[..., Running]) -> None:
    stream = Stream()
    running = run(stream)
    stream.closing = running.closing
    answer = running.open_stream()
    assert answer.readline() == b"tick\n"
    running.server.stop()
    assert answer.read().endswith(b"end\n")
    running.thread.join(5)
    assert not running.thread.is_alive()


def test_the_end_does_not_wait_for_kept_connections(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    running = run(hello)
    connection = running.connect()
    connection.request("GET", "/")
    connection.getresponse().read()
    running.end()
    assert "still run" not in caplog.text


def test_the_end_cuts_off_what_runs_too_long(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "DRAIN_WITHIN", 0.2)
    entered, leave = threading.Event(), threading.Event()

    def stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        entered.set()
        leave.wait(10)
        return hello(environ, start_response)

    running = run(stuck)
    connection = running.connect()
    connection.request("GET", "/")
    assert entered.wait(5)
    running.end()
    assert "still run" in caplog.text
    leave.set()


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify_systemd("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_systemd_may_be_absent_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_systemd("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify_systemd("READY=1")


@pytest.fixture
def own_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in ("waitress", "waitress.queue")}
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("own_logging")
def test_log_lines_carry_the_request_and_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    with Flask("test").test_request_context():
        g.flatrun_request_id = "abc123"
        logging.getLogger("flatrun.test").info("path %s", "/x\n2026-01-01 forged\x1b[31m")
    logging.getLogger("flatrun.test").info("outside")
    first, second = capsys.readouterr().err.splitlines()
    assert "flatrun.test [abc123] path /x\\n2026-01-01 forged\\x1b[31m" in first
    assert second.endswith("flatrun.test outside")
    assert second[10] == "T"


def test_the_access_log_leaves_the_query_out(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flatrun.access")
    running = run(server._logged(hello))
    running.get("/some/path?token=secret")
    until(lambda: "/some/path" in caplog.text)
    assert "127.0.0.1 GET /some/path 200" in caplog.text
    assert "secret" not in caplog.text

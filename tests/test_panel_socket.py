"""The socket by which the proxy reaches the panel: who gets there, and how it comes and goes."""

import http.client
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.api.client_address import BY_SOCKET
from flatrun_core.errors import StartupError
from flatrun_core.panel_socket import PEER, PanelSocket
from flatrun_core.ports.proxy import PANEL_SOCKET_FOLDER, PANEL_SOCKET_NAME
from flatrun_core.server import MAX_BODY, PanelServer
from flatrun_core.settings import ApiSettings

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Client(http.client.HTTPConnection):
    """HTTP to a socket, whose path may be of any length."""

    def __init__(self, path: Path) -> None:
        super().__init__("panel.example.com", timeout=10)
        self.path = path

    def connect(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(10)
            self.sock.connect(f"/proc/self/fd/{folder}/{self.path.name}")
        except BaseException:
            self.sock.close()
            raise
        finally:
            os.close(folder)


def ask(path: Path, target: str = "/", **headers: str) -> tuple[int, bytes]:
    client = Client(path)
    try:
        client.request(
            "GET", target, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def hello(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


class Seen:
    """An application that keeps the environments of its requests."""

    def __init__(self) -> None:
        self.environs: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.environs.append(dict(environ))
        return hello(environ, start_response)


class Running:
    """A server with the socket of a deployments root, in a thread."""

    def __init__(self, application: Application, root: Path, **settings: Any) -> None:
        self.server = PanelServer(application, ApiSettings(host="127.0.0.1", port=0, **settings))
        self.socket = PanelSocket(root)
        self.listens = self.server.listen_on(self.socket)
        self.path = self.socket.path
        self.port = int(self.server.addresses[0].rpartition(":")[2])
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.server.run, args=(self.closing.set,))
        self.thread.start()

    def end(self) -> None:
        if self.thread.is_alive():
            self.server.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.server.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "sites"
    (made / ".flatrun").mkdir(mode=0o700, parents=True)
    return made


@pytest.fixture
def run(root: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(application: Application = hello, at: Path = root, **settings: Any) -> Running:
        running.append(Running(application, at, **settings))
        return running[-1]

    yield start
    for one in running:
        one.end()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.01)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_answers_on_both_ways(run: Callable[..., Running], root: Path) -> None:
    running = run()
    assert running.path == root / PANEL_SOCKET_FOLDER / PANEL_SOCKET_NAME
    assert ask(running.path) == (200, b"hello")
    tcp = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    tcp.request("GET", "/")
    assert tcp.getresponse().read() == b"hello"
    tcp.close()
    assert len(running.server.addresses) == 1


def test_everybody_may_connect_who_gets_to_the_folder(run: Callable[..., Running], root: Path) -> None:
    before = os.umask(0o077)
    try:
        running = run()
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(running.path.stat().st_mode)
    assert (mode(running.path), mode(running.path.parent), mode(root / ".flatrun")) == (0o666, 0o711, 0o700)
    assert os.listdir(running.path.parent) == [PANEL_SOCKET_NAME]  # noqa: PTH208


def test_a_root_with_a_path_longer_than_an_address_works(run: Callable[..., Running], tmp_path: Path) -> None:
    root = tmp_path / ("long" * 30) / ("path" * 30)
    running = run(at=root)
    assert len(str(running.path)) > 300
    assert ask(running.path) == (200, b"hello")
    running.end()
    assert not running.path.exists()


def test_only_requests_of_the_socket_are_marked_and_no_header_can(run: Callable[..., Running]) -> None:
    seen = Seen()
    running = run(seen)
    claims = {
        BY_SOCKET: "true",
        "flatrun_by_socket": "true",
        "Flatrun-By-Socket": "true",
        "REMOTE_ADDR": "unix",
    }
    ask(running.path, X_Forwarded_For="198.51.100.7")
    tcp = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    tcp.request("GET", "/", headers={**claims, "X-Forwarded-For": "198.51.100.7"})
    tcp.getresponse().read()
    tcp.close()
    socket_environ, tcp_environ = seen.environs
    assert (socket_environ[BY_SOCKET], socket_environ["REMOTE_ADDR"]) == (True, PEER)
    assert socket_environ["HTTP_X_FORWARDED_FOR"] == "198.51.100.7"
    assert BY_SOCKET not in tcp_environ
    assert tcp_environ["REMOTE_ADDR"] == "127.0.0.1"


def test_the_same_limits_hold(run: Callable[..., Running]) -> None:
    running = run()
    for head, status in (
        (f"POST / HTTP/1.1\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n", b"413"),
        (f"GET / HTTP/1.1\r\nA: {'x' * 70_000}\r\n\r\n", b"431"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
    ):
        client = Client(running.path)
        client.connect()
        client.sock.sendall(head.encode())
        answer = b""
        while data := client.sock.recv(65536):
            answer += data
        client.close()
        assert answer.split()[1] == status
        assert b'"code":' in answer


class Stream:
    """Ticks until told to end or the client has gone."""

    def __init__(self) -> None:
        self.closing = threading.Event()
        self.open = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != "/stream":
            return hello(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return self.body(environ["waitress.client_disconnected"])

    def body(self, gone: Callable[[], bool]) -> Iterator[bytes]:
        self.open += 1
        try:
            while not self.closing.wait(0.02) and not gone():
                yield b"tick\n"
            yield b"end\n"
        finally:
            self.open -= 1


def follow(path: Path) -> tuple[Client, http.client.HTTPResponse]:
    client = Client(path)
    client.request("GET", "/stream")
    return client, client.getresponse()


def test_streams_come_as_they_are_made_and_end_with_their_client(run: Callable[..., Running]) -> None:
    stream = Stream()
    running = run(stream)
    client, answer = follow(running.path)
    assert [answer.readline() for _ in range(3)] == [b"tick\n"] * 3
    assert ask(running.path) == (200, b"hello")
    answer.close()
    client.close()
    until(lambda: stream.open == 0)


def test_the_end_reaches_streams_of_the_socket_as_their_last_line(run: Callable[..., Running]) -> None:
    stream = Stream()
    running = run(stream)
    stream.closing = running.closing
    client, answer = follow(running.path)
    assert answer.readline() == b"tick\n"
    running.server.stop()
    assert answer.read().endswith(b"end\n")
    client.close()
    running.thread.join(5)
    assert not running.thread.is_alive()


def test_the_end_takes_the_socket_away_and_lets_what_runs_finish(run: Callable[..., Running]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        entered.set()
        assert leave.wait(5)
        return hello(environ, start_response)

    running = run(slow)
    client = Client(running.path)
    client.request("GET", "/")
    assert entered.wait(5)
    running.server.stop()
    assert running.closing.wait(5)
    assert not running.path.exists()
    leave.set()
    assert client.getresponse().read() == b"hello"
    client.close()
    running.thread.join(5)
    assert not running.thread.is_alive()


def test_a_new_panel_follows_on_the_old_one(run: Callable[..., Running]) -> None:
    for _ in range(3):
        running = run()
        assert running.listens
        assert ask(running.path) == (200, b"hello")
        running.end()
        assert not running.path.exists()


@pytest.mark.parametrize("left", [PANEL_SOCKET_NAME, f"{PANEL_SOCKET_NAME}.new"])
@pytest.mark.parametrize("kind", ["socket", "file", "link"])
def test_what_a_killed_panel_left_is_replaced(
    run: Callable[..., Running], root: Path, left: str, kind: str
) -> None:
    folder = root / PANEL_SOCKET_FOLDER
    folder.mkdir()
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as dead, pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            dead.bind(left)
    elif kind == "file":
        (folder / left).write_text("")
    else:
        (folder / left).symlink_to("/nowhere")
    running = run()
    assert ask(running.path) == (200, b"hello")
    assert os.listdir(folder) == [PANEL_SOCKET_NAME]  # noqa: PTH208


def test_the_socket_of_a_living_panel_is_not_taken(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    first = run()
    second = run()
    assert (first.listens, second.listens) == (True, False)
    assert "another panel that runs has it" in caplog.text
    second.end()
    assert ask(first.path) == (200, b"hello")


def test_a_socket_that_somebody_else_put_there_stays(root: Path) -> None:
    mine = PanelSocket(root)
    listening = mine.open()
    mine.path.unlink()
    mine.path.write_text("somebody else's")
    mine.close()
    mine.close()
    listening.close()
    assert mine.path.read_text() == "somebody else's"


def test_one_that_was_refused_takes_nothing_away(root: Path) -> None:
    first, second = PanelSocket(root), PanelSocket(root)
    listening = first.open()
    with pytest.raises(StartupError):
        second.open()
    second.close()
    assert first.path.is_socket()
    first.close()
    listening.close()


@pytest.mark.parametrize("obstacle", ["file", "link", "folder"])
def test_without_the_socket_the_panel_says_why_and_serves_tcp(
    run: Callable[..., Running], root: Path, obstacle: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    folder = root / PANEL_SOCKET_FOLDER
    if obstacle == "file":
        folder.write_text("")
    elif obstacle == "link":
        folder.symlink_to(root)
    else:
        (folder / PANEL_SOCKET_NAME).mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert not PanelServerProbe(root).listens
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    running = run()
    assert not running.listens
    assert f"{PANEL_SOCKET_NAME} cannot be had: " in caplog.text
    tcp = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    tcp.request("GET", "/")
    assert tcp.getresponse().status == 200
    tcp.close()


class PanelServerProbe:
    """A server that never runs."""

    def __init__(self, root: Path) -> None:
        server = PanelServer(hello, ApiSettings(host="127.0.0.1", port=0))
        try:
            self.listens = server.listen_on(PanelSocket(root))
        finally:
            server.close()

"""The Engine's door over a socket that a test holds: failures, streams, and the watcher."""

import contextlib
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.docker import DockerEngine, Watcher
from flatrun_core.docker.client import EngineClient
from flatrun_core.errors import Conflict, DockerUnavailable, Failed, FlatrunError, Invalid, NotFound
from flatrun_core.ports.docker import EngineEvent

ID = "a" * 64


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
def stub(socket_path: Path) -> Iterator[Stub]:
    server = Stub(str(socket_path))
    yield server
    server.close()


@pytest.fixture
def engine(socket_path: Path) -> Iterator[DockerEngine]:
    made = DockerEngine(EngineClient(f"unix://{socket_path}", environ={}, timeout=0.3))
    yield made
    made.close()


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


READS: list[Callable[[DockerEngine], Any]] = [
    lambda e: e.containers(),
    lambda e: e.info(),
    lambda e: e.container("web"),
    lambda e: e.inspect(ID),
    lambda e: e.networks(),
    lambda e: e.volumes("p"),
    lambda e: e.image_exists("a/b:c"),
    lambda e: e.logs(ID),
    lambda e: e.follow(ID),
    lambda e: e.stop(ID),
    lambda e: e.restart(ID),
]


class TestUnreachable:
    @pytest.mark.parametrize("call", [*READS, lambda e: e.start(ID), lambda e: e.ensure_network("n")])
    def test_nobody_listening_fails_at_once(
        self, engine: DockerEngine, call: Callable[[DockerEngine], Any]
    ) -> None:
        with pytest.raises(DockerUnavailable) as caught:
            call(engine)
        assert (
            caught.value.message
            == "The Docker Engine cannot be reached (no such file or directory). Is it running?"
        )

    def test_a_socket_without_an_engine(self, engine: DockerEngine, stub: Stub) -> None:
        stub.close()
        with pytest.raises(DockerUnavailable, match="connection refused"):
            engine.info()

    @pytest.mark.parametrize("call", READS)
    def test_an_engine_that_hangs_is_not_waited_for(
        self, engine: DockerEngine, stub: Stub, call: Callable[[DockerEngine], Any]
    ) -> None:
        stub.answers = dict.fromkeys(
            [
                "/info",
                "/containers/json",
                f"/containers/{ID}/json",
                "/networks",
                "/volumes",
                "/images/a/b:c/json",
            ],
            stub.hang,
        )
        engine.client.api_version  # noqa: B018 - negotiated while it answers
        with pytest.raises(DockerUnavailable, match="did not answer"):
            call(engine)

    def test_an_engine_that_hangs_from_the_beginning(self, engine: DockerEngine, stub: Stub) -> None:
        stub.answers = {}
        stub.RequestHandlerClass = _Silent
        with pytest.raises(DockerUnavailable, match="did not answer"):
            engine.containers()

    def test_it_comes_back_without_our_doing(self, engine: DockerEngine, socket_path: Path) -> None:
        with pytest.raises(DockerUnavailable):
            engine.containers()
        server = Stub(str(socket_path))
        server.answers["/containers/json"] = []
        assert engine.containers() == ()
        server.close()
        socket_path.unlink()
        with pytest.raises(DockerUnavailable):
            engine.containers()
        server = Stub(str(socket_path))
        server.answers["/containers/json"] = []
        assert engine.containers() == ()
        server.close()

    def test_a_kept_connection_that_died_is_made_anew(self, engine: DockerEngine, stub: Stub) -> None:
        def once(request: Request) -> None:
            request.reply([])
            request.close_connection = True  # without having said so

        stub.answers["/containers/json"] = once
        for _ in range(10):
            assert engine.containers() == ()

    def test_a_connection_that_breaks_in_an_answer(self, engine: DockerEngine, stub: Stub) -> None:
        def half(request: Request) -> None:
            request.send_response(200)
            request.send_header("Content-Length", "1000")
            request.end_headers()
            request.wfile.write(b'[{"Id":')
            request.close_connection = True

        stub.answers["/containers/json"] = half
        with pytest.raises(DockerUnavailable, match="connection broke"):
            engine.containers()

    @pytest.mark.parametrize("body", [b"<html>", b"\xff"])
    def test_an_answer_of_something_else(self, engine: DockerEngine, stub: Stub, body: bytes) -> None:
        stub.answers["/networks"] = body
        with pytest.raises(DockerUnavailable, match="not JSON"):
            engine.networks()


class _Silent(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.server.released.wait(10)  # type: ignore[attr-defined]


TAKEN = "Bind for 1.2.3.4:8 failed: port is already allocated"
UNREADABLE = "configured logging driver does not support reading"
REFUSALS: list[tuple[str, str, int, str, type[FlatrunError], str]] = [
    ("start", "/start", 404, "No such container: x", NotFound, "CONTAINER_NOT_FOUND"),
    ("start", "/start", 404, "network n not found", Failed, "DOCKER_ERROR"),
    ("start", "/start", 409, "cannot start a paused container", Failed, "DOCKER_ERROR"),
    ("start", "/start", 500, TAKEN, Conflict, "PORT_IN_USE"),
    ("stop", "/stop", 500, "cannot stop container", Failed, "DOCKER_ERROR"),
    ("restart", "/restart", 500, "no", Failed, "DOCKER_ERROR"),
    ("remove", "", 409, "You cannot remove a running container", Conflict, "CONTAINER_RUNNING"),
    ("remove", "", 500, "driver failed to remove root filesystem", Failed, "DOCKER_ERROR"),
    ("logs", "/logs", 500, UNREADABLE, Failed, "LOGS_UNAVAILABLE"),
    ("stats", "/stats", 404, "No such container: x", NotFound, "CONTAINER_NOT_FOUND"),
]


class TestRefusals:
    @pytest.mark.parametrize("case", REFUSALS, ids=lambda case: f"{case[0]}-{case[2]}-{case[5]}")
    def test_become_the_projects_errors(
        self, engine: DockerEngine, stub: Stub, case: tuple[str, str, int, str, type[FlatrunError], str]
    ) -> None:
        call, path, status, message, kind, code = case
        config = {"Id": ID, "Config": {"Tty": False}, "HostConfig": {"LogConfig": {"Type": "none"}}}
        stub.answers[f"/containers/{ID}/json"] = config
        stub.answers[f"/containers/{ID}{path}"] = ({"message": message}, status)
        with pytest.raises(kind) as caught:
            getattr(engine, call)(ID)
        assert type(caught.value) is kind
        assert caught.value.code == code

    def test_one_that_is_being_removed_already_is_no_error(self, engine: DockerEngine, stub: Stub) -> None:
        message = {"message": f"removal of container {ID} is already in progress"}
        stub.answers[f"/containers/{ID}"] = (message, 409)
        engine.remove(ID)

    @pytest.mark.parametrize("body", [b"", b"plain words", b"[]", b'{"message": ""}', b'{"error": "x"}'])
    def test_without_a_message(self, engine: DockerEngine, stub: Stub, body: bytes) -> None:
        stub.answers["/networks"] = (body, 500)
        with pytest.raises(Failed, match="The Docker Engine refused: status 500"):
            engine.networks()

    def test_a_network_made_by_somebody_else_meanwhile(self, engine: DockerEngine, stub: Stub) -> None:
        stub.answers["/networks"] = []
        stub.answers["/networks/create"] = ({"message": "network with name n already exists"}, 409)
        assert engine.ensure_network("n") is False

    def test_no_addresses_left(self, engine: DockerEngine, stub: Stub) -> None:
        text = "could not find an available, non-overlapping IPv4 address pool among the defaults"
        stub.answers |= {"/networks": [], "/networks/create": ({"message": text}, 500)}
        with pytest.raises(Failed, match="default-address-pools") as caught:
            engine.ensure_network("n")
        assert caught.value.code == "NETWORK_POOL_EXHAUSTED"

    @pytest.mark.parametrize("name", ["", "../containers/json", "a/b", "a\n", "a?b", "-x"])
    def test_names_that_are_none_never_reach_the_engine(
        self, engine: DockerEngine, stub: Stub, name: str
    ) -> None:
        for call in (
            engine.ensure_network,
            engine.remove_network,
            lambda n: engine.connect_network(n, ID, []),
        ):
            with pytest.raises(Invalid):
                call(name)
        assert stub.requests == []

    @pytest.mark.parametrize(
        "ref", ["", "../x", "a/../b", "a//b", "/a", "a b", "a?x", "a\n", "é", "a" + "/" * 50]
    )
    def test_what_is_no_image_is_not_there(self, engine: DockerEngine, stub: Stub, ref: str) -> None:
        assert engine.image_exists(ref) is False
        assert stub.requests == []

    @pytest.mark.parametrize("ref", ["nginx", "a.b:5000/x/y:1.2-3", f"x@sha256:{ID}", "x__y", f"sha256:{ID}"])
    def test_images_by_any_name(self, engine: DockerEngine, stub: Stub, ref: str) -> None:
        stub.answers[f"/images/{ref}/json"] = {"Id": "x"}
        assert engine.image_exists(ref) is True


class TestLimits:
    @pytest.mark.parametrize(
        ("grace", "limit"), [(None, 40.0), (1, 31.0), (300, 330.0), (-1, 600.0), (100_000, 630.0)]
    )
    def test_stopping_waits_for_the_containers_own_grace(
        self, engine: DockerEngine, stub: Stub, grace: int | None, limit: float
    ) -> None:
        stub.answers[f"/containers/{ID}/json"] = {"Config": {"StopTimeout": grace}}
        assert engine._stop_limit(ID) == limit

    def test_info_is_asked_once_a_minute(self, engine: DockerEngine, stub: Stub) -> None:
        stub.answers["/info"] = {
            "ServerVersion": "20.10",
            "NCPU": 2,
            "MemTotal": 5,
            "CgroupDriver": "cgroupfs",
        }
        for _ in range(3):
            info = engine.info()
        assert (info.version, info.api_version, info.cgroup_version, info.cpus) == ("20.10", "1.41", "1", 2)
        assert stub.asked("/info") == 1


def log_answers(stub: Stub, answer: Callable[[Request], None]) -> None:
    stub.answers[f"/containers/{ID}/json"] = {"Id": ID, "Config": {"Tty": True}}
    stub.answers[f"/containers/{ID}/logs"] = answer


def silent_log(stub: Stub) -> threading.Event:
    """A log to which nothing comes; the event tells that its reader has gone."""
    gone = threading.Event()

    def silent(request: Request) -> None:
        request.stream()
        request.connection.recv(1)
        gone.set()

    log_answers(stub, silent)
    return gone


class TestFollow:
    def test_a_silent_container_does_not_time_out(self, engine: DockerEngine, stub: Stub) -> None:
        def late(request: Request) -> None:
            request.stream()
            time.sleep(0.6)
            request.chunk(b"2024-01-01T00:00:00.000000000Z hello\r\n")
            request.chunk(b"")

        log_answers(stub, late)
        assert [line.line for line in engine.follow(ID)] == ["hello"]

    def test_an_engine_that_goes_is_told(self, engine: DockerEngine, stub: Stub) -> None:
        def broken(request: Request) -> None:
            request.stream()
            request.chunk(b"2024-01-01T00:00:00.000000000Z hello\r\n")
            request.close_connection = True

        log_answers(stub, broken)
        lines = iter(engine.follow(ID))
        assert next(lines).line == "hello"
        with pytest.raises(DockerUnavailable):
            next(lines)

    def test_closing_ends_the_connection_of_a_reader_at_once(self, engine: DockerEngine, stub: Stub) -> None:
        gone = silent_log(stub)
        followed = engine.follow(ID)
        ended: list[Any] = []
        reader = threading.Thread(target=lambda: ended.append(list(followed)))
        reader.start()
        time.sleep(0.05)
        followed.close()
        reader.join(5)
        assert gone.wait(5)
        assert ended == [[]]

    def test_closing_what_was_never_read_ends_the_connection(self, engine: DockerEngine, stub: Stub) -> None:
        gone = silent_log(stub)
        followed = engine.follow(ID)
        followed.close()
        assert gone.wait(5)
        assert list(followed) == []

    def test_the_engine_is_asked_for_both_streams_from_the_end(
        self, engine: DockerEngine, stub: Stub
    ) -> None:
        log_answers(stub, lambda request: request.reply(b""))
        list(engine.follow(ID, since="2024-01-01T00:00:00Z"))
        list(engine.follow(ID))
        engine.logs(ID, tail=5, until="2024-01-01T00:00:00Z")
        queries = [path.partition("?")[2] for _, path, _ in stub.requests if "/logs" in path]
        assert queries == [
            "stdout=1&stderr=1&timestamps=1&tail=10000&follow=1&since=1704067200.000000001",
            "stdout=1&stderr=1&timestamps=1&tail=0&follow=1",
            "stdout=1&stderr=1&timestamps=1&tail=5&until=1704067200.000000000",
        ]


class EventSource:
    """The stub's event stream; a test sends through it and may break it."""

    def __init__(self, stub: Stub) -> None:
        self.connections: list[Request] = []
        self.gone = threading.Semaphore(0)
        stub.answers |= {"/events": self, "/containers/json": []}

    def __call__(self, request: Request) -> None:
        request.stream()
        self.connections.append(request)
        request.connection.recv(1)
        request.close_connection = True
        self.gone.release()

    def send(self, data: bytes) -> None:
        self.connections[-1].chunk(data)

    def event(self, action: str, kind: str = "container", **attributes: str) -> None:
        actor = {"ID": ID, "Attributes": attributes}
        raw = {"Type": kind, "Action": action, "Actor": actor, "time": 7, "timeNano": 7_500_000_000}
        self.send(json.dumps(raw).encode() + b"\n")

    def hang_up(self) -> None:
        connection = self.connections[-1].connection
        connection.shutdown(2)


class TestWatcher:
    @pytest.fixture
    def source(self, stub: Stub) -> EventSource:
        return EventSource(stub)

    @pytest.fixture
    def events(self, engine: DockerEngine) -> list[EngineEvent]:
        seen: list[EngineEvent] = []
        engine.subscribe(seen.append)
        return seen

    @pytest.fixture
    def watcher(
        self, engine: DockerEngine, source: EventSource, events: list[EngineEvent]
    ) -> Iterator[Watcher]:
        made = Watcher(engine)
        made.start()
        wait_for(lambda: events and events[-1].action == "connected")
        yield made
        made.stop()

    @pytest.fixture
    def quiet(self, watcher: Watcher, engine: DockerEngine, stub: Stub) -> Callable[[], int]:
        """Lets an answer be kept, and tells how often the Engine was asked since."""
        engine._kept._touched -= 1000
        engine.containers()
        before = stub.asked("/containers/json")
        engine.containers()
        assert stub.asked("/containers/json") == before

        def asked() -> int:
            engine.containers()
            return stub.asked("/containers/json") - before

        return asked

    def test_events_are_told_and_drop_the_list(
        self, quiet: Callable[[], int], source: EventSource, events: list[EngineEvent]
    ) -> None:
        source.event("health_status: unhealthy", name="web")
        wait_for(lambda: len(events) == 2)
        assert events[1] == EngineEvent(
            "health_status", ID, {"name": "web", "health_status": "unhealthy"}, 7.5
        )
        assert quiet() == 1

    @pytest.mark.parametrize(
        "action", ["exec_create: sh -c x", "exec_start: x", "exec_die", "top", "attach", "resize"]
    )
    def test_chatter_is_neither_told_nor_drops_anything(
        self, quiet: Callable[[], int], source: EventSource, events: list[EngineEvent], action: str
    ) -> None:
        source.event(action)
        source.event("kill", signal="1")
        wait_for(lambda: len(events) == 2)
        assert [event.action for event in events] == ["connected", "kill"]
        assert quiet() == 0

    @pytest.mark.parametrize("action", ["connect", "disconnect"])
    def test_networks_that_containers_join_drop_the_list(
        self, quiet: Callable[[], int], source: EventSource, events: list[EngineEvent], action: str
    ) -> None:
        source.event(action, kind="network", container=ID)
        wait_for(lambda: quiet() == 1)
        assert len(events) == 1

    def test_events_cut_anywhere(
        self, watcher: Watcher, source: EventSource, events: list[EngineEvent]
    ) -> None:
        raw = b"".join(
            json.dumps({"Type": "container", "Action": "start", "Actor": {"ID": str(n)}}).encode() + b"\n"
            for n in range(20)
        )
        for at in range(0, len(raw), 7):
            source.send(raw[at : at + 7])
        wait_for(lambda: len(events) == 21)
        assert [event.container_id for event in events[1:]] == [str(n) for n in range(20)]

    @pytest.mark.parametrize("line", [b"{", b"[1]", b"null", b"\xff", b'"x"'])
    def test_an_event_that_is_not_understood_drops_the_list(
        self, quiet: Callable[[], int], source: EventSource, events: list[EngineEvent], line: bytes
    ) -> None:
        source.send(line + b"\n")
        wait_for(lambda: quiet() == 1)
        source.event("start")
        wait_for(lambda: len(events) == 2)

    def test_a_listener_that_fails_harms_nobody(
        self, engine: DockerEngine, watcher: Watcher, source: EventSource, events: list[EngineEvent]
    ) -> None:
        def fail(event: EngineEvent) -> None:
            raise RuntimeError

        engine.subscribe(fail)
        last: list[EngineEvent] = []
        engine.subscribe(last.append)
        source.event("start")
        wait_for(lambda: last)
        assert events[-1].action == "start"

    def test_a_stream_that_breaks_is_opened_again(
        self, quiet: Callable[[], int], source: EventSource, stub: Stub, events: list[EngineEvent]
    ) -> None:
        source.hang_up()
        wait_for(lambda: [e.action for e in events] == ["connected", "disconnected", "connected"])
        assert quiet() == 1
        source.event("start")
        wait_for(lambda: events[-1].action == "start")

    def test_without_the_stream_every_call_asks(
        self, quiet: Callable[[], int], source: EventSource, stub: Stub, events: list[EngineEvent]
    ) -> None:
        stub.answers["/events"] = ({"message": "no"}, 500)
        source.hang_up()
        wait_for(lambda: events[-1].action == "disconnected")
        assert [quiet(), quiet(), quiet()] == [1, 2, 3]
        stub.answers["/events"] = source
        wait_for(lambda: events[-1].action == "connected")

    def test_an_engine_that_starts_later_is_found(self, engine: DockerEngine, socket_path: Path) -> None:
        seen: list[EngineEvent] = []
        engine.subscribe(seen.append)
        watcher = Watcher(engine)
        watcher.start()
        time.sleep(0.3)
        server = Stub(str(socket_path))
        EventSource(server)
        wait_for(lambda: [event.action for event in seen] == ["connected"])
        watcher.stop()
        server.close()

    def test_it_asks_for_what_it_needs_only(self, watcher: Watcher, stub: Stub) -> None:
        from urllib.parse import parse_qs

        (path,) = (path for _, path, _ in stub.requests if path.startswith("/events"))
        query = parse_qs(path.partition("?")[2])
        wanted = json.loads(query["filters"][0])
        assert wanted["type"] == ["container", "network"]
        assert {"start", "die", "health_status", "connect"} <= set(wanted["event"])
        assert not any(name.startswith(("exec", "top")) for name in wanted["event"])
        assert time.time() - 10 < float(query["since"][0]) <= time.time()

    def test_stopping_closes_the_connection_at_once(self, watcher: Watcher, source: EventSource) -> None:
        watcher.stop()
        assert source.gone.acquire(timeout=5)
        assert not [
            thread for thread in threading.enumerate() if thread.name == "docker-events" and thread.is_alive()
        ]

    def test_it_can_be_started_and_stopped_again(
        self, watcher: Watcher, events: list[EngineEvent], source: EventSource
    ) -> None:
        watcher.start()
        watcher.stop()
        watcher.stop()
        watcher.start()
        wait_for(lambda: [event.action for event in events][-2:] == ["disconnected", "connected"])
        assert len(source.connections) == 2

    def test_stopping_while_nobody_answers(self, engine: DockerEngine) -> None:
        watcher = Watcher(engine)
        watcher.start()
        time.sleep(0.05)
        watcher.stop()

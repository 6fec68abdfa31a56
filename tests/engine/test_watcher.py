"""The watcher of the Engine's events, which keeps the list of containers true."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flatrun_core.docker import DockerEngine, Watcher
from flatrun_core.ports.docker import EngineEvent

ID = "a" * 64


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


class EventSource:
    """The stub's event stream; a test sends through it and may break it."""

    def __init__(self, stub: Any) -> None:
        self.connections: list[Any] = []
        self.gone = threading.Semaphore(0)
        stub.answers |= {"/events": self, "/containers/json": []}

    def __call__(self, request: Any) -> None:
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
    def source(self, stub: Any) -> EventSource:
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
    def quiet(self, watcher: Watcher, engine: DockerEngine, stub: Any) -> Callable[[], int]:
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
        self, quiet: Callable[[], int], source: EventSource, stub: Any, events: list[EngineEvent]
    ) -> None:
        source.hang_up()
        wait_for(lambda: [e.action for e in events] == ["connected", "disconnected", "connected"])
        assert quiet() == 1
        source.event("start")
        wait_for(lambda: events[-1].action == "start")

    def test_without_the_stream_every_call_asks(
        self, quiet: Callable[[], int], source: EventSource, stub: Any, events: list[EngineEvent]
    ) -> None:
        stub.answers["/events"] = ({"message": "no"}, 500)
        source.hang_up()
        wait_for(lambda: events[-1].action == "disconnected")
        assert [quiet(), quiet(), quiet()] == [1, 2, 3]
        stub.answers["/events"] = source
        wait_for(lambda: events[-1].action == "connected")

    def test_an_engine_that_starts_later_is_found(self, engine: DockerEngine, listen: Any) -> None:
        seen: list[EngineEvent] = []
        engine.subscribe(seen.append)
        watcher = Watcher(engine)
        watcher.start()
        time.sleep(0.3)
        server = listen()
        EventSource(server)
        wait_for(lambda: [event.action for event in seen] == ["connected"])
        watcher.stop()
        server.close()

    def test_it_asks_for_what_it_needs_only(self, watcher: Watcher, stub: Any) -> None:
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

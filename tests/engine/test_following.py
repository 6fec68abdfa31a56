"""The log of a container, followed through the Engine's socket."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core.docker import DockerEngine
from flatrun_core.errors import DockerUnavailable

ID = "a" * 64


def log_answers(stub: Any, answer: Callable[[Any], None]) -> None:
    stub.answers[f"/containers/{ID}/json"] = {"Id": ID, "Config": {"Tty": True}}
    stub.answers[f"/containers/{ID}/logs"] = answer


def silent_log(stub: Any) -> threading.Event:
    """A log to which nothing comes; the event tells that its reader has gone."""
    gone = threading.Event()

    def silent(request: Any) -> None:
        request.stream()
        request.connection.recv(1)
        gone.set()

    log_answers(stub, silent)
    return gone


class TestFollow:
    def test_a_silent_container_does_not_time_out(self, engine: DockerEngine, stub: Any) -> None:
        def late(request: Any) -> None:
            request.stream()
            time.sleep(0.6)
            request.chunk(b"2024-01-01T00:00:00.000000000Z hello\r\n")
            request.chunk(b"")

        log_answers(stub, late)
        assert [line.line for line in engine.follow(ID)] == ["hello"]

    def test_an_engine_that_goes_is_told(self, engine: DockerEngine, stub: Any) -> None:
        def broken(request: Any) -> None:
            request.stream()
            request.chunk(b"2024-01-01T00:00:00.000000000Z hello\r\n")
            request.close_connection = True

        log_answers(stub, broken)
        lines = iter(engine.follow(ID))
        assert next(lines).line == "hello"
        with pytest.raises(DockerUnavailable):
            next(lines)

    def test_closing_ends_the_connection_of_a_reader_at_once(self, engine: DockerEngine, stub: Any) -> None:
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

    def test_closing_what_was_never_read_ends_the_connection(self, engine: DockerEngine, stub: Any) -> None:
        gone = silent_log(stub)
        followed = engine.follow(ID)
        followed.close()
        assert gone.wait(5)
        assert list(followed) == []

    def test_the_engine_is_asked_for_both_streams_from_the_end(self, engine: DockerEngine, stub: Any) -> None:
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

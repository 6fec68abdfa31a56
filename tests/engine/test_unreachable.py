"""An Engine that is not there, hangs, breaks off or talks of something else."""

import socketserver
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.docker import DockerEngine
from flatrun_core.errors import DockerUnavailable

ID = "a" * 64


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

    def test_a_socket_without_an_engine(self, engine: DockerEngine, stub: Any) -> None:
        stub.close()
        with pytest.raises(DockerUnavailable, match="connection refused"):
            engine.info()

    @pytest.mark.parametrize("call", READS)
    def test_an_engine_that_hangs_is_not_waited_for(
        self, engine: DockerEngine, stub: Any, call: Callable[[DockerEngine], Any]
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

    def test_an_engine_that_hangs_from_the_beginning(self, engine: DockerEngine, stub: Any) -> None:
        stub.answers = {}
        stub.RequestHandlerClass = _Silent
        with pytest.raises(DockerUnavailable, match="did not answer"):
            engine.containers()

    def test_it_comes_back_without_our_doing(
        self, engine: DockerEngine, socket_path: Path, listen: Any
    ) -> None:
        with pytest.raises(DockerUnavailable):
            engine.containers()
        server = listen()
        server.answers["/containers/json"] = []
        assert engine.containers() == ()
        server.close()
        socket_path.unlink()
        with pytest.raises(DockerUnavailable):
            engine.containers()
        server = listen()
        server.answers["/containers/json"] = []
        assert engine.containers() == ()
        server.close()

    def test_a_kept_connection_that_died_is_made_anew(self, engine: DockerEngine, stub: Any) -> None:
        def once(request: Any) -> None:
            request.reply([])
            request.close_connection = True  # without having said so

        stub.answers["/containers/json"] = once
        for _ in range(10):
            assert engine.containers() == ()

    def test_a_connection_that_breaks_in_an_answer(self, engine: DockerEngine, stub: Any) -> None:
        def half(request: Any) -> None:
            request.send_response(200)
            request.send_header("Content-Length", "1000")
            request.end_headers()
            request.wfile.write(b'[{"Id":')
            request.close_connection = True

        stub.answers["/containers/json"] = half
        with pytest.raises(DockerUnavailable, match="connection broke"):
            engine.containers()

    @pytest.mark.parametrize("body", [b"<html>", b"\xff"])
    def test_an_answer_of_something_else(self, engine: DockerEngine, stub: Any, body: bytes) -> None:
        stub.answers["/networks"] = body
        with pytest.raises(DockerUnavailable, match="not JSON"):
            engine.networks()


class _Silent(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.server.released.wait(10)  # type: ignore[attr-defined]

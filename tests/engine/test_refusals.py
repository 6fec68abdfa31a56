"""What the Engine refuses, and what never reaches it."""

from typing import Any

import pytest

from flatrun_core.docker import DockerEngine
from flatrun_core.errors import Conflict, Failed, FlatrunError, Invalid, NotFound

ID = "a" * 64


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
        self, engine: DockerEngine, stub: Any, case: tuple[str, str, int, str, type[FlatrunError], str]
    ) -> None:
        call, path, status, message, kind, code = case
        config = {"Id": ID, "Config": {"Tty": False}, "HostConfig": {"LogConfig": {"Type": "none"}}}
        stub.answers[f"/containers/{ID}/json"] = config
        stub.answers[f"/containers/{ID}{path}"] = ({"message": message}, status)
        with pytest.raises(kind) as caught:
            getattr(engine, call)(ID)
        assert type(caught.value) is kind
        assert caught.value.code == code

    def test_one_that_is_being_removed_already_is_no_error(self, engine: DockerEngine, stub: Any) -> None:
        message = {"message": f"removal of container {ID} is already in progress"}
        stub.answers[f"/containers/{ID}"] = (message, 409)
        engine.remove(ID)

    @pytest.mark.parametrize("body", [b"", b"plain words", b"[]", b'{"message": ""}', b'{"error": "x"}'])
    def test_without_a_message(self, engine: DockerEngine, stub: Any, body: bytes) -> None:
        stub.answers["/networks"] = (body, 500)
        with pytest.raises(Failed, match="The Docker Engine refused: status 500"):
            engine.networks()

    def test_a_network_made_by_somebody_else_meanwhile(self, engine: DockerEngine, stub: Any) -> None:
        stub.answers["/networks"] = []
        stub.answers["/networks/create"] = ({"message": "network with name n already exists"}, 409)
        assert engine.ensure_network("n") is False

    def test_no_addresses_left(self, engine: DockerEngine, stub: Any) -> None:
        text = "could not find an available, non-overlapping IPv4 address pool among the defaults"
        stub.answers |= {"/networks": [], "/networks/create": ({"message": text}, 500)}
        with pytest.raises(Failed, match="default-address-pools") as caught:
            engine.ensure_network("n")
        assert caught.value.code == "NETWORK_POOL_EXHAUSTED"

    @pytest.mark.parametrize("name", ["", "../containers/json", "a/b", "a\n", "a?b", "-x"])
    def test_names_that_are_none_never_reach_the_engine(
        self, engine: DockerEngine, stub: Any, name: str
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
    def test_what_is_no_image_is_not_there(self, engine: DockerEngine, stub: Any, ref: str) -> None:
        assert engine.image_exists(ref) is False
        assert stub.requests == []

    @pytest.mark.parametrize("ref", ["nginx", "a.b:5000/x/y:1.2-3", f"x@sha256:{ID}", "x__y", f"sha256:{ID}"])
    def test_images_by_any_name(self, engine: DockerEngine, stub: Any, ref: str) -> None:
        stub.answers[f"/images/{ref}/json"] = {"Id": "x"}
        assert engine.image_exists(ref) is True

"""The port of a creation: where it is published, and when it is in use."""

import contextlib
import errno
import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from flatrun_deployments import host_ports

# --- where it is published ---


def test_the_port_is_published_on_the_primary_service_by_the_override(bench: Any, free_port: int) -> None:
    bench.create(compose="services:\n  db: {image: x}\n  app: {image: y, expose: ['3000']}\n", port=free_port)
    override = (bench.root / "blog" / ".flatrun.override.yml").read_text()
    assert f"{free_port}:3000" in override
    assert "app" in override
    assert "db" not in override
    detail = bench.client.get("/api/deployments/blog").get_json()["deployment"]
    assert f"{free_port}:3000" in detail["services"][1]["ports"]


@pytest.mark.parametrize(
    ("compose", "metadata", "target"),
    [
        (
            "services:\n  a: {image: x, expose: ['81'], ports: ['9:82']}\n",
            {"networking": {"container_port": 99}},
            99,
        ),
        ("services:\n  a: {image: x, expose: ['81'], ports: ['9:82']}\n", {}, 81),
        ("services:\n  a: {image: x, ports: ['9:82']}\n", {}, 82),
        ("services:\n  a: {image: x}\n", {}, 80),
    ],
)
def test_the_container_port_is_chosen_in_the_contracts_order(
    bench: Any, free_port: int, compose: str, metadata: dict[str, Any], target: int
) -> None:
    bench.create(compose=compose, port=free_port, metadata=metadata)
    assert f"{free_port}:{target}" in (bench.root / "blog" / ".flatrun.override.yml").read_text()


def test_a_port_that_the_compose_text_publishes_itself_is_not_bound_twice(bench: Any, free_port: int) -> None:
    text = f"services:\n  a: {{image: x, expose: ['3000'], ports: ['${{P:-{free_port}}}:80']}}\n"
    bench.create(compose=text, port=free_port)
    assert not (bench.root / "blog" / ".flatrun.override.yml").exists()
    bench.refused(409, "PORT_IN_USE", name="other", compose=text, port=free_port)


# --- when it is in use ---


def test_a_port_of_another_deployment_is_in_use(bench: Any, free_port: int) -> None:
    bench.create(name="one", compose=f"services:\n  a: {{image: x, ports: ['127.0.0.1:{free_port}:80']}}\n")
    assert "'one'" in bench.refused(409, "PORT_IN_USE", port=free_port)
    bench.create(name="udp", compose=f"services:\n  a: {{image: x, ports: ['{free_port + 1}:80/udp']}}\n")
    bench.create(name="two", port=free_port + 1)
    assert "'two'" in bench.refused(409, "PORT_IN_USE", port=free_port + 1)


def test_a_port_bound_on_the_host_is_in_use(bench: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bench.refused(409, "PORT_IN_USE", port=listener.getsockname()[1])
    assert bench.tree() == {}


class Sockets:
    """The socket module of a host on which one step with IPv6 fails so."""

    def __init__(self, step: str, reason: int) -> None:
        self._failing = (step, reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def socket(self, family: socket.AddressFamily, _kind: int) -> Any:
        def step(name: str) -> None:
            if family == socket.AF_INET6 and name == self._failing[0]:
                raise OSError(self._failing[1], os.strerror(self._failing[1]))

        step("socket")
        return contextlib.nullcontext(
            SimpleNamespace(setsockopt=lambda *_: None, bind=lambda _address: step("bind"))
        )


def test_a_port_bound_on_ipv6_alone_is_in_use(
    bench: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_ports, "socket", Sockets("bind", errno.EADDRINUSE))
    bench.refused(409, "PORT_IN_USE", port=free_port)
    assert bench.tree() == {}


@pytest.mark.parametrize(
    ("step", "reason"),
    [("socket", errno.EAFNOSUPPORT), ("bind", errno.EADDRNOTAVAIL), ("bind", errno.EACCES)],
)
def test_a_port_is_free_where_there_is_no_ipv6(
    bench: Any, free_port: int, monkeypatch: pytest.MonkeyPatch, step: str, reason: int
) -> None:
    monkeypatch.setattr(host_ports, "socket", Sockets(step, reason))
    assert bench.create(port=free_port)["name"] == "blog"

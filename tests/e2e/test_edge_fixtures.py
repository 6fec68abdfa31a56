"""What the tests of the proxy stand on: the application behind it, and visitors with addresses."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
import requests
from flatrun_e2e.visitors import FIRST, PROXY, SECOND, Visitors, visitors_of
from websockets.sync.client import connect

SHOWS_ADDRESS = "server { listen 80; location / { return 200 '$remote_addr $host'; } }\n"
RunContainer = Callable[..., str]


@pytest.fixture
def run_container(engine: docker.APIClient, new_name: Callable[[], str]) -> Iterator[RunContainer]:
    """Return a function that runs a container and returns its name."""
    names = []

    def run(
        image: str, *, publish: tuple[int, int] | None = None, binds: dict[str, str] | None = None
    ) -> str:
        name = new_name()
        host = engine.create_host_config(
            binds=[f"{source}:{target}:ro" for source, target in (binds or {}).items()],
            port_bindings={publish[1]: ("127.0.0.1", publish[0])} if publish else {},
        )
        ports = [publish[1]] if publish else []
        engine.create_container(image, name=name, host_config=host, ports=ports)
        names.append(name)
        engine.start(name)
        return name

    yield run
    for name in names:
        engine.remove_container(name, force=True, v=True)


@pytest.fixture
def application(run_container: RunContainer, application_image: str, free_port: int) -> str:
    """Return the address of the application."""
    run_container(application_image, publish=(free_port, 8000))
    url = f"http://127.0.0.1:{free_port}"
    until = time.monotonic() + 20
    while not answers(url):
        assert time.monotonic() < until, "the application does not answer"
        time.sleep(0.05)
    return url


@pytest.fixture
def visitors(
    run_container: RunContainer, nginx_image: str, engine: docker.APIClient, tmp_path: Path
) -> Iterator[Visitors]:
    """Return visitors of a proxy that tells each of them his address."""
    (tmp_path / "site.conf").write_text(SHOWS_ADDRESS)
    name = run_container(nginx_image, binds={str(tmp_path): "/etc/nginx/conf.d"})
    with visitors_of(engine.inspect_container(name)["State"]["Pid"]) as made:
        yield made


def answers(url: str) -> bool:
    try:
        return session().get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def session() -> requests.Session:
    made = requests.Session()
    made.trust_env = False
    return made


def test_the_application_shows_a_request_as_it_arrived(application: str) -> None:
    connection = http.client.HTTPConnection(application.removeprefix("http://"), timeout=10)
    connection.request("GET", "//a%2Fb/..;/?c=%0a", headers={"X-One": "1"})
    with closing(connection):
        seen = json.load(connection.getresponse())
    assert (seen["method"], seen["target"]) == ("GET", "//a%2Fb/..;/?c=%0a")
    assert ["X-One", "1"] in seen["headers"]


def test_the_application_takes_an_upload_and_tells_its_hash(application: str) -> None:
    data = b"0123456789" * 100_000
    answer = session().post(f"{application}/upload", data=data, timeout=30).json()
    assert answer == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_the_application_streams_line_by_line(application: str) -> None:
    with session().get(f"{application}/stream?lines=3", stream=True, timeout=30) as answer:
        lines = answer.iter_lines()
        assert next(lines) == b"line 0"
        assert list(lines) == [b"line 1", b"line 2"]


def test_the_application_echoes_over_a_websocket(application: str) -> None:
    with connect(application.replace("http", "ws") + "/socket", proxy=None) as channel:
        channel.send("hello")
        assert channel.recv(10) == "hello"
        channel.send(b"\x00\xff")
        assert channel.recv(10) == b"\x00\xff"


def test_the_proxy_sees_every_visitor_with_his_own_address(visitors: Visitors) -> None:
    wait = ("--retry", "20", "--retry-connrefused", "--retry-delay", "1")
    assert visitors.curl(FIRST, "http://blog.example.test/", *wait) == f"{FIRST} blog.example.test"
    assert visitors.curl(SECOND, f"http://{PROXY}/", *wait) == f"{SECOND} {PROXY}"

"""What applications send and take, through the proxy: sockets, streams, uploads, HTTP/2, gzip."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import secrets
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flatrun_e2e.authority import OwnAuthority
from flatrun_e2e.edge import Edge
from flatrun_e2e.traces import Traces
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PLAIN, SECURE = "plain.example.test", "secure.example.test"
SHORT = 1
UPLOAD_BYTES = 50_000_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OwnAuthority:
    return OwnAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(module_edge: Edge, authority: OwnAuthority, application_image: str) -> Iterator[Edge]:
    """Return a proxy with one site: a plain host with a hasty path, and a host with TLS."""
    name = f"e2e-{secrets.token_hex(4)}"
    module_edge.site(name, application_image)
    authority.leave(module_edge.folder, SECURE)
    module_edge.add(name, PLAIN)
    module_edge.add(name, PLAIN, path="/hasty", strip_prefix=True, proxy_timeout=SHORT)
    module_edge.add(name, SECURE, ssl={"enabled": True, "auto_cert": False})
    module_edge.wait(PLAIN, 200)
    module_edge.wait(SECURE, 301)
    yield module_edge
    Traces(module_edge.engine).remove({name})


def channel(edge: Edge, host: str, path: str, root: Path | None = None) -> ClientConnection:
    """Open a WebSocket through the proxy."""
    trusted = ssl.create_default_context(cafile=str(root)) if root else None
    there = socket.create_connection(("127.0.0.1", edge.ports.https if root else edge.ports.http), 20)
    uri = f"{'wss' if root else 'ws'}://{host}{path}"
    return connect(uri, sock=there, ssl=trusted, proxy=None, open_timeout=20)


def curl(edge: Edge, root: Path, url: str, *options: str, data: bytes = b"") -> str:
    """Fetch a URL over TLS and HTTP/2 through the proxy and return what curl writes."""
    command = ["curl", "-sS", "--http2", "--noproxy", "*", "--max-time", "60", "--cacert", str(root)]
    command += ["--connect-to", f"::127.0.0.1:{edge.ports.https}", *options, url]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_websocket_goes_through(site: Edge, authority: OwnAuthority, secure: bool) -> None:
    host, root = (SECURE, authority.root) if secure else (PLAIN, None)
    with channel(site, host, "/socket", root) as open_channel:
        open_channel.send("hello")
        assert open_channel.recv(20) == "hello"
        big = secrets.token_bytes(300_000)
        open_channel.send(big)
        assert open_channel.recv(20) == big


def test_an_idle_websocket_lives_as_long_as_its_path_says(site: Edge) -> None:
    with channel(site, PLAIN, "/socket") as patient:
        with channel(site, PLAIN, "/hasty/socket") as hasty:
            hasty.send("hello")
            assert hasty.recv(20) == "hello"
            # Silence beyond the path's timeout: the proxy hangs up.
            with pytest.raises(ConnectionClosed):
                hasty.recv(30)
        patient.send("still here")
        assert patient.recv(20) == "still here"


def test_a_page_without_a_websocket_keeps_its_connection(site: Edge) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.ports.http, timeout=20)
    with closing(connection):
        for _ in range(3):
            connection.request("GET", "/", headers={"Host": PLAIN})
            answer = connection.getresponse()
            answer.read()
            used = connection.sock
            assert used is not None
        headers = {name.lower(): value for name, value in site.visit(PLAIN).json()["headers"]}
    assert "upgrade" not in headers


@pytest.mark.parametrize("path", ["/stream?lines=12", "/events?lines=12"])
def test_a_stream_arrives_while_it_is_written(site: Edge, path: str) -> None:
    parts = []
    with site.connect(PLAIN) as there:
        there.sendall(f"GET {path} HTTP/1.1\r\nHost: {PLAIN}\r\nConnection: close\r\n\r\n".encode())
        while part := there.recv(65536):
            parts.append(part)
    assert b"line 11" in b"".join(parts)
    # Held back, the twelve lines would come together.
    assert len([part for part in parts if b"line " in part]) > 6


def test_a_large_upload_arrives_whole(site: Edge) -> None:
    data = secrets.token_bytes(1_000_000) * (UPLOAD_BYTES // 1_000_000)
    answer = site.visit(PLAIN, "/upload", method="POST", data=data)
    assert (answer.status, answer.json()["bytes"]) == (200, UPLOAD_BYTES)
    assert answer.json()["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_body_beyond_the_limit_is_refused(site: Edge) -> None:
    headers = {"Content-Length": str(101 * 2**20), "Expect": "100-continue"}
    with closing(http.client.HTTPConnection("127.0.0.1", site.ports.http, timeout=20)) as connection:
        connection.request("POST", "/upload", headers={"Host": PLAIN, **headers})
        assert connection.getresponse().status == 413


def test_http_2_is_spoken_over_tls(site: Edge, authority: OwnAuthority) -> None:
    version = ("-w", "%{http_version} %{http_code}", "-o", "/dev/null")
    assert curl(site, authority.root, f"https://{SECURE}/", *version) == "2 200"
    data = secrets.token_bytes(3_000_000)
    answer = curl(site, authority.root, f"https://{SECURE}/upload", "--data-binary", "@-", data=data)
    assert json.loads(answer)["sha256"] == hashlib.sha256(data).hexdigest()


def test_plain_http_leads_to_tls_with_the_path_and_the_port(site: Edge) -> None:
    answer = site.visit(SECURE, "/a/b?c=d")
    assert answer.status == 301
    assert answer.headers["Location"] == f"https://{SECURE}:{site.ports.https}/a/b?c=d"


def test_clients_are_told_to_come_by_tls_only(site: Edge, authority: OwnAuthority) -> None:
    assert "max-age=63072000" in site.visit(SECURE, root=authority.root).headers["Strict-Transport-Security"]
    assert site.visit(PLAIN).headers["Strict-Transport-Security"] is None


@pytest.mark.parametrize(
    ("option", "code"), [("--tlsv1.2 --tls-max 1.2", 0), ("--tlsv1.3", 0), ("--tls-max 1.1", 35)]
)
def test_only_current_versions_of_tls_are_spoken(
    site: Edge, authority: OwnAuthority, option: str, code: int
) -> None:
    # At security level 0 curl itself would speak the old versions.
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", "20", "--cacert", str(authority.root)]
    command += ["--connect-to", f"::127.0.0.1:{site.ports.https}", "--ciphers", "DEFAULT@SECLEVEL=0"]
    command += [*option.split(), f"https://{SECURE}/"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == code, done.stderr


def test_text_is_compressed_for_those_who_take_it(site: Edge) -> None:
    answer = site.visit(PLAIN, "/large?bytes=200000", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.body) < 20_000
    assert gzip.decompress(answer.body) == site.visit(PLAIN, "/large?bytes=200000").body

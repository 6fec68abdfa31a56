"""What really arrives when somebody meddles with the headers, at the panel's own server."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from flatrun_core.testing.serving import ServedPanel

OWN = "127.0.0.1"


@pytest.fixture
def served(behind_proxy: Callable[..., Flask]) -> Iterator[ServedPanel]:
    app = behind_proxy(trusted_proxies=[OWN], default_role="viewer")
    with ServedPanel(app) as panel:
        yield panel


def send(panel: ServedPanel, *lines: bytes, source: str = OWN) -> tuple[int, str]:
    """Send raw header lines with a request for the settings; the status and the code."""
    head = b"GET /api/settings HTTP/1.1\r\nHost: panel\r\nConnection: close\r\n"
    with socket.create_connection((OWN, panel.port), timeout=20, source_address=(source, 0)) as raw:
        raw.sendall(head + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
        answer = b""
        while data := raw.recv(65536):
            answer += data
    top, _, body = answer.partition(b"\r\n\r\n")
    found: dict[str, Any] = json.loads(body)
    return int(top.split()[1]), found.get("code", "")


def test_the_header_of_the_proxy_s_own_connection_counts(served: ServedPanel) -> None:
    assert send(served, b"X-Remote-User: ada") == (200, "")
    assert send(served, b"x-ReMoTe-uSeR:ada") == (200, "")


def test_the_header_of_another_connection_does_not(served: ServedPanel) -> None:
    refused = (401, "UNTRUSTED_PROXY")
    assert send(served, b"X-Remote-User: ada", source="127.0.0.2") == refused
    for name in (b"X-Forwarded-For", b"X-Real-IP", b"X-Forwarded-By", b"Client-IP"):
        assert send(served, b"X-Remote-User: ada", name + b": 127.0.0.1", source="127.0.0.2") == refused
    forwarded = b"Forwarded: for=127.0.0.1;by=127.0.0.1"
    assert send(served, b"X-Remote-User: ada", forwarded, source="127.0.0.2") == refused


@pytest.mark.parametrize(
    "lines",
    [
        [b"X-Remote-User: ada", b"X-Remote-User: root"],
        [b"X-Remote-User: ada", b"x-remote-user: ada"],
        [b"X-REMOTE-USER: root", b"X-Remote-User: ada"],
        [b"X-Remote-User: ada", b"Accept: */*", b"X-Remote-User:"],
        [b"X-Remote-User:", b"X-Remote-User: ada"],
        [b"X-Remote-User: ada, root"],
        [b"X-Remote-User: ada,root"],
        [b"X-Remote-User: ada\xc2\xa0"],
        [b"X-Remote-User: \xd0\xb0da"],
    ],
    ids=repr,
)
def test_two_names_are_none(served: ServedPanel, lines: list[bytes]) -> None:
    assert send(served, *lines) == (401, "INVALID_PROXY_USER")


def test_two_headers_with_groups_are_refused(served: ServedPanel) -> None:
    user = b"X-Remote-User: ada"
    assert send(served, user, b"X-Remote-Groups: guests,makers") == (200, "")
    smuggled = [b"X-Remote-Groups: guests", b"x-remote-groups: admins"]
    assert send(served, user, *smuggled) == (401, "INVALID_PROXY_USER")
    assert send(served, user, *reversed(smuggled)) == (401, "INVALID_PROXY_USER")


@pytest.mark.parametrize(
    "name", [b"X_Remote_User", b"X-Remote_User", b"HTTP_X_REMOTE_USER", b"x_remote-user"]
)
def test_a_name_with_underscores_never_arrives(served: ServedPanel, name: bytes) -> None:
    assert send(served, name + b": root") == (401, "AUTH_REQUIRED")
    assert send(served, b"X-Remote-User: ada", name + b": root, x") == (200, "")
    assert send(served, name + b": root, x", b"X-Remote-User: ada") == (200, "")


@pytest.mark.parametrize(
    "line",
    [
        b"X-Remote-User: ada\x00root",
        b"X-Remote-User: ada\rX-Remote-User: root",
        b"X-Remote-User : ada",
        b" X-Remote-User: ada",
        b"X-Remote-User\x00: ada",
        b"X-Remote-User: ada\r\n root",
    ],
    ids=repr,
)
def test_a_broken_line_lets_nobody_in(served: ServedPanel, line: bytes) -> None:
    status, _ = send(served, b"Accept: */*", line)
    assert status in (400, 401)


def test_an_empty_header_is_no_login(served: ServedPanel) -> None:
    assert send(served, b"X-Remote-User:") == (401, "AUTH_REQUIRED")
    assert send(served, b"X-Remote-User:   ") == (401, "AUTH_REQUIRED")

"""Requests that come by the panel's own socket: the proxy is believed there, and nowhere else."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flatrun_core.api.client_address import BY_SOCKET

TOKEN = {"X-Internal-Token": "fake-proxy-token"}
SOCKET = {BY_SOCKET: True, "REMOTE_ADDR": "unix"}


def seen(things: Any) -> str:
    return str(things.journal.written[-1][1].client_ip)


@pytest.mark.parametrize(
    ("environ", "expected"), [(SOCKET, "198.51.100.7"), ({}, "127.0.0.1"), ({BY_SOCKET: "yes"}, "127.0.0.1")]
)
def test_whose_forwarded_address_is_recorded(
    app: Flask, things: Any, environ: dict[str, Any], expected: str
) -> None:
    headers = {"X-Forwarded-For": "192.0.2.1, 198.51.100.7", BY_SOCKET: "true"}
    app.test_client().get("/api/things/open", headers=headers, environ_overrides=environ)
    assert seen(things) == expected


def test_networks_that_are_configured_are_passed_over_here_too(
    things: Any, flatrun_app: Callable[..., Flask]
) -> None:
    app = flatrun_app(plugins=[things], settings={"api.trusted_proxies": ["10.0.0.0/8"]})
    headers = {"X-Forwarded-For": "192.0.2.1, 198.51.100.7, 10.1.2.3"}
    app.test_client().get("/api/things/open", headers=headers, environ_overrides=SOCKET)
    assert seen(things) == "198.51.100.7"


def test_the_proxy_itself_is_the_peer_when_it_says_nothing(app: Flask, things: Any) -> None:
    app.test_client().get("/api/things/open", environ_overrides=SOCKET)
    assert seen(things) == "unix"


def test_who_is_let_in_does_not_depend_on_the_way(app: Flask, auth: Any) -> None:
    client = app.test_client()
    assert client.get("/api/things/mine", environ_overrides=SOCKET).status_code == 401
    assert client.get("/api/things/mine", headers=auth(), environ_overrides=SOCKET).status_code == 200
    assert client.get("/api/things/inside", environ_overrides=SOCKET).status_code == 401
    assert client.get("/api/things/inside", headers=TOKEN, environ_overrides=SOCKET).status_code == 200


@pytest.mark.parametrize("environ", [SOCKET, {}], ids=["socket", "tcp"])
@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-For", "x-forwarded-proto", "X-Forwarded-Host", "X-Forwarded-X", "X-Real-IP", "Forwarded"],
)
def test_no_forwarded_request_gets_to_an_internal_route(
    app: Flask, environ: dict[str, Any], name: str
) -> None:
    answer = app.test_client().get(
        "/api/things/inside", headers={**TOKEN, name: "198.51.100.7"}, environ_overrides=environ
    )
    assert answer.status_code == 401


def test_nothing_of_the_panel_depends_on_the_scheme_or_the_host(app: Flask, auth: Any) -> None:
    """Neither header is believed from anybody: no answer holds an address of the panel's own."""
    headers = {**auth(), "X-Forwarded-Proto": "https", "X-Forwarded-Host": "forged.example"}
    client = app.test_client()
    for path in ("/api/things/mine", "/api/openapi.json", "/api/docs", "/api/things", "/api/things/mine/"):
        answer = client.get(path, headers=headers, environ_overrides=SOCKET)
        assert b"forged.example" not in answer.data
        assert "Location" not in answer.headers
    assert [str(rule) for rule in app.url_map.iter_rules() if str(rule).endswith("/")] == []

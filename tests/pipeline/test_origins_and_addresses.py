"""Pages of other origins, and whose address counts behind a proxy."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flatrun_core.api.client_address import client_address, parse_networks


def test_cross_origin_needs_an_exact_origin_and_answers_preflight(
    things: Any, flatrun_app: Callable[..., Flask]
) -> None:
    app = flatrun_app(
        plugins=[things],
        settings={"api.enable_cors": True, "api.allowed_origins": ["https://panel.example"]},
    )
    client = app.test_client()
    answer = client.options("/api/things/one", headers={"Origin": "https://panel.example"})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://panel.example"
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    other = client.get("/api/things/open", headers={"Origin": "https://panel.example.evil"})
    assert "Access-Control-Allow-Origin" not in other.headers
    assert client.options("/api/things/one", headers={"Origin": "https://evil"}).status_code == 405


@pytest.mark.parametrize(
    ("peer", "header", "trusted", "expected"),
    [
        ("203.0.113.5", "198.51.100.1", [], "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", ["10.0.0.0/8"], "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1", ["10.0.0.0/8"], "198.51.100.1"),
        ("10.0.0.1", "192.0.2.9, 198.51.100.1, 10.0.0.2", ["10.0.0.0/8"], "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, garbage", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "", ["10.0.0.0/8"], "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", ["10.0.0.0/8"], "198.51.100.1"),
        ("::ffff:203.0.113.5", "", [], "203.0.113.5"),
        ("10.0.0.1", "::ffff:198.51.100.1", ["10.0.0.0/8"], "198.51.100.1"),
        ("10.0.0.1", "0:0:0:0:0:ffff:c633:6401", ["10.0.0.0/8"], "198.51.100.1"),
        ("10.0.0.1", "2001:DB8:0:0::5", ["10.0.0.0/8"], "2001:db8::5"),
        ("10.0.0.1", "198.51.100.1:4711", ["10.0.0.0/8"], "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::5]:4711", ["10.0.0.0/8"], "2001:db8::5"),
        ("10.0.0.1", "[2001:db8::5]", ["10.0.0.0/8"], "2001:db8::5"),
        ("10.0.0.1", "198.51.100.1:port", ["10.0.0.0/8"], "10.0.0.1"),
        ("a socket", "198.51.100.1", ["10.0.0.0/8"], "a socket"),
    ],
)
def test_the_client_address_is_forwarded_only_by_configured_proxies(
    peer: str, header: str, trusted: list[str], expected: str
) -> None:
    assert client_address(peer, {"X-Forwarded-For": header}, parse_networks(trusted)) == expected


@pytest.mark.parametrize(
    ("header", "trusted", "expected"),
    [
        ("198.51.100.1", [], "198.51.100.1"),
        ("192.0.2.9, 198.51.100.1", [], "198.51.100.1"),
        ("192.0.2.9, 198.51.100.1, 10.0.0.2", ["10.0.0.0/8"], "198.51.100.1"),
        ("10.0.0.3, 10.0.0.2", ["10.0.0.0/8"], "10.0.0.3"),
        ("198.51.100.1, garbage", ["10.0.0.0/8"], "unix"),
        ("garbage, 198.51.100.1", [], "198.51.100.1"),
        ("::ffff:198.51.100.1", [], "198.51.100.1"),
        ("", ["0.0.0.0/0"], "unix"),
    ],
)
def test_the_proxy_at_the_panels_socket_is_believed_for_one_hop(
    header: str, trusted: list[str], expected: str
) -> None:
    headers, networks = {"X-Forwarded-For": header}, parse_networks(trusted)
    assert client_address("unix", headers, networks, by_socket=True) == expected
    assert client_address("unix", headers, networks) == "unix"

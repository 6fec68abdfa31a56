"""A panel behind a proxy, requests through it and past it, and the time of day."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flatrun_proxy_login import plugin
from flatrun_proxy_login.night import NIGHT_REST

PROXY, STRANGER = "10.0.0.1", "203.0.113.9"
SETTINGS = {
    "proxy_login.trusted_proxies": [PROXY, "fd00::/8"],
    "proxy_login.roles": {"admins": "admin", "makers": "operator", "guests": "viewer"},
    "proxy_login.grants": {"makers": {"blog": "write"}, "guests": {"blog": "read", "shop": "read"}},
}


@pytest.fixture
def behind_proxy(flatrun_app: Callable[..., Flask]) -> Callable[..., Flask]:
    """Make an application: ``behind_proxy("deployments", "users", night_from="22:00", ...)``."""

    def make(*plugins: str, **settings: Any) -> Flask:
        own = {f"proxy_login.{name}": value for name, value in settings.items()}
        return flatrun_app(plugins=[plugin, *plugins], settings={**SETTINGS, **own})

    return make


@pytest.fixture
def ask() -> Callable[..., TestResponse]:
    """Send a request: ``ask(app, "/api/deployments", user="ada", groups="makers", peer="10.0.0.1")``."""

    def send(
        app: Flask,
        path: str,
        *,
        user: str | None = None,
        groups: str | None = None,
        peer: str = PROXY,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        json: Any = None,
    ) -> TestResponse:
        named = {"X-Remote-User": user, "X-Remote-Groups": groups}
        sent = {**{name: value for name, value in named.items() if value is not None}, **(headers or {})}
        environ = {"REMOTE_ADDR": peer}
        return app.test_client().open(path, method=method, headers=sent, json=json, environ_overrides=environ)

    return send


@pytest.fixture
def set_clock() -> Callable[[Flask, str], None]:
    """Set an application's clock for the night: ``set_clock(app, "2026-01-15T23:30:00+00:00")``."""

    def set_to(app: Flask, text: str) -> None:
        app.extensions["flatrun"].services.get(NIGHT_REST).clock = lambda: datetime.fromisoformat(text)

    return set_to

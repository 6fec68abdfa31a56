"""What the panel does with the plugin: its timer runs, its setting changes, its hook is called."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask

from flatrun_core.testing.client import ADMIN_KEY
from flatrun_hello import plugin
from flatrun_hello.models import Greeting
from flatrun_hello.service import HELLO

COMPOSE = "services:\n  web:\n    image: busybox\n"


def greeted(app: Flask) -> list[str]:
    return [greeting.text for greeting in app.extensions["flatrun"].services.get(HELLO).newest()]


def test_the_timer_forgets_old_greetings(
    flatrun_app: Callable[..., Flask], run_timer: Callable[[Flask, str], None]
) -> None:
    app = flatrun_app(plugins=[plugin])
    panel = app.extensions["flatrun"]
    panel.services.get(HELLO).greet("new")
    with panel.database.session():
        Greeting.create(name="old", text="Welcome", created_at=datetime.now(UTC) - timedelta(days=31))
    run_timer(app, "hello.forget")
    assert greeted(app) == ["Welcome, new!"]


def test_a_changed_setting_counts_at_once(
    flatrun_app: Callable[..., Flask], flatrun_client: Any, tmp_path: Path
) -> None:
    config = tmp_path / "flatrun.yml"
    config.write_text(
        f"deployments_path: {tmp_path}\nauth: {{api_keys: [{ADMIN_KEY}]}}\nhello:\n  greeting: Hi\n"
    )
    app = flatrun_app(plugins=[plugin], config=config)
    client = flatrun_client(app)
    assert client.put("/api/settings", json={"hello": {"greeting": "Ahoy"}}).status_code == 200
    assert client.post("/api/hello", json={"name": "Ada"}).get_json()["text"] == "Ahoy, Ada!"
    assert "greeting: Ahoy" in config.read_text()


def test_a_deployment_that_is_created_is_greeted(
    flatrun_app: Callable[..., Flask], flatrun_client: Any
) -> None:
    app = flatrun_app(plugins=[plugin, "deployments"])
    client = flatrun_client(app)
    refused = client.post("/api/deployments", json={"name": "blog", "compose": "services: {}"})
    assert (refused.status_code, greeted(app)) == (400, [])
    created = client.post("/api/deployments", json={"name": "blog", "compose": COMPOSE})
    assert created.status_code == 201, created.get_json()
    assert greeted(app) == ["Welcome, blog!"]

"""What the plugin does, at its service."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.deployments import DeploymentEvent
from flatrun_hello import plugin
from flatrun_hello.models import Greeting
from flatrun_hello.service import HELLO, HelloService


@pytest.fixture
def hello(flatrun_app: Callable[..., Flask]) -> Iterator[HelloService]:
    panel = flatrun_app(plugins=[plugin], settings={"hello.keep_days": 7}).extensions["flatrun"]
    with panel.database.session():
        yield panel.services.get(HELLO)


def test_old_greetings_are_forgotten(hello: HelloService) -> None:
    hello.greet("new")
    Greeting.create(name="old", text="Welcome", created_at=datetime.now(UTC) - timedelta(days=8))
    assert hello.forget_old() == 1
    assert [greeted.name for greeted in hello.newest()] == ["new"]


def test_a_new_deployment_is_greeted(flatrun_app: Callable[..., Flask]) -> None:
    panel = flatrun_app(plugins=[plugin]).extensions["flatrun"]
    record = next(record for record in panel.plugins if record.slug == "hello")
    event = DeploymentEvent("blog", Path("/nowhere/blog"), SYSTEM)
    plugin.flatrun_on_deployment_created(ctx=panel.hooks.context("hello"), event=event)
    assert record.active
    assert [greeted.name for greeted in panel.services.get(HELLO).newest()] == ["blog"]

"""A panel with this plugin, Docker in memory, and neighbours that take part as other plugins would."""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from flatrun_core import HOOK_API, PluginContext, PluginInfo, ServiceKey, hookimpl
from flatrun_core.ports.deployments import (
    DEPLOYMENTS,
    DeploymentEvent,
    Deployments,
    Draft,
    Part,
    Recipe,
    Removal,
    RemovedItem,
)
from flatrun_core.testing.client import ApiClient
from flatrun_core.testing.fake_docker import FakeCompose, FakeEngine

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"


class Neighbour(ModuleType):
    """Another plugin: joins creations and removals, hears events, offers services and recipes."""

    def __init__(self, slug: str = "neighbour") -> None:
        super().__init__(f"flatrun_{slug}")
        self.PLUGIN = PluginInfo(slug=slug, hook_api=HOOK_API, display_name=slug.title())
        self.on_create: Callable[[Draft], Part | None] = lambda draft: None
        self.on_remove: Callable[[Removal], Sequence[RemovedItem]] = lambda removal: ()
        self.offers: dict[ServiceKey[Any], Any] = {}
        self.recipes: list[Recipe] = []
        self.events: list[tuple[str, DeploymentEvent]] = []
        # A module lists what is in it, not what is in its class.
        for name in dir(type(self)):
            if name.startswith("flatrun_"):
                setattr(self, name, getattr(self, name))

    @hookimpl
    def flatrun_on_setup(self, ctx: PluginContext) -> None:
        for key, value in self.offers.items():
            ctx.services.provide(key, lambda value=value: value)

    @hookimpl(optionalhook=True)
    def flatrun_join_deployment_create(self, draft: Draft) -> Part | None:
        return self.on_create(draft)

    @hookimpl(optionalhook=True)
    def flatrun_join_deployment_remove(self, removal: Removal) -> Sequence[RemovedItem]:
        return self.on_remove(removal)

    @hookimpl(optionalhook=True)
    def flatrun_register_recipes(self) -> Sequence[Recipe]:
        return self.recipes

    @hookimpl(optionalhook=True)
    def flatrun_on_deployment_created(self, event: DeploymentEvent) -> None:
        self.events.append(("created", event))

    @hookimpl(optionalhook=True)
    def flatrun_on_deployment_changed(self, event: DeploymentEvent) -> None:
        self.events.append(("changed", event))

    @hookimpl(optionalhook=True)
    def flatrun_on_deployment_started(self, event: DeploymentEvent) -> None:
        self.events.append(("started", event))

    @hookimpl(optionalhook=True)
    def flatrun_on_deployment_stopped(self, event: DeploymentEvent) -> None:
        self.events.append(("stopped", event))

    @hookimpl(optionalhook=True)
    def flatrun_on_deployment_removed(self, event: DeploymentEvent) -> None:
        self.events.append(("removed", event))


@dataclass
class Bench:
    """A panel on fakes; ``create`` posts a deployment and insists on 201."""

    app: Flask
    client: ApiClient
    root: Path
    engine: FakeEngine
    compose: FakeCompose
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)

    @property
    def deployments(self) -> Deployments:
        found: Deployments = self.app.extensions["flatrun"].services.get(DEPLOYMENTS)
        return found

    def create(self, name: str = "blog", compose: str | None = COMPOSE, **more: Any) -> dict[str, Any]:
        answer = self.client.post("/api/deployments", json={"name": name, "compose": compose, **more})
        assert answer.status_code == 201, answer.get_data(as_text=True)
        created: dict[str, Any] = answer.get_json()
        return created

    def refused(self, status: int, code: str, **body: Any) -> str:
        """Post a deployment that is refused so; the sentence."""
        body = {"name": "blog", "compose": COMPOSE, **body}
        answer = self.client.post("/api/deployments", json=body)
        assert (answer.status_code, answer.get_json()["code"]) == (status, code), answer.get_json()
        return str(answer.get_json()["error"])

    def names(self) -> list[str]:
        return [item["name"] for item in self.client.get("/api/deployments").get_json()]

    def tree(self) -> dict[str, bytes]:
        """Every file below the root except the panel's own state, with its bytes."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and ".flatrun" not in path.relative_to(self.root).parts
        }


@pytest.fixture
def make_bench(
    tmp_path: Path,
    flatrun_app: Callable[..., Flask],
    flatrun_client: Callable[[Flask], ApiClient],
    fake_engine: FakeEngine,
    fake_compose: FakeCompose,
) -> Callable[..., Bench]:
    """Return a function that makes a panel with this plugin and neighbours."""

    def make(*neighbours: Neighbour, **more: Any) -> Bench:
        from flatrun_deployments import plugin

        app = flatrun_app(plugins=[plugin, *neighbours], **more)
        root = tmp_path / "deployments"
        by_slug = {neighbour.PLUGIN.slug: neighbour for neighbour in neighbours}
        return Bench(app, flatrun_client(app), root, fake_engine, fake_compose, by_slug)

    return make


@pytest.fixture
def neighbour() -> Neighbour:
    """Return another plugin."""
    return Neighbour()


@pytest.fixture
def new_neighbour() -> Callable[[str], Neighbour]:
    """Return a function that makes other plugins."""
    return Neighbour


@pytest.fixture
def bench(make_bench: Callable[..., Bench], neighbour: Neighbour) -> Bench:
    """Return a panel with this plugin and one neighbour."""
    return make_bench(neighbour)


@pytest.fixture
def post() -> Callable[..., Any]:
    """Return a function that posts an action on a deployment of a bench, ``blog`` unless another is named."""

    def post_action(bench: Bench, action: str, name: str = "blog") -> Any:
        return bench.client.post(f"/api/deployments/{name}/{action}")

    return post_action


@pytest.fixture
def free_port() -> int:
    """Return a port on which nothing listens, with the next one free as well."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port

"""A panel with templates, and a folder to put some into."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flatrun_core import HOOK_API, PluginInfo, SettingsSchema, fields, hookimpl
from flatrun_core.ports.settings import SettingsGroup
from flatrun_templates import plugin
from flatrun_templates.service import SERVICE, TemplateService

COMPOSE = "name: ${NAME}\nservices:\n  web:\n    image: busybox\n"


@dataclass(frozen=True, slots=True)
class Names:
    """The settings of the plugin that keeps deployments, as far as templates ask for them."""

    default_proxy_network: str = "proxy"
    default_database_network: str = "database"


class NamesSchema(SettingsSchema):
    dataclass = Names
    default_proxy_network = fields.ContainerName(metadata={"description": "proxy"})
    default_database_network = fields.ContainerName(metadata={"description": "database"})


class Neighbour:
    """Stands for the deployments plugin."""

    PLUGIN = PluginInfo(
        slug="deployments", hook_api=HOOK_API, display_name="Neighbour", sections=("infrastructure",)
    )

    @hookimpl
    def flatrun_register_settings(self) -> list[SettingsGroup]:
        return [SettingsGroup("infrastructure", NamesSchema)]


class Bench:
    """One panel: ``folder`` is where its templates are."""

    def __init__(self, app: Flask, client: Any, root: Path) -> None:
        self.app = app
        self.client = client
        self.folder = root / ".flatrun" / "templates"

    @property
    def service(self) -> TemplateService:
        found: TemplateService = self.app.extensions["flatrun"].services.get(SERVICE)
        return found

    def write(
        self, template_id: str, compose: str | bytes | None = COMPOSE, metadata: str | None = None
    ) -> Path:
        path = self.folder / template_id
        path.mkdir(parents=True, exist_ok=True)
        if compose is not None:
            data = compose.encode() if isinstance(compose, str) else compose
            (path / "docker-compose.yml").write_bytes(data)
        if metadata is not None:
            (path / "metadata.yml").write_text(metadata)
        return path

    def listed(self) -> dict[str, Any]:
        answer = self.client.get("/api/templates")
        assert answer.status_code == 200
        return {found["id"]: found for found in answer.get_json()["templates"]}

    def render(self, template_id: str, **values: Any) -> Any:
        return self.service.render(
            template_id, {"NAME": "blog", "PORT": None, "DOMAIN": None, "env": {}, **values}
        )


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(flatrun_app: Callable[..., Flask], flatrun_client: Any, tmp_path: Path) -> MakeBench:
    """Return a function that makes panels; more plugins and settings may be given."""

    def make(*plugins: Any, **settings: Any) -> Bench:
        app = flatrun_app(plugins=[plugin, *plugins], settings=settings)
        return Bench(app, flatrun_client(app), tmp_path / "deployments")

    return make


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


@pytest.fixture
def networked(make_bench: MakeBench) -> MakeBench:
    """Return a function that makes a panel whose networks have these names."""

    def make(proxy: str = "proxy", database: str = "database") -> Bench:
        names = {"default_proxy_network": proxy, "default_database_network": database}
        return make_bench(Neighbour(), infrastructure=names)

    return make

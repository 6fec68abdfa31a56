"""Who creates, a plugin that refuses, and a template: what several modules of creation use."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from flatrun_core import Conflict, NotFound
from flatrun_core.ports.auth import Actor, Identity
from flatrun_core.ports.deployments import TEMPLATES, Part, Rendered


class FakeTemplates:
    """One template, ``static``, that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    def render(self, template_id: str, values: Mapping[str, Any]) -> Rendered:
        if template_id != "static":
            raise NotFound("Template not found", code="TEMPLATE_NOT_FOUND")
        self.asked.append(values)
        env = {"SALT": values["env"].get("SALT", f"generated-{len(self.asked)}")}
        host = values["env"].get("DB_HOST", "${DB_HOST}")
        return Rendered(
            compose="services:\n  site:\n    image: busybox\n",
            files={"conf/site.conf": f"server {values['NAME']} {host}\n", "data/": "", "data/cache/": ""},
            env=env,
            metadata={"networking": {"container_port": 8080}, "healthcheck": {"path": "/up"}},
        )


@pytest.fixture
def scoped() -> Callable[..., Identity]:
    """Return a function that makes an operator, ``ann`` unless another is named."""

    def make(name: str = "ann", **more: Any) -> Identity:
        return Identity(Actor("user", name, name), role="operator", permissions=None, **more)

    return make


@pytest.fixture
def refuse() -> Callable[..., Part]:
    """Return how a plugin joins a creation that it refuses."""

    def raise_conflict(*_: Any) -> Part:
        raise Conflict("not here", code="NEIGHBOUR_REFUSES")

    return raise_conflict


@pytest.fixture
def fake_templates() -> FakeTemplates:
    """Return the plugin that renders the one template."""
    return FakeTemplates()


@pytest.fixture
def templates(make_bench: Any, new_neighbour: Any, fake_templates: FakeTemplates) -> Any:
    """Return a panel with the fake templates, and a neighbour that joins."""
    neighbour = new_neighbour("templates")
    neighbour.offers[TEMPLATES] = fake_templates
    return make_bench(neighbour)

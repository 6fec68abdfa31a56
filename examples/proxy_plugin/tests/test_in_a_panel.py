"""What the panel does with the backend: it is chosen by its name and given everybody's sites."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from flatrun_caddy import plugin
from flatrun_core import HOOK_API, PluginInfo, hookimpl
from flatrun_core.ports.proxy import PROXY, Proxy
from flatrun_core.testing.fakes import FakeProxy
from flatrun_core.testing.proxy_samples import site

ABSENT = {"caddy.program": "flatrun-no-such-caddy"}


def other(slug: str, **hooks: Callable[[], Any]) -> ModuleType:
    module = ModuleType(f"flatrun_{slug}")
    module.PLUGIN = PluginInfo(slug=slug, hook_api=HOOK_API, display_name=slug)  # type: ignore[attr-defined]
    for name, function in hooks.items():
        setattr(module, f"flatrun_{name}", hookimpl(function))
    return module


def proxy_of(app: Flask) -> Proxy:
    found: Proxy = app.extensions["flatrun"].services.get(PROXY)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deployments/caddy/Caddyfile"


def test_alone_it_serves_what_plugins_gather(flatrun_app: Callable[..., Flask], file: Path) -> None:
    sites = other("sites", gather_sites=lambda: [site("blog")])
    applied = proxy_of(flatrun_app(plugins=[plugin, sites], settings=ABSENT)).apply({"blog"})
    assert applied.changed
    assert "http://blog.example.com {" in file.read_text()


@pytest.mark.parametrize(("chosen", "serves"), [("caddy", True), ("fake", False), ("", False)])
def test_beside_another_proxy_the_setting_chooses(
    flatrun_app: Callable[..., Flask], file: Path, chosen: str, *, serves: bool
) -> None:
    fake = FakeProxy()
    fakes = other("fakes", register_proxy_backends=lambda: [fake], gather_sites=lambda: [site("blog")])
    app = flatrun_app(plugins=[plugin, fakes], settings={**ABSENT, "proxy.backend": chosen})
    proxy_of(app).apply({"blog"})
    assert file.exists() is serves
    assert bool(fake.sites) is (chosen == "fake")


def test_its_settings_count(flatrun_app: Callable[..., Flask], tmp_path: Path, file: Path) -> None:
    elsewhere = tmp_path / "elsewhere/Caddyfile"
    settings = {**ABSENT, "caddy": {"file": str(elsewhere), "http_port": 8081, "admin": "localhost:2999"}}
    settings["caddy"]["program"] = settings.pop("caddy.program")
    proxy_of(flatrun_app(plugins=[plugin], settings=settings)).apply()
    assert "http_port 8081\n" in elsewhere.read_text()
    assert "admin localhost:2999\n" in elsewhere.read_text()
    assert not file.exists()

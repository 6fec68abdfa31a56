"""The core's view on the proxy, and the fake that stands for a backend."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from flatrun_core import HOOK_API, Conflict, PluginInfo, hookimpl
from flatrun_core.ports.proxy import PROXY, Proxy, Site, VirtualHost
from flatrun_core.testing.fakes import FakeProxy
from flatrun_core.testing.proxy_contract import ProxyBackendContract
from flatrun_core.testing.proxy_samples import site

MakeProxy = Callable[..., Proxy]


class TestFakeProxy(ProxyBackendContract):
    @pytest.fixture
    def backend(self, fake_proxy: FakeProxy) -> FakeProxy:
        return fake_proxy

    @pytest.fixture
    def spoiled(self, fake_proxy: FakeProxy) -> Callable[[str], Site]:
        def make(name: str) -> Site:
            fake_proxy.refuse[name] = "no such directive"
            return site(name)

        return make

    def test_accepts_its_own_token(self, fake_proxy: FakeProxy) -> None:
        assert fake_proxy.accepts(fake_proxy.token)


def plugin(slug: str, **hooks: Callable[[], Any]) -> ModuleType:
    module = ModuleType(f"flatrun_{slug}")
    module.PLUGIN = PluginInfo(slug=slug, hook_api=HOOK_API, display_name=slug)  # type: ignore[attr-defined]
    for name, function in hooks.items():
        setattr(module, f"flatrun_{name}", hookimpl(function))
    return module


def sites_of(slug: str, *sites: Site) -> ModuleType:
    return plugin(slug, gather_sites=lambda: sites)


@pytest.fixture
def make_proxy(flatrun_app: Callable[..., Flask]) -> MakeProxy:
    """Return a function that makes a panel of backends and plugins, and gives its proxy."""

    def make(backends: Sequence[FakeProxy], *plugins: ModuleType, chosen: str = "") -> Proxy:
        offers = plugin("proxies", register_proxy_backends=lambda: backends)
        app = flatrun_app(plugins=[offers, *plugins], settings={"proxy.backend": chosen})
        found: Proxy = app.extensions["flatrun"].services.get(PROXY)
        return found

    return make


def test_without_a_backend_everything_is_skipped(make_proxy: MakeProxy) -> None:
    asked: list[str] = []

    def gather() -> list[Site]:
        asked.append("sites")
        return []

    proxy = make_proxy([], plugin("domains", gather_sites=gather))
    applied = proxy.apply({"blog"}, force=True)
    assert (applied.skipped, applied.changed, applied.reloaded) == (True, False, False)
    assert applied.message
    assert proxy.status("blog") == VirtualHost()
    assert not proxy.accepts("")
    assert asked == []


def test_the_sites_of_every_plugin_are_served(make_proxy: MakeProxy, fake_proxy: FakeProxy) -> None:
    proxy = make_proxy(
        [fake_proxy], sites_of("zones", site("blog"), site("wiki")), sites_of("apps", site("shop"))
    )
    assert proxy.apply({"blog"}).changed
    assert list(fake_proxy.sites) == ["blog", "shop", "wiki"]
    assert proxy.status("shop").exists
    assert proxy.accepts(fake_proxy.token)
    assert not proxy.apply().changed
    assert proxy.apply(force=True).reloaded


def test_what_is_gathered_is_asked_anew_each_time(make_proxy: MakeProxy, fake_proxy: FakeProxy) -> None:
    sites = [site("blog")]
    proxy = make_proxy([fake_proxy], plugin("domains", gather_sites=lambda: sites))
    proxy.apply()
    sites[:] = [site("shop")]
    proxy.apply({"blog", "shop"})
    assert list(fake_proxy.sites) == ["shop"]


def test_a_plugin_that_cannot_say_its_sites_stops_the_change(
    make_proxy: MakeProxy, fake_proxy: FakeProxy
) -> None:
    """Or its sites would go."""
    fails = [False]

    def gather() -> list[Site]:
        if fails[0]:
            raise Conflict("a file cannot be read", code="BROKEN")
        return [site("blog")]

    proxy = make_proxy([fake_proxy], sites_of("apps", site("shop")), plugin("domains", gather_sites=gather))
    proxy.apply()
    fails[0] = True
    with pytest.raises(Conflict, match="a file cannot be read"):
        proxy.apply({"shop"})
    assert (list(fake_proxy.sites), fake_proxy.reloads) == (["blog", "shop"], 1)
    fails[0] = False
    assert not proxy.apply().skipped


def test_two_sites_of_one_deployment_are_refused(make_proxy: MakeProxy, fake_proxy: FakeProxy) -> None:
    proxy = make_proxy(
        [fake_proxy], sites_of("one", site("blog")), sites_of("two", site("blog", port=8080), site("shop"))
    )
    with pytest.raises(ValueError, match="two plugins gather a site for 'blog'"):
        proxy.apply()
    assert fake_proxy.sites == {}


@pytest.mark.parametrize("chosen", ["first", "second"])
def test_the_setting_names_one_of_several(make_proxy: MakeProxy, chosen: str) -> None:
    backends = [FakeProxy("first"), FakeProxy("second")]
    proxy = make_proxy(backends, sites_of("domains", site("blog")), chosen=chosen)
    assert not proxy.apply().skipped
    assert [list(backend.sites) for backend in backends] == [
        ["blog"] if backend.name == chosen else [] for backend in backends
    ]


@pytest.mark.parametrize("chosen", ["", "third"])
def test_of_several_none_is_taken_by_chance(make_proxy: MakeProxy, chosen: str) -> None:
    backends = [FakeProxy("first"), FakeProxy("second")]
    assert make_proxy(backends, sites_of("domains", site("blog")), chosen=chosen).apply().skipped
    assert [backend.reloads for backend in backends] == [0, 0]

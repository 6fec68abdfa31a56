"""The core's view on the proxy, and the fake that stands for a backend."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from flatrun_core import HOOK_API, Conflict, Failed, PluginInfo, hookimpl
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.proxy import PROXY, Applied, Proxy, Route, Site, VirtualHost
from flatrun_core.ports.settings import SETTINGS
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

    def make(backends: Sequence[Any], *plugins: ModuleType, chosen: str = "") -> Proxy:
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


@pytest.mark.parametrize(
    ("names", "chosen", "reason"),
    [
        ([], "", "No proxy is active"),
        (["first", "second"], "", "No proxy is active: name one of first, second in proxy.backend"),
        (["first"], "third", "No proxy is active: proxy.backend names 'third', and there is first"),
    ],
)
def test_what_is_skipped_says_why(make_proxy: MakeProxy, names: list[str], chosen: str, reason: str) -> None:
    assert make_proxy([FakeProxy(name) for name in names], chosen=chosen).apply().message == reason


def test_a_backend_named_in_an_edited_file_is_used_from_the_next_start_on(
    flatrun_app: Callable[..., Flask], tmp_path: Path
) -> None:
    """Or two proxies would share the sites, and the one before would keep the ports."""
    config = tmp_path / "flatrun.yml"
    text = f"deployments_path: {tmp_path / 'sites'}\nauth: {{api_keys: [a-key-of-some-length]}}\n"
    backends = [FakeProxy("first"), FakeProxy("second")]
    offers = plugin("proxies", register_proxy_backends=lambda: backends, gather_sites=lambda: [site("blog")])
    used: list[list[int]] = []
    config.write_text(f"{text}proxy: {{backend: first}}\n")
    for edited in ("second", "second"):
        services = flatrun_app(plugins=[offers], config=config).extensions["flatrun"].services
        config.write_text(f"{text}proxy: {{backend: {edited}}}\n")
        services.get(SETTINGS).change({"enable_cors": not used}, SYSTEM)
        services.get(PROXY).apply(force=True)
        used.append([backend.reloads for backend in backends])
    assert used == [[1, 0], [1, 1]]


class Slow(FakeProxy):
    """Tells whether two applies were ever in it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.most = 0, 0
        self.entered, self.leave = threading.Event(), threading.Event()

    def apply(self, *args: Any) -> Applied:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.entered.set()
        assert self.leave.wait(10)
        try:
            return super().apply(*args)
        finally:
            self.inside -= 1


def test_applies_at_once_come_one_after_another_and_none_is_lost(make_proxy: MakeProxy) -> None:
    slow, sites, asked = Slow(), [site("blog")], threading.Semaphore(0)

    def gather() -> list[Site]:
        asked.release()
        return list(sites)

    proxy = make_proxy([slow], plugin("domains", gather_sites=gather))
    threads = [threading.Thread(target=proxy.apply, kwargs={"force": True}) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert slow.entered.wait(10)
    assert asked.acquire(timeout=10)
    assert not asked.acquire(blocking=False)  # what others wait for is gathered when it is their turn
    sites.append(site("shop"))
    slow.leave.set()
    for thread in threads:
        thread.join(10)
    assert (slow.most, slow.reloads, list(slow.sites)) == (1, 8, ["blog", "shop"])


class Broken:
    name = "broken"

    def fail(self, *_: Any) -> Any:
        raise KeyError("a mistake of its own")

    apply = status = virtual_hosts = endpoints = probe = accepts = fail


ASKED: dict[str, Callable[[Proxy], Any]] = {
    "apply": lambda proxy: proxy.apply(),
    "status": lambda proxy: proxy.status("blog"),
    "virtual_hosts": lambda proxy: proxy.virtual_hosts(),
    "endpoints": lambda proxy: proxy.endpoints(),
    "probe": lambda proxy: proxy.probe([Route("/", "web", 80)]),
    "accepts": lambda proxy: proxy.accepts("token"),
}


@pytest.mark.parametrize("method", ASKED)
def test_a_mistake_of_a_backend_is_logged_and_told_as_a_failure(
    make_proxy: MakeProxy, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    proxy = make_proxy([Broken()], sites_of("domains", site("blog")))
    for _ in range(2):  # and no lock is left held
        with pytest.raises(Failed) as caught:
            ASKED[method](proxy)
        assert caught.value.code == "PROXY_FAILED"
        assert "'broken'" in caught.value.message
    assert "a mistake of its own" in caplog.text


def test_what_a_backend_refuses_is_told_in_its_own_words(
    make_proxy: MakeProxy, fake_proxy: FakeProxy
) -> None:
    fake_proxy.refuse["blog"] = "no such directive"
    proxy = make_proxy([fake_proxy], sites_of("domains", site("blog")))
    with pytest.raises(Failed, match="no such directive") as caught:
        proxy.apply({"blog"})
    assert caught.value.code == "PROXY_CONFIG_FAILED"
    assert proxy.apply().quarantined == {"blog": "no such directive"}

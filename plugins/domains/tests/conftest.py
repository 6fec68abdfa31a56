"""A panel with deployments and domains, a proxy in memory, and certificates that are had at will."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from flatrun_core import HOOK_API, Failed, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.certificates import CERTIFICATES, Certificate
from flatrun_core.ports.deployments import ROUTES, DomainsChanged, Routes
from flatrun_core.ports.proxy import Host, ProxyBackend
from flatrun_core.ports.scheduling import LOCKS, Locks
from flatrun_core.testing.client import ADMIN_KEY, ApiClient
from flatrun_core.testing.fake_docker import FakeEngine
from flatrun_core.testing.fakes import FakeProxy
from flatrun_domains.following import FOLLOWER

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['8080']\n  api:\n    image: busybox\n"


class FakeCertificates:
    """Certificates in memory: ``refuse`` says of a primary name why an authority gives none."""

    def __init__(self) -> None:
        self.known: list[Certificate] = []
        self.refuse: dict[str, Exception] = {}
        self.asked: list[tuple[tuple[str, ...], str | None]] = []
        self.lookups = 0
        self.sentences: list[str] = []
        self.unconfirmed = ""
        self.locks: Locks | None = None
        self.routes: Callable[[], Routes] | None = None

    def give(self, *domains: str, **more: Any) -> Certificate:
        """Have a certificate for names."""
        now, number = datetime.now(UTC), len(self.known)
        folder = Path("/certs") / domains[0]
        made = Certificate(
            name=domains[0],
            domains=domains,
            issuer="Fake Authority",
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=60),
            leaf=folder / "cert.pem",
            chain=folder / "fullchain.pem",
            key=folder / "privkey.pem",
            fingerprint=f"{number:064x}",
        )
        made = replace(made, **more)
        self.known = [one for one in self.known if one.name != made.name] + [made]
        return made

    def lookup(self, hosts: Sequence[str]) -> Certificate | None:
        self.lookups += 1
        whole = [one for one in self.known if one.covers(hosts)]
        return next(iter(whole or [one for one in self.known if one.covers(hosts[:1])]), None)

    def ensure(self, hosts: Sequence[str], *, deployment: str | None = None) -> Certificate:
        self.asked.append((tuple(hosts), deployment))
        if self.locks is not None:
            # Another thread finds both free: an authority may take minutes.
            others_wait = threading.Thread(target=self._take_locks, args=(deployment,))
            others_wait.start()
            others_wait.join()
        if hosts[0] in self.refuse:
            raise self.refuse[hosts[0]]
        return self.give(*hosts)

    def _take_locks(self, deployment: str | None) -> None:
        try:
            assert self.locks is not None
            with self.locks.hold("deployment", deployment or "-"), self.locks.hold("proxy"):
                pass
        except Exception as exc:  # noqa: BLE001 - told to the test
            self.refuse["locks"] = exc

    def confirm(self, certificate: Certificate) -> str:
        return self.unconfirmed

    def advice(self, hosts: Sequence[str]) -> Sequence[str]:
        return [f"{hosts[0]}: {sentence}" for sentence in self.sentences]

    def release(self, hosts: Sequence[str]) -> Sequence[str]:
        assert self.routes is not None
        used = self.routes().hosts()
        gone = [
            one.name
            for one in self.known
            if set(one.domains) & set(hosts) and not set(one.domains) & set(used)
        ]
        self.known = [one for one in self.known if one.name not in gone]
        return gone


class Edge(ModuleType):
    """The plugins ``nginx`` and ``certificates`` of a test: a backend, and certificates unless None."""

    def __init__(self, proxy: FakeProxy | None, certificates: FakeCertificates | None) -> None:
        super().__init__("flatrun_edge")
        self.PLUGIN = PluginInfo(slug="certificates", hook_api=HOOK_API, display_name="Edge")
        self._proxy = proxy
        self._certificates = certificates
        self.events: list[DomainsChanged] = []
        for name in dir(type(self)):
            if name.startswith("flatrun_"):
                setattr(self, name, getattr(self, name))

    @hookimpl
    def flatrun_on_setup(self, ctx: PluginContext) -> None:
        if self._certificates is not None:
            self._certificates.routes = lambda: ctx.services.get(ROUTES)
            ctx.services.provide(CERTIFICATES, lambda: self._certificates)

    @hookimpl
    def flatrun_register_proxy_backends(self) -> Sequence[ProxyBackend]:
        return [self._proxy] if self._proxy is not None else []

    @hookimpl(optionalhook=True)
    def flatrun_on_domains_changed(self, event: DomainsChanged) -> None:
        self.events.append(event)


@dataclass
class Bench:
    """A panel on fakes; ``create`` makes a deployment and insists on it."""

    app: Flask
    client: ApiClient
    root: Path
    engine: FakeEngine
    proxy: FakeProxy
    certificates: FakeCertificates
    edge: Edge

    def service(self, key: Any) -> Any:
        return self.app.extensions["flatrun"].services.get(key)

    @property
    def routes(self) -> Routes:
        found: Routes = self.service(ROUTES)
        return found

    def create(self, name: str = "blog", **more: Any) -> dict[str, Any]:
        return self.done("POST", "/api/deployments", 201, name=name, compose=COMPOSE, **more)

    def add(self, domain: str, name: str = "blog", /, **more: Any) -> dict[str, Any]:
        """Add a domain; the whole answer."""
        return self.done("POST", f"/api/deployments/{name}/domains", 201, domain=domain, **more)

    def done(self, method: str, path: str, status: int = 200, /, **body: Any) -> dict[str, Any]:
        answer = self.client.open(method, path, json=body)
        assert answer.status_code == status, answer.get_data(as_text=True)
        found: dict[str, Any] = answer.get_json()
        return found

    def refused(self, status: int, code: str, method: str, path: str, /, **body: Any) -> dict[str, Any]:
        answer = self.done(method, path, status, **body)
        assert answer["code"] == code, answer
        return answer

    def file(self, name: str = "blog") -> Path:
        return self.root / name / "service.yml"

    def write(self, text: str, name: str = "blog") -> None:
        """Edit the file by hand, as somebody at the host does."""
        self.file(name).write_text(text)

    def hosts(self, name: str = "blog") -> list[Host]:
        site = self.proxy.sites.get(name)
        return list(site.hosts) if site else []

    def domains(self, name: str = "blog") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get(f"/api/deployments/{name}/domains").get_json()[
            "domains"
        ]
        return found

    def look(self) -> None:
        self.service(FOLLOWER).look()


@pytest.fixture
def certificates() -> FakeCertificates:
    """Return certificates in memory."""
    return FakeCertificates()


@pytest.fixture
def make_bench(
    tmp_path: Path,
    flatrun_app: Callable[..., Flask],
    flatrun_client: Callable[[Flask], ApiClient],
    fake_engine: FakeEngine,
    fake_proxy: FakeProxy,
    certificates: FakeCertificates,
) -> Iterator[Callable[..., Bench]]:
    """Return a function that makes panels: without proxy or certificates, or with a settings file."""
    from flatrun_deployments import plugin as deployments
    from flatrun_domains import plugin

    made: list[Bench] = []

    def make(
        *, proxy: bool = True, with_certificates: bool = True, saved: bool = False, **settings: Any
    ) -> Bench:
        edge = Edge(fake_proxy if proxy else None, certificates if with_certificates else None)
        config = tmp_path / "flatrun.yml" if saved else None
        if config is not None:
            known = {
                "deployments_path": str(tmp_path / "deployments"),
                "auth": {"api_keys": [ADMIN_KEY]},
            }
            config.write_text(json.dumps(known))
        app = flatrun_app(plugins=[deployments, plugin, edge], settings=settings, config=config)
        bench = Bench(
            app, flatrun_client(app), tmp_path / "deployments", fake_engine, fake_proxy, certificates, edge
        )
        certificates.locks = bench.service(LOCKS)
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.service(FOLLOWER).stop()
    assert "locks" not in certificates.refuse, certificates.refuse["locks"]


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """Return a panel with one deployment, ``blog``."""
    made = make_bench()
    made.create()
    return made


@pytest.fixture
def refusal() -> Failed:
    """Return what a proxy says of a configuration that it does not take."""
    return Failed("nginx: [emerg] no", code="PROXY_CONFIG_FAILED", details="nginx: [emerg] no")

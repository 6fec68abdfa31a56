"""A panel whose certificates are made here, by an issuer that leaves files as certbot does."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from flask import Flask

from flatrun_certificates import plugin
from flatrun_certificates.issuers import ISSUERS
from flatrun_core import HOOK_API, PluginContext, PluginInfo, ServiceKey, hookimpl
from flatrun_core.ports.auth import RecordedEvent, RecordedOutcome, RecordedRequest
from flatrun_core.ports.certificates import (
    CERTIFICATES,
    DNS_RECORDS,
    CertificateEvent,
    CertificateRequest,
    Issued,
)
from flatrun_core.ports.deployments import ROUTES
from flatrun_core.ports.proxy import Endpoints
from flatrun_core.testing.client import ApiClient, Login
from flatrun_core.testing.fakes import FakeProxy

KINDS: Final = ("cert", "chain", "fullchain", "privkey")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


@cache
def root() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """An authority; one for all tests of a process."""
    key = ec.generate_private_key(ec.SECP256R1())
    moment = datetime.now(UTC)
    builder = x509.CertificateBuilder(_name("Test Root"), _name("Test Root"), key.public_key(), 1)
    built = builder.not_valid_before(moment - timedelta(days=3650)).not_valid_after(
        moment + timedelta(days=3650)
    )
    return key, built.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())


@cache
def pair() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A key and its PEM; making one for each certificate would only cost time."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Maker:
    """Makes certificates. ``age`` and ``lifetime`` are those of what is made next."""

    def __init__(self) -> None:
        self.age = timedelta(days=1)
        self.lifetime = timedelta(days=90)

    def files(self, hosts: Sequence[str], **options: Any) -> dict[str, bytes]:
        """The PEM files by kind: ``cert``, ``chain``, ``fullchain``, ``privkey``."""
        ca_key, ca = root()
        key, key_pem = pair()
        before = datetime.now(UTC) - options.get("age", self.age)
        names = [x509.DNSName(host) for host in hosts]
        builder = (
            x509.CertificateBuilder(subject_name=_name(options.get("cn", "")), issuer_name=ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(before)
            .not_valid_after(before + options.get("lifetime", self.lifetime))
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        if options.get("ocsp"):
            responder = x509.UniformResourceIdentifier("http://ocsp.example")
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, responder)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        leaf = builder.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM)
        chain = ca.public_bytes(Encoding.PEM)
        return {"cert": leaf, "chain": chain, "fullchain": leaf + chain, "privkey": key_pem}

    def self_signed(self, hosts: Sequence[str], cn: str = "Ourselves", **options: Any) -> dict[str, bytes]:
        """Files as somebody makes them who signs himself; ``chain`` is the leaf again."""
        key, key_pem = pair()
        before = datetime.now(UTC) - options.get("age", self.age)
        builder = (
            x509.CertificateBuilder(_name(cn), _name(cn), key.public_key(), x509.random_serial_number())
            .not_valid_before(before)
            .not_valid_after(before + options.get("lifetime", self.lifetime))
        )
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        built = builder.add_extension(names, critical=False).sign(options.get("key", key), hashes.SHA256())
        leaf = built.public_bytes(Encoding.PEM)
        return {"cert": leaf, "chain": leaf, "fullchain": leaf, "privkey": key_pem}

    def other_key(self) -> bytes:
        """A key of nobody's certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Lineages:
    """The folder of certbot, written as certbot writes it."""

    def __init__(self, config: Path, maker: Maker) -> None:
        self.config = config
        self.maker = maker

    @property
    def live(self) -> Path:
        return self.config / "live"

    def newest(self, name: str) -> int:
        """The number of the newest version; 0 without one."""
        found = [
            int(n[1]) for p in (self.config / "archive" / name).glob("cert*") if (n := _NUMBER.search(p.name))
        ]
        return max(found, default=0)

    def add(self, name: str, hosts: Sequence[str] = (), **options: Any) -> Path:
        """Add a version to a lineage and let ``live`` name it; the live folder."""
        live, archive, renewal = (self.config / part for part in ("live", "archive", "renewal"))
        number = self.newest(name) + 1
        for folder in (live / name, archive / name, renewal):
            folder.mkdir(parents=True, exist_ok=True)
        for kind, data in self.maker.files(hosts or [name], **options).items():
            target = archive / name / f"{kind}{number}.pem"
            target.write_bytes(data)
            link = live / name / f"{kind}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(target, link.parent))
        how = f"server = {options.get('server', 'https://authority.test/dir')}\nauthenticator = webroot\n"
        how += f"webroot_path = {self.config.parent / 'html'},\n"
        links = "".join(f"{kind} = {live / name / kind}.pem\n" for kind in KINDS)
        head = f"version = 5.8.0\narchive_dir = {archive / name}\n{links}"
        (renewal / f"{name}.conf").write_text(f"{head}[renewalparams]\n{how}")
        return live / name

    def by_hand(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Put files into ``live`` that certbot does not know; the folder."""
        folder = self.live / name
        folder.mkdir(parents=True)
        for kind, data in files.items():
            (folder / f"{kind}.pem").write_bytes(data)
        return folder


_NUMBER: Final = re.compile(r"cert(\d+)\.pem$")


class FakeIssuer:
    """An issuer; ``refuse`` maps a lineage to the error it raises."""

    name = "fake"

    def __init__(self) -> None:
        self.lineages: Lineages | None = None
        self.refuse: dict[str, Exception] = {}
        self.calls: list[tuple[str, str]] = []
        self.requests: list[CertificateRequest] = []
        self.during: Callable[[], None] = lambda: None

    def issue(self, request: CertificateRequest) -> Issued:
        self.requests.append(request)
        return self._make("issue", request.name, request.hosts)

    def renew(self, name: str, *, force: bool) -> Issued:
        return self._make("renew", name, self._hosts(name))

    def delete(self, name: str) -> None:
        import shutil

        self.calls.append(("delete", name))
        assert self.lineages is not None
        for folder in (self.lineages.live / name, self.lineages.config / "archive" / name):
            shutil.rmtree(folder, ignore_errors=True)

    def _hosts(self, name: str) -> list[str]:
        assert self.lineages is not None
        leaf = x509.load_pem_x509_certificate((self.lineages.live / name / "cert.pem").read_bytes())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName)

    def _make(self, call: str, name: str, hosts: Sequence[str]) -> Issued:
        self.calls.append((call, name))
        self.during()
        if name in self.refuse:
            raise self.refuse[name]
        assert self.lineages is not None
        self.lineages.add(name, hosts, age=timedelta(minutes=1))
        return Issued(name, f"Successfully received certificate {name}.")


class Routes:
    """The routes of deployments; ``entries`` are names, deployment, and whether TLS is wanted."""

    def __init__(self) -> None:
        self.entries: list[tuple[tuple[str, ...], str, bool]] = []
        self.published: list[str] = []
        self.on_publish: Callable[[str], None] = lambda name: None

    def add(self, deployment: str, *names: str, tls: bool = True) -> None:
        self.entries.append((names, deployment, tls))

    def hosts(self) -> Mapping[str, str]:
        return {name: deployment for names, deployment, _ in self.entries for name in names}

    def owner(self, host: str) -> str | None:
        return self.hosts().get(host)

    def together(self, host: str) -> Sequence[str]:
        return next((names for names, _, _ in self.entries if host in names), ())

    def wants_tls(self, host: str) -> bool:
        return any(tls for names, _, tls in self.entries if host in names)

    def without_tls(self, hosts: Sequence[str]) -> None:
        self.entries = [(n, d, tls and not set(n) & set(hosts)) for n, d, tls in self.entries]

    def publish(self, name: str) -> Mapping[str, Any]:
        self.published.append(name)
        self.on_publish(name)
        return {}


class Records:
    """Records of the zones in ``zones``."""

    def __init__(self, *zones: str) -> None:
        self.zones = zones
        self.present_values: list[tuple[str, str]] = []

    def covers(self, name: str) -> bool:
        return any(name == zone or name.endswith(f".{zone}") for zone in self.zones)

    def present(self, name: str, type: str, value: str) -> None:
        self.present_values.append((name, value))

    def withdraw(self, name: str, type: str, value: str) -> None:
        self.present_values.remove((name, value))


class Notebook:
    """A recorder that keeps what it is told."""

    name = "notebook"

    def __init__(self) -> None:
        self.finished: list[tuple[RecordedRequest, RecordedOutcome]] = []
        self.events: list[RecordedEvent] = []

    def begin(self, request: RecordedRequest) -> None:
        """Admit everything."""

    def finish(self, token: Any, request: RecordedRequest, outcome: RecordedOutcome) -> None:
        self.finished.append((request, outcome))

    def note(self, event: RecordedEvent) -> None:
        self.events.append(event)


class Servers(FakeProxy):
    """A proxy that says where it answers TLS."""

    http: tuple[tuple[str, int], ...] = ()
    https: tuple[tuple[str, int], ...] = ()

    def endpoints(self) -> Endpoints:
        return Endpoints(self.http, self.https)


class Neighbour:
    """Another plugin: routes, records, an issuer, a proxy, and ears for events."""

    def __init__(self, slug: str, **offers: Any) -> None:
        self.PLUGIN = PluginInfo(slug=slug, hook_api=HOOK_API, display_name=slug.title())
        self.offers: dict[ServiceKey[Any], Any] = {}
        self.issuers: list[FakeIssuer] = []
        self.proxies: list[FakeProxy] = []
        self.recorders: list[Notebook] = []
        self.issued: list[CertificateEvent] = []
        self.failed: list[CertificateEvent] = []

    @hookimpl
    def flatrun_on_setup(self, ctx: PluginContext) -> None:
        for key, value in self.offers.items():
            ctx.services.provide(key, lambda value=value: value)

    @hookimpl
    def flatrun_register_proxy_backends(self) -> list[FakeProxy]:
        return self.proxies

    @hookimpl
    def flatrun_register_recorders(self) -> list[Notebook]:
        return self.recorders

    @hookimpl(optionalhook=True)
    def flatrun_register_issuers(self) -> list[FakeIssuer]:
        return self.issuers

    @hookimpl(optionalhook=True)
    def flatrun_on_certificate_issued(self, event: CertificateEvent) -> None:
        self.issued.append(event)

    @hookimpl(optionalhook=True)
    def flatrun_on_certificate_failed(self, event: CertificateEvent) -> None:
        self.failed.append(event)


class Bench:
    """A panel with certificates, and everything around them."""

    def __init__(self, app: Flask, admin: ApiClient, folder: Path, parts: "Parts") -> None:
        self.app, self.admin, self.parts = app, admin, parts
        self.maker = Maker()
        self.lineages = Lineages(folder / "nginx" / "certs", self.maker)
        parts.issuer.lineages = self.lineages
        self.issuer, self.routes, self.proxy = parts.issuer, parts.routes, parts.proxy
        self.records, self.notebook, self.events = parts.records, parts.notebook, parts.other

    @property
    def panel(self) -> Any:
        return self.app.extensions["flatrun"]

    @property
    def certificates(self) -> Any:
        return self.panel.services.get(CERTIFICATES)

    def service(self, key: Any) -> Any:
        return self.panel.services.get(key)

    def listed(self, client: ApiClient | None = None) -> dict[str, Any]:
        answer = (client or self.admin).get("/api/certificates")
        assert answer.status_code == 200, answer.get_json()
        return {one["domain"]: one for one in answer.get_json()["certificates"]}

    def one(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.listed()[name]
        return found


class Parts:
    """What stands around the plugin under test."""

    def __init__(self) -> None:
        self.issuer, self.routes, self.records = FakeIssuer(), Routes(), Records()
        self.proxy, self.notebook = Servers(), Notebook()
        self.other = Neighbour("neighbour")
        self.other.issuers.append(self.issuer)
        self.other.proxies.append(self.proxy)
        self.other.recorders.append(self.notebook)
        self.domains, self.dns = Neighbour("domains"), Neighbour("dns")
        self.domains.offers[ROUTES] = self.routes
        self.dns.offers[DNS_RECORDS] = self.records

    def plugins(self, *, dns: bool) -> list[Any]:
        return [plugin, self.other, self.domains, *([self.dns] if dns else [])]


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(flatrun_app: Callable[..., Flask], flatrun_client: Any, tmp_path: Path) -> MakeBench:
    """Return a function that makes panels with more settings, which ask the fake issuer."""

    def make(settings: Mapping[str, Any] | None = None, *, dns: bool = True, **more: Any) -> Bench:
        parts = Parts()
        chosen = {
            "certificates.issuer": "fake",
            "certbot.email": "admin@example.com",
            "certbot.preflight": "off",
            "certbot.server": "https://127.0.0.1:1/dir",
            **(settings or {}),
        }
        if "config" in more:
            chosen = dict(settings or {})
        app = flatrun_app(plugins=parts.plugins(dns=dns), settings=chosen, **more)
        return Bench(app, flatrun_client(app), tmp_path / "deployments", parts)

    return make


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


@pytest.fixture
def certbot_bench(make_bench: MakeBench) -> MakeBench:
    """Return a function that makes panels whose certbot is the fake; their proxy runs."""

    def make(settings: Mapping[str, Any] | None = None) -> Bench:
        bench = make_bench({"certificates.issuer": "certbot", **(settings or {})})
        bench.proxy.http = (("127.0.0.1", 9),)
        bench.issuer.name = "certbot"
        bench.service(ISSUERS)._found["certbot"] = bench.issuer
        return bench

    return make


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def lineages(tmp_path: Path, maker: Maker) -> Lineages:
    """A folder of certbot's without a panel."""
    return Lineages(tmp_path / "certs", maker)


@pytest.fixture
def reader(bench: Bench, flatrun_login: Login) -> Callable[..., ApiClient]:
    """Return a function that makes clients: permissions, and levels by deployment."""
    return lambda permissions, grants=None: flatrun_login(bench.app, permissions, grants)


@pytest.fixture(scope="session")
def made_files() -> Callable[[], dict[str, bytes]]:
    """Return a function that gives the files of one certificate, the same each time."""
    files = Maker().files(["a.example.com", "b.example.com"])
    return lambda: dict(files)

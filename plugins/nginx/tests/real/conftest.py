"""A panel with the real nginx in a container, on a network and on ports of the test's own."""

import http.client
import importlib.util
import json
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from flask import Flask

from flatrun_core.app import create_app
from flatrun_core.docker import ComposeCli, DockerEngine
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.docker import COMPOSE, ENGINE
from flatrun_core.ports.proxy import PROXY, Applied, Host, Proxy, Route, Site, Tls
from flatrun_core.programs import ProgramRunner
from flatrun_core.settings import SettingsSource
from flatrun_core.testing.pem import self_signed
from flatrun_nginx import plugin
from flatrun_nginx.backend import BACKEND, NginxBackend

ROOT = Path(__file__).resolve().parents[4]
HERE = "127.0.0.1"
PATIENCE = 20.0


def loaded(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"nginx_real_{Path(path).stem}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Answer:
    """What a visitor got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def seen(self) -> dict[str, str]:
        """The headers that the application saw, by lower-case name."""
        return {name.lower(): value for name, value in self.json()["headers"]}


@dataclass
class RealEdge:
    """The panel, its backend, and what visitors and targets need."""

    app: Flask
    backend: NginxBackend
    contributor: Any
    folder: Path
    name: str
    http_port: int
    https_port: int
    application: str

    @property
    def conf(self) -> Path:
        return self.folder / "conf.d"

    @property
    def proxy(self) -> Proxy:
        return self.service(PROXY)

    def service(self, key: Any) -> Any:
        return self.app.extensions["flatrun"].services.get(key)

    def fresh(self) -> NginxBackend:
        """A backend that knows nothing of before, as after a start of the panel."""
        return NginxBackend(self.backend._ctx)

    def certificate(self, *names: str) -> Tls:
        return self_signed(self.folder / "certs" / "live" / secrets.token_hex(4), *names)

    def change(self, store: Any, **nginx: Any) -> None:
        """Change settings as a request would."""
        store.change({"nginx": nginx}, SYSTEM)

    def docker(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(["docker", *args], capture_output=True, text=True, check=check, timeout=120)
        return done.stdout + done.stderr

    def state(self) -> str:
        return self.docker("inspect", "-f", "{{.State.Status}}", self.name, check=False).strip()

    def workers(self) -> set[str]:
        """The processes that answer; those of before a reload stay for a moment."""
        master = self.docker("inspect", "-f", "{{.State.Pid}}", self.name).strip()
        return set(Path(f"/proc/{master}/task/{master}/children").read_text().split())

    def serve(self, *sites: Site, changed: tuple[str, ...] | None = None) -> Applied:
        """Apply, and wait until nobody answers any more as before."""
        before = self.workers()
        names = changed if changed is not None else tuple(site.deployment for site in sites)
        applied = self.backend.apply(list(sites), set(names), False)
        if applied.reloaded:
            self.until(lambda: not before & self.workers())
        return applied

    def target(self, alias: str) -> str:
        """An application under a name on the proxy network; the container's name."""
        name = f"{self.name}-{alias}"
        project, _, service = alias.rpartition("-")
        self.docker(
            *("run", "-d", "--init", "--name", name, "--network", self.name, "--network-alias", alias),
            *("-e", f"NAME={alias}", "--label", f"com.docker.compose.project={project}"),
            *("--label", f"com.docker.compose.service={service}", self.application),
        )
        return name

    def get(
        self, host: str, target: str = "/", *, tls: bool = False, method: str = "GET", **headers: str
    ) -> Answer:
        """Ask as a visitor would, without any change to the target."""
        connection = self._connection(host, tls)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": host, **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def until(self, good: Callable[[], Any]) -> Any:
        """Wait until something is so; a reload takes effect a moment after the command."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                found = good()
            except (OSError, http.client.HTTPException, ValueError):
                found = None
            if found or time.monotonic() > end:
                assert found, (
                    f"not within {PATIENCE:g} seconds; {self.docker('logs', self.name, check=False)}"
                )
                return found
            time.sleep(0.05)

    def shown(self, name: str) -> bytes:
        """The certificate that is shown for a name, as DER."""
        context = unchecked()
        with (
            socket.create_connection((HERE, self.https_port), 10) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            return secured.getpeercert(True) or b""

    def _connection(self, host: str, tls: bool) -> http.client.HTTPConnection:
        if not tls:
            return http.client.HTTPConnection(HERE, self.http_port, timeout=20)
        connection = http.client.HTTPConnection(HERE, self.https_port, timeout=20)
        plain = socket.create_connection((HERE, self.https_port), 20)
        connection.sock = unchecked().wrap_socket(plain, server_hostname=host)
        return connection


def unchecked() -> ssl.SSLContext:
    """A client that looks at whatever it is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a file has them."""
    tree: dict[str, Any] = {}
    for name, value in dotted.items():
        group, _, key = name.rpartition(".")
        (tree.setdefault(group, {}) if group else tree)[key] = value
    return tree


@pytest.fixture(scope="session")
def nginx_image() -> str:
    return str(loaded("tests/e2e/images/build.py").build("nginx"))


@pytest.fixture(scope="session")
def application_image() -> str:
    return str(loaded("tests/e2e/images/build.py").build("application"))


@pytest.fixture(scope="session")
def ports() -> Any:
    return loaded("tests/e2e/flatrun_e2e/ports.py").Ports()


@pytest.fixture(scope="session")
def edge_starter(nginx_image: str, ports: Any, new_contributor: Callable[[], Any]) -> Callable[..., Any]:
    """Make a panel with a nginx of its own in a folder: ``edge_starter(stack, folder, application)``."""

    def start(stack: ExitStack, root: Path, application: str = "", **settings: Any) -> RealEdge:
        name = f"edge-{secrets.token_hex(4)}"
        stack.callback(_clear, name)
        engine = stack.enter_context(closing(DockerEngine()))
        compose = ComposeCli(ProgramRunner(), engine.touch, engine.client.host, engine.settle)
        http_port, https_port = ports.next(), ports.next()
        chosen = {
            "deployments_path": str(root),
            "nginx.container_name": name,
            "nginx.image": nginx_image,
            "nginx.http_port": http_port,
            "nginx.https_port": https_port,
            "nginx.bind_address": HERE,
            "infrastructure.default_proxy_network": name,
            **settings,
        }
        contributor = new_contributor()
        root.parent.mkdir(parents=True, exist_ok=True)
        config = root.parent / "flatrun.yml"
        config.write_text(yaml.safe_dump(nested(chosen)))
        app = create_app(
            SettingsSource.read(config, {}, {}),
            plugins=[plugin, contributor],
            strict=True,
            services={ENGINE: lambda: engine, COMPOSE: lambda: compose},
        )
        stack.callback(app.extensions["flatrun"].database.close)
        backend = app.extensions["flatrun"].services.get(BACKEND)
        return RealEdge(app, backend, contributor, root / "nginx", name, http_port, https_port, application)

    return start


@pytest.fixture
def make_real_edge(
    edge_starter: Callable[..., RealEdge], tmp_path: Path
) -> Iterator[Callable[..., RealEdge]]:
    with ExitStack() as stack:
        yield lambda application="", **settings: edge_starter(
            stack, tmp_path / "deployments", application, **settings
        )


@pytest.fixture(scope="module")
def running_edge(
    edge_starter: Callable[..., RealEdge], application_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealEdge]:
    """One that runs for all tests of a module; each begins with ``cleared``."""
    with ExitStack() as stack:
        edge = edge_starter(stack, tmp_path_factory.mktemp("edge") / "deployments", application_image)
        route = Route("/", "first-web", 80)
        edge.backend.apply([Site("first", (Host("first.example.com", (), (route,)),))], {"first"}, False)
        assert edge.state() == "running"
        yield edge


@pytest.fixture
def cleared(running_edge: RealEdge) -> RealEdge:
    """A nginx that runs and serves nothing."""
    running_edge.contributor.reset()
    running_edge.serve()
    return running_edge


@pytest.fixture
def real_edge(make_real_edge: Callable[..., RealEdge]) -> RealEdge:
    """nginx has not been started yet."""
    return make_real_edge()


@pytest.fixture
def site_edge(make_real_edge: Callable[..., RealEdge], application_image: str) -> RealEdge:
    """The same, with an application to put behind it."""
    return make_real_edge(application_image)


def _clear(name: str) -> None:
    listed = subprocess.run(
        ["docker", "ps", "-aq", "--filter", f"name={name}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    if listed.stdout.split():
        subprocess.run(
            ["docker", "rm", "-f", *listed.stdout.split()], capture_output=True, check=True, timeout=120
        )
    subprocess.run(["docker", "network", "rm", name], capture_output=True, check=False, timeout=60)

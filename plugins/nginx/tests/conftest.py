"""A panel whose nginx is judged by crossplane, and one with the real program in a container."""

import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import crossplane
import pytest
import yaml
from flask import Flask

from flatrun_core import HOOK_API, PluginInfo, SettingsSchema, fields, hookimpl
from flatrun_core.ports.docker import COMPOSE, Project
from flatrun_core.ports.nginx import Fragment
from flatrun_core.ports.programs import Completed
from flatrun_core.ports.proxy import PROXY, Host, Proxy, Route, Site, Tls
from flatrun_core.ports.settings import SettingsGroup
from flatrun_core.testing.client import ADMIN_KEY
from flatrun_core.testing.fake_docker import FakeCompose, FakeEngine
from flatrun_core.testing.fake_exec import ExecCall
from flatrun_core.testing.pem import self_signed
from flatrun_nginx import generation, plugin
from flatrun_nginx.backend import BACKEND, NginxBackend

VERSION = """nginx version: nginx/1.22.1
configure arguments: --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf \
--modules-path=/usr/lib/nginx/modules
"""
LISTING = "/usr/lib/nginx/modules:\nndk_http_module.so\nngx_http_lua_module.so\n/etc/nginx:\nmime.types\n"
# What crossplane's list lacks, and what stands in a map and is no statement at all.
UNLISTED = (
    *("http2", "ssl_reject_handshake", "lua_shared_dict", "init_by_lua_file"),
    *("rewrite_by_lua_block", "access_by_lua_block", "log_by_lua_block", "default", "https", "~*h2c", ""),
    r"~*^[^?]*(?:[/\x5c]|%2f|%5c)(?:\.|%2e){1,2}(?:[/\x5c;#?]|%2f|%5c|%3b|\z)",
)


@dataclass(frozen=True)
class Networks:
    default_proxy_network: str = "proxy"


class NetworksSchema(SettingsSchema):
    dataclass: ClassVar[type] = Networks
    default_proxy_network = fields.ContainerName(
        metadata={"description": "As the deployments plugin has it."}
    )


class Contributor:
    """A plugin that gathers the sites of a test, and fragments for them, and names the proxy network."""

    PLUGIN = PluginInfo(
        slug="contributor", hook_api=HOOK_API, display_name="Contributor", sections=("infrastructure",)
    )

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.sites: list[Site] = []
        self.fragments: list[Fragment] = []
        self.failure: Exception | None = None

    @hookimpl
    def flatrun_register_settings(self) -> Sequence[SettingsGroup]:
        return [SettingsGroup("infrastructure", NetworksSchema)]

    @hookimpl
    def flatrun_gather_sites(self) -> Sequence[Site]:
        return self.sites

    @hookimpl(optionalhook=True)
    def flatrun_gather_nginx_fragments(self, sites: Sequence[Site]) -> Sequence[Fragment]:
        if self.failure is not None:
            raise self.failure
        spoiled = [
            Fragment("server", "no_such_directive on;", site=site.deployment)
            for site in sites
            if site.options.get("spoiled")
        ]
        return [*self.fragments, *spoiled]


@dataclass
class FakeNginx:
    """The programs in the container, judging files as nginx would where crossplane can.

    ``refuse`` makes a test fail with that output; ``reloads`` counts; ``stuck`` is what it goes on telling
    whatever set it is to have, ``asked`` which places it was asked at.
    """

    folder: Path
    refuse: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    reloads: int = 0
    reload_failure: str = ""
    version: str = VERSION
    listing: str = LISTING
    on_test: Callable[[], None] = lambda: None
    stuck: str | None = None
    asked: list[Any] = field(default_factory=list)

    def ask(self, place: Any) -> str | None:
        """Which set it has, as a visitor is told."""
        self.asked.append(place)
        return generation.standing(self.folder / "conf.d") if self.stuck is None else self.stuck

    def run(self, call: ExecCall) -> Completed:
        """``nginx -V``, ``-t -c`` and ``-s reload``."""
        if call.args[1:] == ("-V",):
            return call.done(stderr=self.version)
        if call.args[1:] == ("-s", "reload"):
            self.reloads += not self.reload_failure
            return call.done(stderr=self.reload_failure, returncode=int(bool(self.reload_failure)))
        self.tests.append(call.args[3])
        self.on_test()
        problem = self.refuse.pop(0) if self.refuse else self.judge(call.args[3])
        if problem:
            text = f"nginx: [emerg] {problem}\nnginx: configuration file {call.args[3]} test failed\n"
            return call.done(stderr=text, returncode=1)
        return call.done(stderr=f"nginx: configuration file {call.args[3]} test is successful\n")

    def list(self, call: ExecCall) -> Completed:
        """``ls``."""
        return call.done(stdout=self.listing)

    def judge(self, main: str) -> str:
        """What nginx would say of a main file; empty when it is good."""
        stage = self.folder / ".judged" / secrets.token_hex(6)
        shutil.copytree(self.folder / "conf.d", stage / "conf.d", symlinks=True)
        start = stage / "conf.d" / main.removeprefix("/etc/nginx/conf.d/")
        for path in stage.rglob("*"):
            if path.is_file():
                text = path.read_bytes().decode("utf-8", "replace")
                text = text.replace("/etc/nginx/conf.d", str(stage / "conf.d"))
                text = re.sub(r"include \S+/mime\.types;", "", text)
                path.unlink()
                path.write_text(text)
        try:
            return self._problem(start, stage)
        finally:
            shutil.rmtree(stage)

    def judge_live(self) -> str:
        """What nginx would say of the files as they stand."""
        main = self.folder / "conf.d" / "judged-main"
        main.write_text((self.folder / "nginx.conf").read_text())
        try:
            return self.judge("/etc/nginx/conf.d/judged-main")
        finally:
            main.unlink()

    def _problem(self, start: Path, stage: Path) -> str:
        payload = crossplane.parse(str(start), strict=True, check_ctx=True, check_args=True)
        for one in payload["config"]:
            for error in one["errors"]:
                text = str(error["error"])
                if not any(f'"{name}"' in text for name in UNLISTED):
                    place = f" in {one['file']}:{error['line']}"
                    told = text.split(" in /", maxsplit=1)[0] + place
                    return told.replace(str(stage / "conf.d"), "/etc/nginx/conf.d")
        for one in payload["config"]:
            for missing in self._missing(one["parsed"]):
                return f'cannot load certificate "{missing}": no such file'
        return ""

    def _missing(self, statements: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        for one in statements:
            if one["directive"] in ("ssl_certificate", "ssl_certificate_key"):
                path = one["args"][0]
                if not (self.folder / "certs" / path.removeprefix("/etc/letsencrypt/")).exists():
                    yield path
            yield from self._missing(one.get("block", ()))


class ComposeWithRun(FakeCompose):
    """Also runs programs in throw-away containers."""

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__(engine)
        self.ran: list[tuple[str, ...]] = []

    def run(self, project: Project, *args: str, timeout: float = 600.0, check: bool = True) -> Completed:
        if args[0] != "run":
            return super().run(project, *args, timeout=timeout, check=check)
        # An empty command: it succeeds, or fails as it was told to.
        done = super().run(project, "run", timeout=timeout, check=check)
        if done.returncode != 0:
            return done
        program, rest = args[args.index("--entrypoint") + 1], args[args.index("--entrypoint") + 3 :]
        self.ran.append((program, *rest))
        return self.engine.programs[program](ExecCall("throw-away", (program, *rest), timeout))


@dataclass
class World:
    """A panel with nginx and what stands around it."""

    app: Flask
    backend: NginxBackend
    contributor: Contributor
    folder: Path
    engine: Any
    compose: Any
    nginx: FakeNginx
    settings: dict[str, Any]

    @property
    def conf(self) -> Path:
        return self.folder / "conf.d"

    @property
    def proxy(self) -> Proxy:
        return self.service(PROXY)

    @property
    def container(self) -> Any:
        return self.engine.container("edge")

    def service(self, key: Any) -> Any:
        return self.app.extensions["flatrun"].services.get(key)

    def names(self) -> list[str]:
        """What stands in the folder of generated files, whatever it is."""
        return sorted(path.name for path in self.conf.iterdir())

    def fresh(self) -> NginxBackend:
        """A backend that knows nothing of before, as after a start of the panel."""
        return NginxBackend(self.backend._ctx)

    def later(self, seconds: float) -> None:
        """Let what failed have failed so long ago."""
        self.backend._workshop.attempts._clock = lambda: time.monotonic() + seconds


def plain(deployment: str, *, port: int = 80, **more: Any) -> Site:
    """A site of one host."""
    host = Host(f"{deployment}.example.com", (), (Route("/", f"{deployment}-web", port),))
    return Site(deployment, (host,), more)


@pytest.fixture(scope="session")
def new_contributor() -> Callable[[], Contributor]:
    return Contributor


@pytest.fixture
def contributor() -> Contributor:
    return Contributor()


@pytest.fixture
def make_site() -> Callable[..., Site]:
    return plain


@pytest.fixture
def spoiled() -> Callable[[str], Site]:
    """A site that nginx refuses, though every value of it is good."""
    return lambda name: plain(name, spoiled=True)


@pytest.fixture
def make_world(
    flatrun_app: Callable[..., Flask],
    fake_engine: FakeEngine,
    contributor: Contributor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., World]:
    def make(running: bool = False, **settings: Any) -> World:
        compose = ComposeWithRun(fake_engine)
        folder = tmp_path / "deployments" / "nginx"
        nginx = FakeNginx(folder)
        fake_engine.programs.update(nginx=nginx.run, ls=nginx.list)
        monkeypatch.setattr(generation, "ask", nginx.ask)
        chosen = {"nginx.container_name": "edge", "nginx.image": "test/nginx:1", **settings}
        config = tmp_path / "flatrun.yml"
        root = {"deployments_path": str(tmp_path / "deployments"), "auth": {"api_keys": [ADMIN_KEY]}}
        nginx_settings = {name.partition(".")[2]: value for name, value in chosen.items()}
        config.write_text(yaml.safe_dump({**root, "nginx": nginx_settings}))
        app = flatrun_app(plugins=[plugin, contributor], config=config, services={COMPOSE: lambda: compose})
        backend = app.extensions["flatrun"].services.get(BACKEND)
        backend.container._pause = lambda seconds: None
        world = World(app, backend, contributor, folder, fake_engine, compose, nginx, chosen)
        if running:
            fake_engine.add("edge", image="test/nginx:1", networks={"proxy": ()})
        return world

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """nginx has never run yet."""
    return make_world()


@pytest.fixture
def tls(world: World) -> Tls:
    """A certificate that nginx sees."""
    return self_signed(world.folder / "certs" / "live" / "test", "*.example.com")


@pytest.fixture
def two_ports() -> tuple[int, int]:
    """Ports on which nothing listens."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])


@pytest.fixture
def free_port(two_ports: tuple[int, int]) -> int:
    return two_ports[0]


@pytest.fixture
def another_port(two_ports: tuple[int, int]) -> int:
    return two_ports[1]

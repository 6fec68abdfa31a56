"""Fixtures of the end-to-end tests: real Engine, real panel, nothing left behind.

`scripts/test` prepares the machine for them. Without an Engine the tests fail, they are never
skipped: a green run has really run them.
"""

from __future__ import annotations

import importlib.util
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import docker
import pytest
import requests
from docker.errors import DockerException
from docker.utils import kwargs_from_env

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from flatrun_e2e.bad_authority import BadAuthority, running_bad_authority  # noqa: E402  (found by the path above)
from flatrun_e2e.edge import Edge  # noqa: E402
from flatrun_e2e.panel import PanelProcess  # noqa: E402
from flatrun_e2e.pebble import Pebble, PebbleOptions, running_pebble  # noqa: E402
from flatrun_e2e.ports import Ports  # noqa: E402
from flatrun_e2e.postgres import Cluster, running_cluster  # noqa: E402
from flatrun_e2e.private_engine import PrivateEngine  # noqa: E402
from flatrun_e2e.secured import Secured  # noqa: E402
from flatrun_e2e.traces import Traces  # noqa: E402

StartPanel = Callable[..., PanelProcess]
StartEngine = Callable[..., PrivateEngine]
StartEdge = Callable[..., Edge]
StartPebble = Callable[..., Pebble]
StartBadAuthority = Callable[[Pebble], BadAuthority]
StartSecured = Callable[..., Secured]


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker, for a run of this folder alone."""
    config.addinivalue_line("markers", "e2e: needs the real Docker Engine (scripts/test starts one)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.APIClient]:
    """Return a low-level client of the real Engine."""
    try:
        client = docker.APIClient(**kwargs_from_env(), version="auto", timeout=60)
        client.ping()
    except (DockerException, requests.RequestException) as error:
        pytest.fail(
            f"The end-to-end tests need a running Docker Engine, and none answers: {error}\n"
            "Run scripts/test, which installs and starts one, or start dockerd yourself."
        )
    yield client
    client.close()


@pytest.fixture(scope="session")
def busybox_image(engine: docker.APIClient) -> str:
    """Return the name of a local image with every busybox applet; it is made when absent."""
    return str(_images().build("busybox"))


@pytest.fixture(scope="session")
def nginx_image(engine: docker.APIClient) -> str:
    """Return the name of a local image of nginx with Lua; it is made when absent."""
    return str(_images().build("nginx"))


@pytest.fixture(scope="session")
def application_image(engine: docker.APIClient) -> str:
    """Return the name of a local image of the application in images/application.py."""
    return str(_images().build("application"))


@pytest.fixture(scope="session")
def ports() -> Ports:
    """Return the source of free ports, for a test that needs several."""
    return Ports()


@pytest.fixture
def free_port(ports: Ports) -> int:
    """Return a port on which nothing listens."""
    return ports.next()


@pytest.fixture
def new_name(engine: docker.APIClient) -> Iterator[Callable[[], str]]:
    """Return a source of deployment names; whatever the Engine has of them goes at the end."""
    given: set[str] = set()

    def make() -> str:
        name = f"e2e-{secrets.token_hex(4)}"
        given.add(name)
        return name

    yield make
    _clear(engine, given)


@pytest.fixture
def unique_name(new_name: Callable[[], str]) -> str:
    """Return a deployment name that nobody else uses."""
    return new_name()


@pytest.fixture
def start_panel(tmp_path: Path, engine: docker.APIClient, ports: Ports) -> Iterator[StartPanel]:
    """Return a function that starts panels: `start_panel(settings={...}, env={...})`.

    `engine=` names the PrivateEngine that the panel shall use in place of the shared one.
    """
    with ExitStack() as stack:
        yield _panel_starter(tmp_path, engine, ports, stack)


@pytest.fixture
def panel(start_panel: StartPanel, busybox_image: str) -> PanelProcess:
    """Return a running panel with a folder, a port and a key of its own."""
    return start_panel()


@pytest.fixture(scope="module")
def module_panel(
    tmp_path_factory: pytest.TempPathFactory,
    engine: docker.APIClient,
    busybox_image: str,
    ports: Ports,
) -> Iterator[PanelProcess]:
    """Return a running panel that the tests of a module share."""
    with ExitStack() as stack:
        yield _panel_starter(tmp_path_factory.mktemp("panel"), engine, ports, stack)()


@pytest.fixture
def start_edge(
    tmp_path: Path, engine: docker.APIClient, ports: Ports, nginx_image: str
) -> Iterator[StartEdge]:
    """Return a function that starts a panel with a proxy of its own: `start_edge(settings={...})`.

    `http_port=` is for the port of an authority that fetches its proofs there.
    """
    with ExitStack() as stack:
        yield _edge_starter(tmp_path, engine, ports, nginx_image, stack)


@pytest.fixture
def edge(start_edge: StartEdge) -> Edge:
    """Return a panel with a proxy of its own."""
    return start_edge()


@pytest.fixture(scope="module")
def module_edge(
    tmp_path_factory: pytest.TempPathFactory, engine: docker.APIClient, ports: Ports, nginx_image: str
) -> Iterator[Edge]:
    """Return a panel with a proxy that the tests of a module share."""
    with ExitStack() as stack:
        yield _edge_starter(tmp_path_factory.mktemp("edge"), engine, ports, nginx_image, stack)()


@pytest.fixture
def start_private_engine(engine: docker.APIClient) -> Iterator[StartEngine]:
    """Return a function that starts Engines: `start_private_engine(address_pools=[...])`."""
    engines: list[PrivateEngine] = []

    def start(address_pools: Sequence[Mapping[str, Any]] | None = None) -> PrivateEngine:
        made = PrivateEngine([dict(pool) for pool in address_pools] if address_pools else None)
        engines.append(made)
        made.start()
        return made

    yield start
    left = [text for made in engines for text in made.close()]
    assert not left, f"The private Engine left: {', '.join(left)}"


@pytest.fixture
def private_engine(start_private_engine: StartEngine, busybox_image: str) -> PrivateEngine:
    """Return an Engine for this test alone, with the busybox image in it."""
    made = start_private_engine()
    made.load(busybox_image)
    return made


@pytest.fixture
def start_pebble(tmp_path: Path, ports: Ports) -> Iterator[StartPebble]:
    """Return a function that starts ACME authorities: `start_pebble(http_port=..., nonce_reject=15)`."""
    with ExitStack() as stack:
        number = iter(range(1000))

        def start(**options: Any) -> Pebble:
            options.setdefault("http_port", ports.next())
            folder = tmp_path / f"authority-{next(number)}"
            return stack.enter_context(running_pebble(folder, ports, PebbleOptions(**options)))

        yield start


@pytest.fixture
def start_bad_authority(ports: Ports) -> Iterator[StartBadAuthority]:
    """Return a function that puts a server with bad days before an authority."""
    with ExitStack() as stack:
        yield lambda pebble: stack.enter_context(running_bad_authority(pebble, ports.next()))


@pytest.fixture
def start_secured(
    tmp_path: Path, engine: docker.APIClient, ports: Ports, nginx_image: str
) -> Iterator[StartSecured]:
    """Return a function that starts a panel with proxy and authority; options are those of pebble.

    `settings=` and `env=` are for the panel.
    """
    with ExitStack() as stack:
        yield _secured_starter(
            tmp_path, ports, _edge_starter(tmp_path, engine, ports, nginx_image, stack), stack
        )


@pytest.fixture(scope="module")
def module_secured(
    tmp_path_factory: pytest.TempPathFactory, engine: docker.APIClient, ports: Ports, nginx_image: str
) -> Iterator[Secured]:
    """Return a panel with proxy and authority that the tests of a module share."""
    folder = tmp_path_factory.mktemp("secured")
    with ExitStack() as stack:
        start_edge = _edge_starter(folder, engine, ports, nginx_image, stack)
        yield _secured_starter(folder, ports, start_edge, stack)()


def _panel_starter(folder: Path, engine: docker.APIClient, ports: Ports, stack: ExitStack) -> StartPanel:
    shared, number = engine, iter(range(1000))

    def start(
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        engine: PrivateEngine | None = None,
    ) -> PanelProcess:
        more = {**(engine.env if engine else {}), **(env or {})}
        made = PanelProcess(folder / f"panel-{next(number)}", ports.next(), settings, more)
        stack.callback(_close_panel, made, None if engine else shared)
        made.start()
        return made

    return start


def _edge_starter(
    folder: Path, engine: docker.APIClient, ports: Ports, image: str, stack: ExitStack
) -> StartEdge:
    def start(
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        http_port: int | None = None,
    ) -> Edge:
        edge = Edge(engine, f"e2e-edge-{secrets.token_hex(4)}", ports, image, http_port)
        # Called last: the panel and its sites have gone by then.
        stack.callback(edge.clear)
        start_panel = _panel_starter(folder / edge.name, engine, ports, stack)
        edge.panel = start_panel(settings=edge.settings(settings or {}), env=env)
        return edge

    return start


def _secured_starter(folder: Path, ports: Ports, start_edge: StartEdge, stack: ExitStack) -> StartSecured:
    number = iter(range(1000))

    def start(
        settings: Mapping[str, Any] | None = None,
        env: Callable[[Pebble], Mapping[str, str]] | None = None,
        **options: Any,
    ) -> Secured:
        place = folder / f"authority-{next(number)}"
        wanted = PebbleOptions(http_port=ports.next(), **options)
        pebble = stack.enter_context(running_pebble(place, ports, wanted))
        asked = stack.enter_context(running_bad_authority(pebble, ports.next()))
        edge = start_edge(
            settings=Secured.settings(pebble, asked, settings or {}),
            env=env(pebble) if env else None,
            http_port=wanted.http_port,
        )
        made = Secured(edge, pebble, asked, place / "root.pem")
        made.note_root()
        return made

    return start


def _close_panel(panel: PanelProcess, engine: docker.APIClient | None) -> None:
    """End a panel and remove what its deployments left, on the shared Engine."""
    try:
        panel.close()
    finally:
        # pytest shows this below a test that failed, and drops it otherwise.
        sys.stdout.write(f"--- output of the panel at {panel.url}\n{panel.log[-6000:]}\n")
        if engine is not None:
            _clear(engine, panel.created | Traces(engine).projects_under(panel.root))


def _clear(engine: docker.APIClient, projects: set[str]) -> None:
    traces = Traces(engine)
    left = traces.remove(projects)
    traces.remove_images_of(projects)
    assert not left, f"Still on the Engine after the test: {', '.join(left)}"


def _images() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flatrun_e2e_images", HERE / "images/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """Return a PostgreSQL server of the module's own."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 512 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=755", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.fail(f"This test mounts a small file system and needs root for it: {mounted.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)

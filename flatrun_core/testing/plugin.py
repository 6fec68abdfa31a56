"""pytest fixtures for plugin authors; nothing is imported from the core until one is used.

No fixture acts on tests that do not ask for it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flask import Flask

    from flatrun_core.testing.client import ApiClient, Login
    from flatrun_core.testing.fake_docker import FakeCompose, FakeEngine
    from flatrun_core.testing.fakes import FakeProxy


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of tests that need a real Docker Engine."""
    config.addinivalue_line("markers", "e2e: needs real components (Docker Engine, PostgreSQL)")


@pytest.fixture
def fake_engine() -> "FakeEngine":
    """A Docker Engine in memory; ``down = True`` makes it unreachable."""
    from flatrun_core.testing.fake_docker import FakeEngine  # noqa: PLC0415

    return FakeEngine()


@pytest.fixture
def fake_compose(fake_engine: "FakeEngine") -> "FakeCompose":
    """``docker compose`` in memory, acting on ``fake_engine``."""
    from flatrun_core.testing.fake_docker import FakeCompose  # noqa: PLC0415

    return FakeCompose(fake_engine)


@pytest.fixture
def fake_proxy() -> "FakeProxy":
    """A proxy backend that keeps what it was given."""
    from flatrun_core.testing.fakes import FakeProxy  # noqa: PLC0415

    return FakeProxy()


@pytest.fixture
def flatrun_app(
    tmp_path: Path, fake_engine: "FakeEngine", fake_compose: "FakeCompose"
) -> "Iterator[Callable[..., Flask]]":
    """Make applications: ``flatrun_app(plugins=[module or slug, ...], settings={...})``.

    Only the plugins named are loaded, every failure of theirs is raised, Docker is the fakes, and
    the deployments root is a folder of the test's own. Settings may be dotted or nested.
    """
    from flatrun_core.app import create_app  # noqa: PLC0415
    from flatrun_core.ports.docker import COMPOSE, ENGINE  # noqa: PLC0415
    from flatrun_core.settings import SettingsSource  # noqa: PLC0415
    from flatrun_core.testing.client import ADMIN_KEY, LoginPlugin  # noqa: PLC0415

    with ExitStack() as stack:

        def make(
            *,
            plugins: Sequence[Any] = (),
            settings: Mapping[str, Any] | None = None,
            config: Path | None = None,
            services: Mapping[Any, Callable[[], Any]] | None = None,
        ) -> "Flask":
            overrides = {
                "deployments_path": str(tmp_path / "deployments"),
                "auth.api_keys": [ADMIN_KEY],
                **(settings or {}),
            }
            if config is not None:
                overrides = dict(settings or {})
            app = create_app(
                SettingsSource.read(config, {}, overrides),
                plugins=[*plugins, LoginPlugin()],
                strict=True,
                services={
                    ENGINE: lambda: fake_engine,
                    COMPOSE: lambda: fake_compose,
                    **(services or {}),
                },
            )
            stack.callback(app.extensions["flatrun"].database.close)
            return app

        yield make


@pytest.fixture
def flatrun_client() -> "Callable[[Flask], ApiClient]":
    """Make a client of an application: ``flatrun_client(app)`` acts as administrator."""
    from flatrun_core.testing.client import ADMIN_KEY, ApiClient  # noqa: PLC0415

    return lambda app: ApiClient(app, ADMIN_KEY)


@pytest.fixture
def flatrun_login() -> "Login":
    """Make clients with chosen rights: ``flatrun_login(app, ["deployments:read"], {"blog": Level.READ})``."""
    from flatrun_core.testing.client import Login  # noqa: PLC0415

    return Login()


@pytest.fixture
def run_jobs() -> "Callable[[Flask], None]":
    """Run an application's queued jobs to their end in this thread: ``run_jobs(app)``."""

    def run(app: "Flask") -> None:
        app.extensions["flatrun"].jobs.run_queued()

    return run


@pytest.fixture
def run_timer() -> "Callable[[Flask, str], None]":
    """Let the scheduler run one of an application's timers, once: ``run_timer(app, "hello.forget")``."""
    from flatrun_core.testing.timers import run_once  # noqa: PLC0415

    return run_once

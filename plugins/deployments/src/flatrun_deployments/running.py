"""Runs a deployment: what is derived is written anew, then the runtime acts on the project."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from flatrun_core import Failed, NotFound, PluginContext
from flatrun_core.ports.deployments import CREDENTIALS, ROUTES, Runtime
from flatrun_core.ports.docker import Engine, Project
from flatrun_deployments import override
from flatrun_deployments.discovery import Folder
from flatrun_deployments.runtime import choose
from flatrun_deployments.settings import DeploymentsSettings, NetworkSettings

# Actions that make containers, and so need networks and images.
CREATING: Final = frozenset({"start", "restart"})


class Running:
    """Start, stop, restart and down of one folder; the caller holds the deployment's lock."""

    def __init__(self, ctx: PluginContext, engine: Engine, runtimes: Mapping[str, Runtime]) -> None:
        self._ctx = ctx
        self._engine = engine
        self._runtimes = runtimes

    def act(self, folder: Folder, action: str, env: Mapping[str, str] | None = None) -> str:
        """Run ``start``, ``stop`` or ``restart``; the program's output.

        Files that cannot be used are 500 ``COMPOSE_FAILED``, as when compose refuses it; only
        ``stop`` does without it.
        """
        runtime = self.runtime()
        if action == "stop" and folder.blocked:
            with _without_file(folder) as project:
                return runtime.stop(project)
        project = self.project(folder, env)
        if action in CREATING:
            self.ensure_networks(folder)
        if action == "start":
            return runtime.start(project)
        return runtime.restart(project) if action == "restart" else runtime.stop(project)

    def down(self, folder: Folder, *, volumes: bool) -> str:
        """Remove containers and networks, and named volumes when asked."""
        if folder.blocked:
            with _without_file(folder) as project:
                return self.runtime().down(project, volumes=volumes)
        return self.runtime().down(override.project(folder), volumes=volumes)

    def validate(self, folder: Folder) -> None:
        """Raise ``Invalid`` ``COMPOSE_INVALID`` when the runtime refuses the files."""
        self.runtime().validate(self.project(folder))

    def project(self, folder: Folder, env: Mapping[str, str] | None = None) -> Project:
        """The compose project, its override derived from ``service.yml`` and the routes as they are now."""
        if folder.blocked:
            problem = f"Docker Compose cannot run this deployment: {folder.blocked}"
            raise Failed(problem, code="COMPOSE_FAILED", output=folder.blocked)
        # With a broken service.yml the last good override stays: a typo must not unpublish a site.
        if folder.metadata is not None:
            text = override.render(folder, self.routed(folder), self.proxy_network())
            override.write_if_changed(folder, text)
        return override.project(folder, env or {})

    def ensure_networks(self, folder: Folder) -> None:
        """Make the external networks the override names, where they are missing."""
        if self.routed(folder):
            self.ensure_proxy_network()
        for network in extra_networks(folder.metadata):
            self._engine.ensure_network(network)

    def ensure_proxy_network(self) -> None:
        """Make the proxy network when it is missing."""
        self._engine.ensure_network(self.proxy_network())

    @contextmanager
    def login(self, folder: Folder) -> Iterator[Mapping[str, str]]:
        """Environment with a throw-away registry login for the images, empty when none is needed."""
        credentials = self._ctx.services.find(CREDENTIALS)
        if credentials is None:
            yield {}
            return
        credential_id = (folder.metadata or {}).get("credential_id") or None
        with credentials.docker_config(folder.compose.images, credential_id) as config:
            yield {"DOCKER_CONFIG": str(config)} if config else {}

    def routed(self, folder: Folder) -> Mapping[str, tuple[str, ...]]:
        """Routed services, each with its aliases on the proxy network; empty without a routes plugin."""
        routes = self._ctx.services.find(ROUTES)
        try:
            return routes.networks(folder.name) if routes is not None else {}
        except NotFound:
            # It is only being created.
            return {}

    def proxy_network(self) -> str:
        """The name of the proxy network."""
        return self._ctx.settings(NetworkSettings).default_proxy_network

    def runtime(self) -> Runtime:
        """The runtime named in the settings."""
        return choose(self._runtimes, self._ctx.settings(DeploymentsSettings).runtime)


@contextmanager
def _without_file(folder: Folder) -> Iterator[Project]:
    """The project by its name alone, from a folder where compose finds no file that it cannot read."""
    with TemporaryDirectory(prefix="flatrun-") as empty:
        yield Project(folder.project, Path(empty), ())


def extra_networks(metadata: Mapping[str, object] | None) -> tuple[str, ...]:
    """External networks that ``service.yml`` makes every service join (``networking.networks``)."""
    networking = (metadata or {}).get("networking")
    named = networking.get("networks") if isinstance(networking, Mapping) else None
    return tuple(str(name) for name in named) if isinstance(named, list | tuple) else ()

"""The deployments of this panel: the port that views and other plugins use."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flatrun_core import Invalid, PanelSettings, PluginContext, ServiceKey, StartupError
from flatrun_core.ports.auth import SYSTEM, Identity
from flatrun_core.ports.deployments import (
    ROUTES,
    ActionResult,
    Created,
    Deployment,
    DeploymentEvent,
    EditableMetadata,
    NewDeployment,
    Removed,
    RemoveOptions,
    Runtime,
)
from flatrun_core.ports.docker import ENGINE
from flatrun_core.ports.scheduling import LOCKS
from flatrun_core.ports.settings import SettingsChange
from flatrun_deployments import recovery, service_yml
from flatrun_deployments.catalogue import Catalogue
from flatrun_deployments.creation import Creation
from flatrun_deployments.discovery import Discovery, Folder
from flatrun_deployments.proxy_network import ProxyNetworkKeeper
from flatrun_deployments.removal import Remover
from flatrun_deployments.running import Running
from flatrun_deployments.service_document import KeptDocuments

# What each action is called when it is over, which is also the event's name.
DONE: Final = {"start": "started", "stop": "stopped", "restart": "restarted"}
EVENTS: Final = {"start": "started", "stop": "stopped", "restart": "started"}

# How long an edit waits for whoever has the deployment: as long as a request may take to tell.
EDIT_WAIT: Final = 10.0

PROXY_NETWORK: Final = "infrastructure.default_proxy_network"


class DeploymentService:
    """Implements ``DEPLOYMENTS`` on folders, the Engine and a runtime."""

    def __init__(self, ctx: PluginContext, runtimes: Mapping[str, Runtime]) -> None:
        engine = ctx.services.get(ENGINE)
        self._ctx = ctx
        self._locks = ctx.services.get(LOCKS)
        self.catalogue = Catalogue(Discovery(self.root), engine)
        self._documents = KeptDocuments()
        self._running = Running(ctx, engine, runtimes)
        self._creation = Creation(ctx, self.root, self.catalogue, self._running, self._locks)
        self._remover = Remover(ctx, self.root, self.catalogue, self._running)
        self._keeper = ProxyNetworkKeeper(ctx, engine, self.catalogue)

    def root(self) -> Path:
        """The folder that holds every deployment."""
        return Path(self._ctx.settings(PanelSettings).deployments_path)

    def serve(self) -> None:
        """Repair what a crash left and begin to look after the proxy network."""
        try:
            recovery.recover(self.root(), self.catalogue.discovery)
        finally:
            # An unreadable root may be mended while the panel runs.
            self._keeper.start()

    def shutdown(self) -> None:
        """Stop what ``serve`` began."""
        self._keeper.stop()

    def list(self) -> Sequence[Deployment]:
        """All, by name, infrastructure ones included."""
        return self.catalogue.all()

    def get(self, name: str) -> Deployment:
        """One; 404 ``DEPLOYMENT_NOT_FOUND``, 400 ``INVALID_NAME``."""
        return self.catalogue.one(self.catalogue.folder(name))

    def details(self, name: str) -> tuple[Deployment, Folder, Mapping[str, Any] | None]:
        """One with its files and the state of its routes (None without a routes plugin)."""
        folder = self.catalogue.folder(name)
        routes = self._ctx.services.find(ROUTES)
        return self.catalogue.one(folder), folder, routes.status(name) if routes is not None else None

    def create(self, new: NewDeployment, identity: Identity) -> Created:
        """Create, completely or not at all."""
        return self._creation.create(new, identity)

    def act(self, name: str, action: str, identity: Identity) -> ActionResult:
        """start, stop or restart; a second operation at the same time is 409 ``OPERATION_IN_PROGRESS``.

        409 ``PROJECT_IN_USE`` when another folder has the same compose project.
        """
        if action not in DONE:
            raise Invalid(f"Unknown action '{action}'; there is: {', '.join(DONE)}")
        self.catalogue.folder(name)
        with self._locks.hold("deployment", name):
            folder = self._alone(name)
            if action == "stop":
                output = self._running.act(folder, action)
            else:
                with self._running.login(folder) as env:
                    output = self._running.act(folder, action, env)
        self._tell(EVENTS[action], folder, identity)
        return ActionResult(name, action, output)

    def remove(self, name: str, options: RemoveOptions, identity: Identity) -> Removed:
        """Remove; with ``files`` False the folder stays with a marker. Refused as ``act`` is."""
        self.catalogue.folder(name)
        with self._locks.hold("deployment", name):
            return self._remover.remove(self._alone(name), options, identity)

    @contextmanager
    def exclusive(self, name: str, wait: float = 0) -> Iterator[Deployment]:
        """Hold the deployment's lock."""
        self.catalogue.folder(name)
        with self._locks.hold("deployment", name, wait):
            yield self.get(name)

    @contextmanager
    def edit(self, name: str) -> Iterator[EditableMetadata]:
        """``service.yml`` as a round-trip document, under the deployment's lock."""
        self.catalogue.folder(name)
        with self._locks.hold("deployment", name, EDIT_WAIT):
            folder = self.catalogue.folder(name)
            with service_yml.edit(folder.path, name, self._documents) as document:
                yield document
        self._tell("changed", folder, SYSTEM)

    def of_container(self, container_id: str) -> str | None:
        """The deployment a container belongs to, or None."""
        return self.catalogue.of_container(container_id)

    def connect(self, name: str) -> None:
        """Put the running containers of routed services on the proxy network."""
        self._keeper.connect(self._alone(name))

    def settings_changed(self, change: SettingsChange) -> None:
        """Put the containers on another proxy network when its name has changed."""
        if PROXY_NETWORK in change.changed:
            self._keeper.moved()

    def _alone(self, name: str) -> Folder:
        """A folder whose containers are its own, for who is about to act on them."""
        folder = self.catalogue.folder(name)
        self.catalogue.check_alone(folder)
        return folder

    def _tell(self, what: str, folder: Folder, identity: Identity) -> None:
        event = DeploymentEvent(folder.name, folder.path, identity)
        self._ctx.hooks.notify(f"flatrun_on_deployment_{what}", event=event)


# The service with what only this plugin's own views and lifecycle use beside the port.
SERVICE: ServiceKey[DeploymentService] = ServiceKey("deployments.service", "deployments")


def collect_runtimes(ctx: PluginContext) -> dict[str, Runtime]:
    """The runtimes that plugins register, by name; two of one name stop the start."""
    owners: dict[str, str] = {}
    runtimes: dict[str, Runtime] = {}
    for slug, runtime in ctx.hooks.register("flatrun_register_runtimes"):
        if runtime.name in runtimes:
            other = owners[runtime.name]
            raise StartupError(f"runtime '{runtime.name}' is offered by both '{other}' and '{slug}'")
        owners[runtime.name] = slug
        runtimes[runtime.name] = runtime
    return runtimes

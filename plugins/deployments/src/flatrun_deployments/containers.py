"""Containers one by one: those of deployments, and for whoever has no scope all others too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flatrun_core import Conflict, Level, PluginContext, ServiceKey
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.deployments import DEPLOYMENTS, Deployments
from flatrun_core.ports.docker import ENGINE, Container, Engine

# The list is never older than this, in seconds.
_AGE: Final = 1.0
_UNREMOVABLE: Final = frozenset({"running", "paused", "restarting"})


@dataclass(frozen=True, slots=True)
class ContainerItem:
    """A container in the list; ``id`` is the short one, ``deployment`` None when it is of none."""

    id: str
    name: str
    image: str
    state: str
    status: str
    health: str
    ports: tuple[str, ...]
    created: datetime
    deployment: str | None
    service: str | None


class ContainerService:
    """Lists, starts, stops, restarts and removes containers."""

    def __init__(self, engine: Engine, deployments: Callable[[], Deployments]) -> None:
        self._engine = engine
        self._deployments = deployments
        self._actions: Mapping[str, Callable[[str], None]] = {
            "start": engine.start,
            "stop": engine.stop,
            "restart": engine.restart,
        }

    def list(self, identity: Identity, *, stopped: bool) -> Sequence[ContainerItem]:
        """Containers the identity may read, by name; 503 with Docker down."""
        owners = {found.project: found.name for found in reversed(self._deployments().list())}
        items = []
        for container in sorted(self._engine.containers(max_age=_AGE), key=lambda c: (c.name, c.id)):
            deployment = owners.get(container.project) if container.project else None
            if (stopped or container.state == "running") and identity.can(Level.READ, deployment):
                items.append(_item(container, deployment))
        return items

    def owner(self, ref: str) -> str | None:
        """The deployment of a container by id or name; None when it has none, is unknown or ill-named.

        503 with Docker down: nobody can say whose it is.
        """
        return self._deployments().of_container(ref)

    def act(self, ref: str, action: str) -> None:
        """start, stop or restart; being in that state already is no error. 404 ``CONTAINER_NOT_FOUND``."""
        self._actions[action](self._engine.container(ref).id)

    def remove(self, ref: str) -> None:
        """Remove a container that does not run, else 409 ``CONTAINER_RUNNING``; anonymous volumes stay."""
        container = self._engine.container(ref)
        if container.state in _UNREMOVABLE:
            # The list may be a moment behind.
            self._engine.touch()
            container = self._engine.container(container.id)
        if container.state in _UNREMOVABLE:
            raise Conflict(f"The container is {container.state}; stop it first", code="CONTAINER_RUNNING")
        self._engine.remove(container.id)


def _item(container: Container, deployment: str | None) -> ContainerItem:
    return ContainerItem(
        id=container.id[:12],
        name=container.name,
        image=container.image,
        state=container.state,
        status=container.status,
        health=container.health,
        ports=container.ports,
        created=container.created,
        deployment=deployment,
        service=container.service,
    )


CONTAINERS: Final[ServiceKey[ContainerService]] = ServiceKey("deployments.containers", "deployments")


def provide(ctx: PluginContext) -> None:
    """Offer ``CONTAINERS`` to this plugin's own views."""
    services = ctx.services
    services.provide(
        CONTAINERS, lambda: ContainerService(services.get(ENGINE), lambda: services.get(DEPLOYMENTS))
    )

"""Logs of deployments and of single containers, as one text or as a stream."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from flatrun_core import Failed, FlatrunError, NotFound, PluginContext, ServerEvent, ServiceKey
from flatrun_core.ports.deployments import DEPLOYMENTS, Deployment, Deployments
from flatrun_core.ports.docker import ENGINE, PROJECT_LABEL, Container, Engine, EngineEvent, LogLine
from flatrun_deployments.log_follower import Follower, Timing
from flatrun_deployments.log_hub import LogHub
from flatrun_deployments.log_text import last_lines, render, unreadable

# Events that say that the Engine's event stream itself came or went.
_STREAM_EVENTS: Final = frozenset({"connected", "disconnected"})
# How long a container may be away while it is made anew under its name, in seconds.
_RECREATION: Final = 3.0


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines: the last ``tail`` of them in all, none before ``since`` (RFC 3339), of one ``service``."""

    tail: int = 100
    since: str | None = None
    service: str | None = None
    timestamps: bool = True


class DeploymentSource:
    """The containers of a deployment, or of one of its services; one-off ones are not among them."""

    def __init__(
        self, engine: Engine, deployments: Deployments, deployment: Deployment, service: str | None
    ) -> None:
        self._engine = engine
        self._deployments = deployments
        self._name = deployment.name
        self._project = deployment.project
        self._service = service

    def containers(self) -> Sequence[Container]:
        """See ``Source``."""
        return [
            container
            for container in self._engine.containers()
            if container.project == self._project
            and not container.oneoff
            and (self._service is None or container.service == self._service)
        ]

    def exists(self) -> bool:
        """See ``Source``."""
        try:
            # Without a project its containers may be another deployment's by now.
            return bool(self._deployments.get(self._name).project)
        except NotFound:
            return False

    def concerns(self, event: EngineEvent) -> bool:
        """See ``Source``."""
        return event.action in _STREAM_EVENTS or event.attributes.get(PROJECT_LABEL) == self._project


class ContainerSource:
    """One container; when it was asked for by its name, also its successors of that name and project."""

    def __init__(self, engine: Engine, container: Container, ref: str) -> None:
        self._engine = engine
        self._container = container
        self._name = container.name if ref == container.name else None
        self._seen = time.monotonic()

    def containers(self) -> Sequence[Container]:
        """See ``Source``."""
        return [container for container in self._engine.containers() if self._matches(container)]

    def exists(self) -> bool:
        """See ``Source``."""
        if self.containers():
            self._seen = time.monotonic()
            return True
        return self._name is not None and time.monotonic() - self._seen < _RECREATION

    def concerns(self, event: EngineEvent) -> bool:
        """See ``Source``."""
        return (
            event.action in _STREAM_EVENTS
            or event.container_id == self._container.id
            or (self._name is not None and event.attributes.get("name") == self._name)
        )

    def _matches(self, container: Container) -> bool:
        if container.id == self._container.id:
            return True
        # Whoever may read the one may read the other only when both are of one deployment.
        same_project = container.project is not None and container.project == self._container.project
        return same_project and container.name == self._name


class LogService:
    """Reads and follows logs."""

    def __init__(
        self, engine: Engine, deployments: Callable[[], Deployments], timing: Timing | None = None
    ) -> None:
        self.hub = LogHub(engine)
        self._engine = engine
        self._deployments = deployments
        self._timing = timing or Timing()

    def read(self, name: str, query: LogQuery) -> str:
        """The last lines of a deployment, each with its service in front; empty without containers.

        404 ``DEPLOYMENT_NOT_FOUND``, ``SERVICE_NOT_FOUND``; 503 with Docker down.
        """
        logs: list[tuple[Container, Sequence[LogLine]]] = []
        refused: list[FlatrunError] = []
        for container in self._source(name, query).containers():
            try:
                logs.append((container, self._lines(container, query)))
            except NotFound:
                continue
            except Failed as exc:
                refused.append(exc)
                logs.append((container, [unreadable(exc)]))
        if refused and len(refused) == len(logs):
            raise refused[0]
        return render(last_lines(logs, query.tail), timestamps=query.timestamps, prefixed=True)

    def follow(self, name: str, query: LogQuery) -> Iterator[ServerEvent | None]:
        """The last lines of a deployment as events, then new ones; errors as with ``read``."""
        return Follower(self.hub, self._source(name, query), query.tail, query.since, self._timing).events()

    def read_container(self, ref: str, query: LogQuery) -> str:
        """The last lines of one container; 404 ``CONTAINER_NOT_FOUND``, 503 with Docker down."""
        container = self._engine.container(ref)
        lines = [(container, line) for line in self._lines(container, query)]
        return render(lines, timestamps=query.timestamps, prefixed=False)

    def follow_container(self, ref: str, query: LogQuery) -> Iterator[ServerEvent | None]:
        """The last lines of one container as events, then new ones; errors as with ``read_container``."""
        source = ContainerSource(self._engine, self._engine.container(ref), ref)
        return Follower(self.hub, source, query.tail, query.since, self._timing).events()

    def _source(self, name: str, query: LogQuery) -> DeploymentSource:
        deployment = self._deployments().get(name)
        known = {service.name for service in deployment.services}
        if query.service is not None and query.service not in known:
            raise NotFound("The compose file has no such service", code="SERVICE_NOT_FOUND")
        return DeploymentSource(self._engine, self._deployments(), deployment, query.service)

    def _lines(self, container: Container, query: LogQuery) -> list[LogLine]:
        return self._engine.logs(container.id, tail=query.tail, since=query.since)


LOGS: Final[ServiceKey[LogService]] = ServiceKey("deployments.logs", "deployments")


def provide(ctx: PluginContext) -> None:
    """Offer ``LOGS`` to this plugin's own views."""
    services = ctx.services
    services.provide(LOGS, lambda: LogService(services.get(ENGINE), lambda: services.get(DEPLOYMENTS)))

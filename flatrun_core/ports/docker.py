"""The one door to Docker: what the Engine knows, and what ``docker compose`` does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from flatrun_core.ports.programs import Completed
from flatrun_core.services import ServiceKey

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
ONEOFF_LABEL = "com.docker.compose.oneoff"


@dataclass(frozen=True, slots=True)
class Container:
    """One container as the Engine lists it.

    ``state`` is the Engine's word (created, running, paused, restarting, removing, exited, dead),
    ``status`` its text for people ("Up 2 hours"), ``health`` healthy, unhealthy, starting or none.
    ``ports`` are in Docker's notation, published ones only; ``exit_code`` only when exited.
    """

    id: str
    name: str
    image: str
    state: str
    status: str
    health: str
    created: datetime
    exit_code: int | None = None
    ports: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def project(self) -> str | None:
        """The compose project, if any."""
        return self.labels.get(PROJECT_LABEL)

    @property
    def service(self) -> str | None:
        """The compose service, if any."""
        return self.labels.get(SERVICE_LABEL)

    @property
    def number(self) -> int:
        """The replica's number, from 1."""
        text = self.labels.get(NUMBER_LABEL, "1")
        return int(text) if text.isdigit() else 1

    @property
    def oneoff(self) -> bool:
        """Whether ``compose run`` made it; such containers do not count for a service's status."""
        return self.labels.get(ONEOFF_LABEL, "").lower() == "true"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The Engine's version and what the panel's checks need to know of it."""

    version: str
    api_version: str
    cgroup_version: str
    cgroup_driver: str
    root: str
    cpus: int
    memory: int
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """A container event of the Engine: ``action`` is start, die, destroy, health_status, ...

    ``connected`` and ``disconnected`` (with no container) say that the event stream itself came
    or went, so that whoever keeps state knows to look again.
    """

    action: str
    container_id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a container: ``timestamp`` is RFC 3339 with nanoseconds, ``stream`` stdout or stderr."""

    timestamp: str
    stream: str
    line: str


class LogStream(Protocol):
    """A live log; iteration ends when the container stops or ``close`` is called from any thread."""

    def __iter__(self) -> Iterator[LogLine]:
        """Lines as they come."""

    def close(self) -> None:
        """End the stream and its connection at once."""


class Engine(Protocol):
    """The Docker Engine.

    Every method raises ``DockerUnavailable`` when it does not answer, at once and not after a time-
    out when its socket refuses.
    """

    def info(self) -> EngineInfo:
        """Version and host facts, cached for a minute."""

    def containers(self, *, max_age: float = 60.0) -> Sequence[Container]:
        """Every container, from one query kept current by the event stream.

        The answer is at most ``max_age`` seconds old, and never older than the last event or the
        last ``touch``. Without a live event stream each call asks the Engine.
        """

    def touch(self) -> None:
        """Forget what was kept; called after an action, so that the next read shows its effect."""

    def container(self, ref: str) -> Container:
        """By full or short id (4 hex or more) or by name.

        Unknown: 404 ``CONTAINER_NOT_FOUND``; an ambiguous prefix is 400.
        """

    def start(self, container_id: str) -> None:
        """Start; already running is no error. Refused: 500 ``DOCKER_ERROR``."""

    def stop(self, container_id: str) -> None:
        """Stop with the container's own grace period; already stopped is no error."""

    def restart(self, container_id: str) -> None:
        """Restart."""

    def remove(self, container_id: str) -> None:
        """Remove a stopped container; running, paused or restarting: 409 ``CONTAINER_RUNNING``."""

    def logs(
        self,
        container_id: str,
        *,
        tail: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[LogLine]:
        """The last ``tail`` lines between ``since`` and ``until`` (RFC 3339), both streams in order."""

    def follow(self, container_id: str, *, since: str | None = None) -> LogStream:
        """Live lines after ``since`` (exclusive), or from now on."""

    def inspect(self, container_id: str) -> Mapping[str, Any]:
        """The Engine's own document of a container."""

    def stats(self, container_id: str) -> Mapping[str, Any]:
        """The Engine's own statistics document: takes one to two seconds."""

    def exec(self, container_id: str, args: Sequence[str], *, timeout: float) -> Completed:
        """Run a program in a container that runs: an argument list, no input, no shell.

        One that the container lacks or may not run ends with 126 or 127 and the reason as output.
        Over ``timeout`` seconds raises ``TimedOut`` with the ``output`` so far; the program itself
        may go on in the container. A container that stops ends it with 137. Unknown: 404
        ``CONTAINER_NOT_FOUND``; stopped, paused, restarting or removed meanwhile: 409
        ``CONTAINER_NOT_RUNNING``. Output is bounded like that of ``PROGRAMS``.
        """

    def networks(self) -> Mapping[str, Mapping[str, Any]]:
        """The Engine's networks by name."""

    def ensure_network(self, name: str) -> bool:
        """Make a bridge network when missing; True when made.

        No addresses left: 500 ``NETWORK_POOL_EXHAUSTED`` with what to do.
        """

    def connect_network(self, network: str, container_id: str, aliases: Sequence[str]) -> None:
        """Connect a container; already connected is no error."""

    def remove_network(self, name: str) -> None:
        """Remove a network; absent is no error."""

    def volumes(self, project: str) -> list[str]:
        """Names of a compose project's volumes."""

    def image_exists(self, ref: str) -> bool:
        """Whether the image is on the host."""

    def subscribe(self, listener: Callable[[EngineEvent], None]) -> Callable[[], None]:
        """Call ``listener`` on the watcher's thread for each container event; returns the way to stop.

        A listener must be quick and must not raise.
        """


@dataclass(frozen=True, slots=True)
class Project:
    """A compose project on disk: ``files`` in the order of ``-f``, ``env`` added to the process.

    Of a variable that several of ``env_files`` set the last one counts; when any is named, the
    folder's own ``.env`` is read only if it is among them.
    """

    name: str
    directory: Path
    files: tuple[Path, ...]
    env_files: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


class Compose(Protocol):
    """``docker compose`` by argument list, ``docker-compose`` where the plugin is missing."""

    def version(self) -> str:
        """The version found; ``Unavailable`` ``COMPOSE_MISSING`` when there is none."""

    def run(self, project: Project, *args: str, timeout: float = 600.0, check: bool = True) -> Completed:
        """Run one compose command.

        With ``check``, a failure raises 500 ``COMPOSE_FAILED`` (or 503 ``DOCKER_UNAVAILABLE``, 500
        ``NETWORK_POOL_EXHAUSTED``, 409 ``PORT_IN_USE``) with ``output``; over the limit 504. Drops
        the Engine's kept state whatever happens.
        """

    def config(self, project: Project) -> Mapping[str, Any]:
        """The normalised document; a refusal is 400 ``COMPOSE_INVALID`` with ``output``. Needs no Engine."""


ENGINE: ServiceKey[Engine] = ServiceKey("engine", "core")
COMPOSE: ServiceKey[Compose] = ServiceKey("compose", "core")

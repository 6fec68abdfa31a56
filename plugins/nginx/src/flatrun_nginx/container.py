"""nginx's container: how it does, programs in it and in throw-away ones, making and starting it."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from flatrun_core import Conflict, Failed, FlatrunError, NotFound
from flatrun_core.fields import parse_time
from flatrun_core.ports.docker import Compose, Container, Engine, Project
from flatrun_core.ports.programs import Completed
from flatrun_core.ports.proxy import Endpoints
from flatrun_nginx import blame, compose_file, targets
from flatrun_nginx.environment import Environment
from flatrun_nginx.settings import NginxSettings

log = logging.getLogger(__name__)

TEST_SECONDS: Final = 60.0
START_SECONDS: Final = 600.0
LOOKS: Final = 5
BETWEEN_LOOKS: Final = 1.0
_KILLED: Final = 137
_LINES: Final = 200
# What nginx says after it has said for which address, and why.
_GIVES_UP: Final = "still could not bind()"
_MOMENT: Final = timedelta(seconds=2)
_THROW_AWAY: Final = ("run", "--rm", "--no-deps", "-T", "--entrypoint")

RUNNING: Final = "running"
LOOPING: Final = "looping"
ABSENT: Final = "absent"
CREATED: Final = "created"
STOPPED: Final = "stopped"
PAUSED: Final = "paused"
UNREACHABLE: Final = "unreachable"


@dataclass(frozen=True, slots=True)
class State:
    """How the container does; ``why`` is what the Engine said where it could not be asked."""

    kind: str
    container: Container | None = None
    why: str = ""

    @property
    def running(self) -> bool:
        """Whether programs can be run in it."""
        return self.kind == RUNNING

    @property
    def id(self) -> str:
        """Its id; empty without a container."""
        return self.container.id if self.container is not None else ""

    @property
    def mark(self) -> str:
        """By which files it was made; empty where it was not made by ours."""
        return self.container.labels.get(compose_file.MARK, "") if self.container is not None else ""

    def is_of(self, settings: NginxSettings) -> bool:
        """Whether our project made it and it is up, so that it is made anew when it should be another."""
        return self.kind in (RUNNING, LOOPING) and self.was_made_by(settings)

    def was_made_by(self, settings: NginxSettings) -> bool:
        """Whether our project made it, up or not."""
        project = compose_file.project_name(settings.container_name)
        return self.container is not None and bool(self.mark) and self.container.project == project

    def has_image(self, settings: NginxSettings) -> bool:
        """Whether it was made of the image that the settings name."""
        return self.container is not None and self.container.labels.get(compose_file.IMAGE) == settings.image

    @property
    def may_read_later(self) -> bool:
        """Whether it reads its files anew before it answers again; a paused one has its old ones still."""
        return self.kind in (ABSENT, CREATED, STOPPED, LOOPING)

    @property
    def may_be_started(self) -> bool:
        """Whether it is ours to start: it was never there, or never came up."""
        return self.kind in (ABSENT, CREATED)


class NginxContainer:
    """``pause`` waits a number of seconds; only a container that restarts is waited for."""

    def __init__(self, engine: Engine, compose: Compose, pause: Callable[[float], None] = time.sleep) -> None:
        self._engine = engine
        self._compose = compose
        self._pause = pause

    def look(self, name: str, looks: int = LOOKS) -> State:
        """How the container of that name does; one that restarts is looked at again a few times."""
        state = self._look(name)
        for _ in range(looks - 1):
            if state.kind != LOOPING:
                break
            self._pause(BETWEEN_LOOKS)
            state = self._look(name)
        return state

    def execute(self, state: State, args: Sequence[str]) -> Completed:
        """Run a program in the running container; 409 ``CONTAINER_NOT_RUNNING`` when that ends it.

        One that was paused a moment ago would not answer at all, so that is looked at first.
        """
        status = (self._engine.inspect(state.id).get("State") or {}).get("Status") or RUNNING
        if status != RUNNING:
            self._engine.touch()
            raise Conflict(f"nginx's container is {status}", code="CONTAINER_NOT_RUNNING")
        done = self._engine.exec(state.id, args, timeout=TEST_SECONDS)
        if done.returncode == _KILLED:
            raise Conflict("nginx's container stopped meanwhile", code="CONTAINER_NOT_RUNNING")
        return done

    def throw_away(self, project: Project, args: Sequence[str]) -> Completed:
        """Run a program in a new container of a project's image and mounts, which goes with it."""
        program, *rest = args
        words = (*_THROW_AWAY, program, compose_file.SERVICE, *rest)
        return self._compose.run(project, *words, timeout=START_SECONDS, check=False)

    def start(self, environment: Environment, *, anew: bool = False) -> None:
        """Make and start it, or make it anew where its file says something else. Raises what refuses.

        ``anew`` makes it anew whatever compose thinks of it.
        """
        more = ("--force-recreate",) if anew else ()
        self._engine.ensure_network(environment.network)
        project = compose_file.project_of(environment.layout, environment.settings)
        try:
            self._compose.run(project, "up", "-d", "--remove-orphans", *more, timeout=START_SECONDS)
        except FlatrunError as exc:
            raise _explained(exc, environment) from exc

    def discard(self, environment: Environment) -> None:
        """Remove the container that the project of these settings made."""
        project = compose_file.project_of(environment.layout, environment.settings)
        self._compose.run(project, "down", "--remove-orphans", timeout=TEST_SECONDS)

    def restart(self, state: State) -> None:
        """Restart at once one that would wait longer and longer between its own attempts."""
        self._engine.restart(state.id)

    def mounts(self, state: State) -> Mapping[str, str] | None:
        """The names of the files and folders that are mounted, by their places in the container.

        None where that cannot be told.
        """
        try:
            listed = self._engine.inspect(state.id).get("Mounts") if state.id else None
        except FlatrunError:
            return None
        if not isinstance(listed, list):
            return None
        return {
            str(one.get("Destination")): Path(str(one.get("Source"))).name
            for one in listed
            if one.get("Type") == "bind"
        }

    def ensure_network(self, network: str) -> None:
        """Make the proxy network where it is missing."""
        self._engine.ensure_network(network)

    def connect(self, state: State, network: str) -> None:
        """Have it on the proxy network."""
        if state.container is not None and state.running and network not in state.container.networks:
            self._engine.ensure_network(network)
            self._engine.connect_network(network, state.id, ())

    def endpoints(self, state: State, network: str) -> Endpoints:
        """Where it answers: the ports of this host first, then its own on its network."""
        if state.container is None or not state.running:
            return Endpoints()
        return targets.endpoints(self._engine, state.container, network)

    def last_error(self, state: State, since: datetime) -> str:
        """The last line of its log since a moment that tells of an error; empty without one."""
        try:
            lines = self._engine.logs(state.id, tail=_LINES, since=since.isoformat())
        except FlatrunError:
            return ""
        told = [text for text in (blame.error(line.line) for line in lines) if text and text != _GIVES_UP]
        return told[-1] if told else ""

    def image_id(self, image: str) -> object:
        """What stands for an image: another value once it is there; None where the Engine cannot say."""
        try:
            return self._engine.image_exists(image)
        except FlatrunError:
            return None

    def _look(self, name: str) -> State:
        try:
            found = next((one for one in self._engine.containers() if one.name == name), None)
        except FlatrunError as exc:
            return State(UNREACHABLE, why=exc.message)
        if found is None:
            return State(ABSENT)
        kinds = {"running": RUNNING, "restarting": LOOPING, "created": CREATED, "paused": PAUSED}
        kind = kinds.get(found.state, STOPPED)
        return State(LOOPING if kind == RUNNING and self._just_restarted(found) else kind, found)

    def _just_restarted(self, container: Container) -> bool:
        """Whether it is up for a moment only, between two ends: Docker calls that running, too."""
        if "second" not in container.status:
            return False
        try:
            document = self._engine.inspect(container.id)
            started = parse_time(str((document.get("State") or {}).get("StartedAt")))
        except (FlatrunError, ValueError):
            return False
        return bool(document.get("RestartCount")) and datetime.now(UTC) - started < _MOMENT


def is_gone(exc: FlatrunError) -> bool:
    """Whether a program could not be run because the container went or stopped meanwhile."""
    return isinstance(exc, NotFound) or exc.code == "CONTAINER_NOT_RUNNING"


def _explained(exc: FlatrunError, environment: Environment) -> FlatrunError:
    settings = environment.settings
    if exc.code == "PORT_IN_USE":
        ports = f"{settings.http_port} and {settings.https_port}"
        text = (
            f"{exc.message}, so nginx was not started. It needs the ports {ports}: stop what has them, "
            "or set nginx.http_port, nginx.https_port or nginx.bind_address"
        )
        return type(exc)(text, code=exc.code)
    if exc.code == "COMPOSE_FAILED":
        text = (
            f"nginx could not be started from the image {settings.image}: {exc.message}. Pull the image, "
            "or set nginx.image to one that this host has or can get"
        )
        return Failed(text, code="NGINX_START_FAILED")
    return exc

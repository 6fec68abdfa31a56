"""``docker compose`` in memory: it reads the real files and changes a ``FakeEngine``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flatrun_core.docker.compose import compose_failure
from flatrun_core.errors import FlatrunError, Invalid
from flatrun_core.ports.docker import (
    NUMBER_LABEL,
    ONEOFF_LABEL,
    PROJECT_LABEL,
    SERVICE_LABEL,
    Compose,
    Project,
)
from flatrun_core.ports.programs import Completed
from flatrun_core.testing.fake_containers import FakeContainer
from flatrun_core.testing.fake_engine import FakeEngine
from flatrun_core.testing.fake_project import ComposeDocument, ComposeRefusedError, long_port
from flatrun_core.testing.fake_refusals import refusal_text

_VALUED: Final = frozenset(("-t", "--timeout", "--scale", "--wait-timeout", "-p", "--pull"))
_DOWN: Final = (
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
)


@dataclass(frozen=True)
class ComposeCall:
    """One command as it came."""

    project: Project
    args: tuple[str, ...]
    timeout: float


@dataclass(frozen=True)
class _Failure:
    output: str
    returncode: int
    error: FlatrunError | None
    command: str


@dataclass
class _Command:
    name: str
    flags: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)


class FakeCompose(Compose):
    """Knows up, start, stop, restart, down, rm, kill, pause, unpause and config; others just succeed.

    ``calls`` tells what was asked. ``fail_next`` makes a command fail by what it prints, which goes
    through the same reading as the real one's output, or by an error.
    """

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.calls: list[ComposeCall] = []
        self.installed = "2.26.1"
        self._failures: list[_Failure] = []

    def fail_next(
        self,
        output: str = "something went wrong",
        *,
        returncode: int = 1,
        error: FlatrunError | None = None,
        command: str = "",
    ) -> None:
        """The next command, or the next one of that name, fails; nothing is done."""
        self._failures.append(_Failure(output, returncode, error, command))

    def commands(self, project: str = "") -> list[str]:
        """The names of the commands so far, of one project or of all."""
        return [call.args[0] for call in self.calls if not project or call.project.name == project]

    def version(self) -> str:
        """See the port."""
        return self.installed

    def run(self, project: Project, *args: str, timeout: float = 600.0, check: bool = True) -> Completed:
        """See the port."""
        self.calls.append(ComposeCall(project, args, timeout))
        try:
            returncode, output = self._attempt(project, _parse(args))
        finally:
            self.engine.touch()
        if check and returncode != 0:
            raise compose_failure(args[0] if args else "", output)
        return Completed(("docker", "compose", *args), returncode, "", output)

    def config(self, project: Project) -> Mapping[str, Any]:
        """See the port; ports, networks and environments are in their long forms."""
        self.calls.append(ComposeCall(project, ("config",), 30.0))
        failure = self._failure("config")
        if failure is not None and failure.error is not None:
            raise failure.error
        try:
            if failure is not None:
                raise ComposeRefusedError(failure.output)
            return ComposeDocument(project).normalised()
        except ComposeRefusedError as exc:
            text = f"Compose refuses the file: {exc}"
            raise Invalid(text, code="COMPOSE_INVALID", output=str(exc)) from exc

    def _attempt(self, project: Project, command: _Command) -> tuple[int, str]:
        failure = self._failure(command.name)
        if failure is not None:
            if failure.error is not None:
                raise failure.error
            return failure.returncode, failure.output
        if self.engine.down:
            return 1, _DOWN
        try:
            return 0, self._do(project, command)
        except ComposeRefusedError as exc:
            return 1, f"{exc}\n"
        except FlatrunError as exc:
            return 1, f"Error response from daemon: {refusal_text(exc)}\n"

    def _failure(self, command: str) -> _Failure | None:
        for index, failure in enumerate(self._failures):
            if failure.command in ("", command):
                return self._failures.pop(index)
        return None

    def _do(self, project: Project, command: _Command) -> str:
        if command.name == "down":
            return self._down(project, command)
        document = ComposeDocument(project)
        services = command.words or list(document.services)
        for unknown in (name for name in services if name not in document.services):
            raise ComposeRefusedError(f"no such service: {unknown}")
        if command.name == "up":
            return self._up(document, services, command.flags)
        chosen = [c for name in services for c in self.engine.of_project(project.name, name)]
        lines = [self._change(command.name, container) for container in chosen]
        return "".join(line for line in lines if line)

    def _up(self, document: ComposeDocument, services: list[str], flags: set[str]) -> str:
        lines = self._networks(document)
        for volume in document.volumes():
            self.engine.volume_projects.setdefault(volume, document.project.name)
        if "--remove-orphans" in flags:
            lines += self._orphans(document)
        for name in services:
            for container in self._replicas(document, name, "--force-recreate" in flags):
                lines.append(f" Container {container.name}  Created\n")
                self.engine.start(container.id)
                lines.append(f" Container {container.name}  Started\n")
        return "".join(lines)

    def _networks(self, document: ComposeDocument) -> list[str]:
        made = []
        for name, external in document.networks().items():
            if external and name not in self.engine.networks():
                raise ComposeRefusedError(f"network {name} declared as external, but could not be found")
            if not external and self.engine.ensure_network(name):
                made.append(f" Network {name}  Created\n")
        return made

    def _orphans(self, document: ComposeDocument) -> list[str]:
        lines = []
        for container in self.engine.of_project(document.project.name):
            if container.labels.get(SERVICE_LABEL) not in document.services:
                self.engine.destroy(container.id)
                lines.append(f" Container {container.name}  Removed\n")
        return lines

    def _replicas(self, document: ComposeDocument, service: str, recreate: bool) -> list[FakeContainer]:
        spec = document.services[service]
        image = str(spec.get("image") or f"{document.project.name}-{service}")
        if image in self.engine.missing_images:
            raise ComposeRefusedError(f"Error response from daemon: pull access denied for {image}")
        wanted = int(spec.get("scale", (spec.get("deploy") or {}).get("replicas", 1)))
        there = self.engine.of_project(document.project.name, service)
        for container in there if recreate else there[wanted:]:
            self.engine.destroy(container.id)
        there = [] if recreate else there[:wanted]
        for container in there:
            _shape(container, document, service)
        numbers = range(len(there) + 1, wanted + 1)
        return [*there, *(self._create(document, service, image, number) for number in numbers)]

    def _create(self, document: ComposeDocument, service: str, image: str, number: int) -> FakeContainer:
        project = document.project.name
        spec = document.services[service]
        labels = {
            PROJECT_LABEL: project,
            SERVICE_LABEL: service,
            NUMBER_LABEL: str(number),
            ONEOFF_LABEL: "False",
            "com.docker.compose.project.working_dir": str(document.project.directory),
        }
        name = str(spec.get("container_name") or f"{project}-{service}-{number}")
        container = self.engine.add(name, image=image, state="created", labels=labels)
        _shape(container, document, service)
        return container

    def _down(self, project: Project, command: _Command) -> str:
        lines = []
        for container in self.engine.of_project(project.name):
            self.engine.destroy(container.id)
            lines.append(f" Container {container.name}  Removed\n")
        try:
            own = [name for name, external in ComposeDocument(project).networks().items() if not external]
        except ComposeRefusedError:
            own = [f"{project.name}_default"]
        for name in own:
            self.engine.remove_network(name)
        if command.flags & {"-v", "--volumes"}:
            for volume in self.engine.volumes(project.name):
                del self.engine.volume_projects[volume]
        return "".join(lines)

    def _change(self, command: str, container: FakeContainer) -> str:
        running = container.state == "running"
        if command in ("stop", "kill"):
            self.engine.stop(container.id)
        elif command in ("start", "restart"):
            (self.engine.start if command == "start" else self.engine.restart)(container.id)
        elif command == "pause" and running:
            self.engine.set_state(container.id, "paused")
        elif command == "unpause" and container.state == "paused":
            self.engine.set_state(container.id, "running")
        elif command == "rm":
            self.engine.remove(container.id)
        else:
            return ""
        return f" Container {container.name}  {command.capitalize()}\n"


def _shape(container: FakeContainer, document: ComposeDocument, service: str) -> None:
    spec = document.services[service]
    container.has_healthcheck = bool(spec.get("healthcheck"))
    container.labels.update(spec.get("labels") or {})
    container.networks = document.engine_networks(service)
    ports = [long_port(port) for port in spec.get("ports") or ()]
    container.ports = tuple(
        f"{port.get('host_ip', '0.0.0.0')}:{port['published']}->{port['target']}/{port['protocol']}"  # noqa: S104
        for port in ports
        if port.get("published")
    )


def _parse(args: tuple[str, ...]) -> _Command:
    command = _Command(args[0] if args else "")
    rest = iter(args[1:])
    for arg in rest:
        if arg == "--":
            command.words += rest
        elif arg.startswith("-"):
            command.flags.add(arg)
            if arg in _VALUED:
                next(rest, None)
        else:
            command.words.append(arg)
    return command

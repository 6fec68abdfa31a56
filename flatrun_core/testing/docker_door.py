"""The door to Docker that contract suites act on, the fakes' and the real one alike."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flatrun_core.ports.docker import Compose, Container, Engine, Project

PATIENCE = 10.0


@dataclass
class DockerDoor(ABC):
    """Both halves of the door, an image with a shell, a folder, and names that nobody else uses."""

    engine: Engine
    compose: Compose
    image: str
    folder: Path
    new_name: Callable[[], str]
    free_port: Callable[[], int]
    made: list[Project] = field(default_factory=list)

    @abstractmethod
    def write(self, container: Container, line: str, stream: str = "stdout") -> None:
        """Let a container print a line."""

    def project(self, services: str, *, rest: str = "", env: str | None = None) -> Project:
        """A project of these services (YAML, one a line, ``IMAGE`` stands for the image and its init)."""
        name = self.new_name()
        folder = self.folder / name
        folder.mkdir()
        lines = [f"  {line}" for line in services.strip().splitlines()]
        image = f"image: {self.image}, init: true, pull_policy: never"
        text = "\n".join(["services:", *lines, rest]).replace("IMAGE", image)
        (folder / "compose.yml").write_text(text)
        env_files = (folder / ".env.flatrun",) if env is not None else ()
        for file in env_files:
            file.write_text(env or "")
        project = Project(name, folder, (folder / "compose.yml",), env_files)
        self.made.append(project)
        return project

    def up(self, services: str, **more: Any) -> tuple[Project, Container]:
        """A project that runs, and its first container."""
        project = self.project(services, **more)
        self.compose.run(project, "up", "-d")
        return project, self.of(project)[0]

    def of(self, project: Project) -> list[Container]:
        """A project's containers by service and number."""
        found = [c for c in self.engine.containers() if c.project == project.name]
        return sorted(found, key=lambda c: (c.service or "", c.number))

    def clear(self) -> None:
        """Remove what was made."""
        for project in self.made:
            self.compose.run(project, "down", "-v", "-t", "0", "--remove-orphans", check=False)


SLEEPER = 'web: {IMAGE, command: ["sleep", "1000"]}'


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something that comes by itself."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)
    return found


def cleared(door: DockerDoor) -> Iterator[DockerDoor]:
    """For a fixture: the door, and afterwards nothing of what was made."""
    yield door
    door.clear()

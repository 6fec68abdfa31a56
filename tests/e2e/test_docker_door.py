"""The door to Docker on the real Engine: the contract, and what only the real one can show."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from flatrun_core.docker import ComposeCli, DockerEngine, Watcher
from flatrun_core.ports.docker import Container
from flatrun_core.programs import ProgramRunner
from flatrun_core.testing.docker_contract import ComposeContract, DockerDoor, EngineContract, cleared


class RealDoor(DockerDoor):
    def write(self, container: Container, line: str, stream: str = "stdout") -> None:
        number = {"stdout": 1, "stderr": 2}[stream]
        command = ["docker", "exec", container.id, "sh", "-c", f'echo "$1" > /proc/1/fd/{number}', "sh", line]
        subprocess.run(command, check=True, timeout=30)


@pytest.fixture
def watched() -> Iterator[DockerEngine]:
    engine = DockerEngine()
    watcher = Watcher(engine)
    watcher.start()
    yield engine
    watcher.stop()
    engine.close()


@pytest.fixture
def door(
    tmp_path: Path,
    engine: docker.APIClient,
    watched: DockerEngine,
    busybox_image: str,
    new_name: Callable[[], str],
    ports: "Callable[[], int]",
) -> Iterator[DockerDoor]:
    compose = ComposeCli(ProgramRunner(), watched.touch)
    yield from cleared(RealDoor(watched, compose, busybox_image, tmp_path, new_name, ports.next))


class TestRealEngine(EngineContract):
    pass


class TestRealCompose(ComposeContract):
    pass

"""The door to Docker: the Engine by its API, ``docker compose`` by argument list."""

from flatrun_core.docker.compose import ComposeCli
from flatrun_core.docker.engine import DockerEngine
from flatrun_core.docker.watcher import Watcher

__all__ = ["ComposeCli", "DockerEngine", "Watcher"]

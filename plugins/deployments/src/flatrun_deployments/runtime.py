"""The default runtime: ``docker compose`` on this host."""

from collections.abc import Mapping
from typing import Final

from flatrun_core import Failed
from flatrun_core.ports.deployments import Runtime
from flatrun_core.ports.docker import Compose, Project

# Long enough for images to be pulled and built; beyond it the answer is 504.
ACTION_SECONDS: Final = 600.0


class ComposeRuntime:
    """Runs deployments with ``docker compose``."""

    name = "compose"

    def __init__(self, compose: Compose) -> None:
        self._compose = compose

    def validate(self, project: Project) -> None:
        """Raise ``Invalid`` ``COMPOSE_INVALID`` when compose refuses the files; needs no Engine."""
        self._compose.config(project)

    def start(self, project: Project) -> str:
        """``up -d --remove-orphans``."""
        return self._run(project, "up", "-d", "--remove-orphans")

    def stop(self, project: Project) -> str:
        """``stop``: containers and networks stay."""
        return self._run(project, "stop")

    def restart(self, project: Project) -> str:
        """Recreate, so that edited files and environment take effect without dropping networks."""
        return self._run(project, "up", "-d", "--force-recreate", "--remove-orphans")

    def down(self, project: Project, *, volumes: bool) -> str:
        """``down --remove-orphans``, with ``--volumes`` when asked."""
        args = ("down", "--remove-orphans", "--volumes") if volumes else ("down", "--remove-orphans")
        return self._run(project, *args)

    def _run(self, project: Project, *args: str) -> str:
        return self._compose.run(project, *args, timeout=ACTION_SECONDS).output


def choose(runtimes: Mapping[str, Runtime], name: str) -> Runtime:
    """The runtime of that name; 500 ``RUNTIME_UNKNOWN`` naming those there are."""
    if name not in runtimes:
        known = ", ".join(sorted(runtimes)) or "none"
        text = f"No runtime is called '{name}' (deployments.runtime); there is: {known}"
        raise Failed(text, code="RUNTIME_UNKNOWN")
    return runtimes[name]

"""What there is: every folder joined with its containers, computed anew only where something changed."""

from collections.abc import Mapping, Sequence
from typing import Final

from flatrun_core import DockerUnavailable, Invalid, NotFound
from flatrun_core.ports.deployments import Deployment
from flatrun_core.ports.docker import Container, Engine
from flatrun_deployments import status
from flatrun_deployments.discovery import Discovery, Folder
from flatrun_deployments.errors import deployment_not_found
from flatrun_deployments.names import check_found

# The Engine's event stream keeps what it answers current; this is how long to trust it unasked.
CONTAINERS_MAX_AGE: Final = 60.0

Groups = Mapping[str, Sequence[Container]]


class Catalogue:
    """The deployments, as files and Engine tell."""

    def __init__(self, discovery: Discovery, engine: Engine) -> None:
        self.discovery = discovery
        self._engine = engine
        self._joined: dict[str, tuple[Folder, Sequence[Container] | None, Deployment]] = {}

    def folder(self, name: str) -> Folder:
        """One folder; 400 ``INVALID_NAME``, 404 ``DEPLOYMENT_NOT_FOUND``."""
        folder = self.discovery.get(check_found(name))
        if folder is None:
            raise deployment_not_found()
        return folder

    def folders(self) -> list[Folder]:
        """Every folder by name."""
        return self.discovery.scan()

    def all(self) -> list[Deployment]:
        """Every deployment by name; a folder and containers seen before give the same object again."""
        folders = self.discovery.scan()
        groups = self._groups()
        before, now = self._joined, {}
        for folder in folders:
            containers = None if groups is None else groups.get(folder.project, ())
            known = before.get(folder.name)
            if known is None or known[0] is not folder or known[1] != containers:
                known = (folder, containers, status.join(folder, containers))
            now[folder.name] = known
        self._joined = now
        return [deployment for _, _, deployment in now.values()]

    def one(self, folder: Folder) -> Deployment:
        """One folder joined with its containers as they are now."""
        groups = self._groups()
        return status.join(folder, None if groups is None else groups.get(folder.project, ()))

    def containers(self, folder: Folder) -> Sequence[Container]:
        """The containers of a deployment, freshly asked; 503 ``DOCKER_UNAVAILABLE``."""
        return [c for c in self._engine.containers(max_age=0) if c.project == folder.project]

    def of_project(self, project: str) -> Folder | None:
        """The folder whose compose project this is, or None."""
        return next((folder for folder in self.discovery.scan() if folder.project == project), None)

    def of_container(self, ref: str) -> str | None:
        """The deployment a container belongs to; None for unknown, ambiguous and foreign ones."""
        try:
            project = self._engine.container(ref).project
        except (NotFound, Invalid):
            return None
        folder = self.of_project(project) if project else None
        return folder.name if folder else None

    def _groups(self) -> Groups | None:
        try:
            return status.by_project(self._engine.containers(max_age=CONTAINERS_MAX_AGE))
        except DockerUnavailable:
            return None

"""What there is: every folder joined with its containers, computed anew only where something changed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flatrun_core import DockerUnavailable, Invalid, NotFound
from flatrun_core.ports.deployments import Deployment
from flatrun_core.ports.docker import Container, Engine
from flatrun_deployments import status
from flatrun_deployments.discovery import Discovery, Folder
from flatrun_deployments.errors import deployment_not_found, project_shared
from flatrun_deployments.names import check_found

# The Engine's event stream keeps what it answers current; this is how long to trust it unasked.
CONTAINERS_MAX_AGE: Final = 60.0

Groups = Mapping[str, Sequence[Container]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Joined:
    """A deployment and what it was made of."""

    folder: Folder
    containers: Sequence[Container] | None
    others: tuple[str, ...]
    deployment: Deployment


class Catalogue:
    """The deployments, as files and Engine tell."""

    def __init__(self, discovery: Discovery, engine: Engine) -> None:
        self.discovery = discovery
        self._engine = engine
        self._joined: dict[str, _Joined] = {}
        self._sharing: Mapping[str, tuple[str, ...]] = {}

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
        groups, sharing = self._groups(), self._shared(folders)
        before, now = self._joined, {}
        for folder in folders:
            containers = None if groups is None else groups.get(folder.project, ())
            now[folder.name] = _joined(folder, containers, sharing.get(folder.name, ()), before)
        self._joined = now
        return [known.deployment for known in now.values()]

    def one(self, folder: Folder) -> Deployment:
        """One folder joined with its containers as they are now."""
        groups = self._groups()
        containers = None if groups is None else groups.get(folder.project, ())
        return status.join(folder, containers, self._others(folder))

    def check_alone(self, folder: Folder) -> None:
        """Raise 409 ``PROJECT_IN_USE`` when other folders have the same compose project."""
        others = self._others(folder)
        if others:
            raise project_shared(folder.project, others)

    def containers(self, folder: Folder) -> Sequence[Container]:
        """The containers of a deployment, freshly asked; 503 ``DOCKER_UNAVAILABLE``."""
        return [c for c in self._engine.containers(max_age=0) if c.project == folder.project]

    def of_project(self, project: str) -> Folder | None:
        """The one folder whose compose project this is; None without one, and with several."""
        found = [folder for folder in self.discovery.scan() if folder.project == project]
        return found[0] if len(found) == 1 else None

    def of_container(self, ref: str) -> str | None:
        """The deployment a container belongs to; None for unknown, ambiguous and foreign ones.

        Of a project that several folders have, None too: a grant of one of them must not reach the
        containers of the other, so such containers are left to whoever has no scope.
        """
        try:
            project = self._engine.container(ref).project
        except (NotFound, Invalid):
            return None
        folder = self.of_project(project) if project else None
        return folder.name if folder else None

    def _others(self, folder: Folder) -> tuple[str, ...]:
        return self._shared(self.discovery.scan()).get(folder.name, ())

    def _shared(self, folders: Sequence[Folder]) -> Mapping[str, tuple[str, ...]]:
        sharing = status.sharing(folders)
        # Told once and not at each look.
        for name in sharing if sharing != self._sharing else ():
            log.warning("the folder %s has the compose project of %s too", name, ", ".join(sharing[name]))
        self._sharing = sharing
        return sharing

    def _groups(self) -> Groups | None:
        try:
            return status.by_project(self._engine.containers(max_age=CONTAINERS_MAX_AGE))
        except DockerUnavailable:
            return None


def _joined(
    folder: Folder,
    containers: Sequence[Container] | None,
    others: tuple[str, ...],
    before: Mapping[str, _Joined],
) -> _Joined:
    known = before.get(folder.name)
    if known and known.folder is folder and (known.containers, known.others) == (containers, others):
        return known
    return _Joined(folder, containers, others, status.join(folder, containers, others))

"""What deployments leave on an Engine, and its removal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound

PROJECT = "com.docker.compose.project"
FOLDER = "com.docker.compose.project.working_dir"


class Traces:
    """Containers, networks and volumes of compose projects, on one Engine."""

    def __init__(self, engine: docker.APIClient) -> None:
        self._engine = engine

    def projects_under(self, root: Path) -> set[str]:
        """Return the projects of all containers whose folder is in `root`, and of its folders."""
        folders = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
        # The proxy's project has the name of its container.
        names = {path.name for path in folders if path.name != "nginx"}
        for container in self._engine.containers(all=True, filters={"label": PROJECT}):
            folder = Path(container["Labels"].get(FOLDER, "/"))
            if folder.is_relative_to(root):
                names.add(container["Labels"][PROJECT])
            else:
                # Somebody else's project may have the name of a folder here.
                names.discard(container["Labels"][PROJECT])
        return names

    def of(self, projects: Iterable[str]) -> list[str]:
        """Name everything that belongs to projects, for a message."""
        wanted = set(projects)
        return [
            *(f"container {item['Names'][0]}" for item in self._containers(wanted)),
            *(f"network {item['Name']}" for item in self._networks(wanted)),
            *(f"volume {item['Name']}" for item in self._volumes(wanted)),
        ]

    def remove(self, projects: Iterable[str]) -> list[str]:
        """Remove everything that belongs to projects and name what could not be removed."""
        wanted = set(projects)
        for item in self._containers(wanted):
            self._try(self._engine.remove_container, item["Id"], force=True, v=True)
        for item in self._networks(wanted):
            self._try(self._engine.remove_network, item["Id"])
        for item in self._volumes(wanted):
            self._try(self._engine.remove_volume, item["Name"], force=True)
        return self.of(wanted)

    def remove_images_of(self, projects: Iterable[str]) -> None:
        """Remove the images that compose built for projects (`<project>-<service>`)."""
        for image in self._engine.images(filters={"label": PROJECT}):
            if (image["Labels"] or {}).get(PROJECT) in set(projects):
                self._try(self._engine.remove_image, image["Id"], force=True)

    def _containers(self, projects: set[str]) -> list[dict[str, Any]]:
        found = self._engine.containers(all=True, filters={"label": PROJECT})
        return [item for item in found if item["Labels"][PROJECT] in projects]

    def _networks(self, projects: set[str]) -> list[dict[str, Any]]:
        found = self._engine.networks(filters={"label": PROJECT})
        return [item for item in found if item["Labels"][PROJECT] in projects]

    def _volumes(self, projects: set[str]) -> list[dict[str, Any]]:
        found = self._engine.volumes(filters={"label": PROJECT})["Volumes"] or []
        return [item for item in found if item["Labels"][PROJECT] in projects]

    @staticmethod
    def _try(call: Any, *args: Any, **options: Any) -> None:
        try:
            call(*args, **options)
        except NotFound:
            return
        except APIError:
            # Told by what is still there afterwards, with its name.
            return

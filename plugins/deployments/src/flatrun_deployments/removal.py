"""Removes deployments: containers first, then what plugins keep, then the files or their listing."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flatrun_core import FlatrunError, PluginContext
from flatrun_core.ports.auth import Actor, Identity
from flatrun_core.ports.deployments import DeploymentEvent, Removal, Removed, RemovedItem, RemoveOptions
from flatrun_deployments import files, tree
from flatrun_deployments.catalogue import Catalogue
from flatrun_deployments.construction import FINISHING_MARKER
from flatrun_deployments.discovery import REMOVED_MARKER, Folder
from flatrun_deployments.running import Running

log = logging.getLogger(__name__)

MARKER_LIMIT: Final = 4096


class Remover:
    """Removes deployments; the caller holds the deployment's lock."""

    def __init__(
        self, ctx: PluginContext, root: Callable[[], Path], catalogue: Catalogue, running: Running
    ) -> None:
        self._ctx = ctx
        self._root = root
        self._catalogue = catalogue
        self._running = running

    def remove(self, folder: Folder, options: RemoveOptions, identity: Identity) -> Removed:
        """Remove; when the containers cannot be brought down nothing else is done and the error is raised.

        Files that are to stay need a marker, so a disk that has no room for it refuses before anything
        is done; files that are to go are no such reason, their end makes room.
        """
        if options.files:
            return self._remove(folder, options, identity, lambda: mark_removed(folder.path, identity.actor))
        with marking(folder.path, identity.actor) as mark:
            return self._remove(folder, options, identity, mark)

    def _remove(
        self, folder: Folder, options: RemoveOptions, identity: Identity, mark: Callable[[], None]
    ) -> Removed:
        deployment = self._catalogue.one(folder)
        warnings = self._down(folder, options)
        removal = Removal(deployment, options, identity)
        joined = self._ctx.hooks.join(
            "flatrun_join_deployment_remove",
            on_error=lambda slug, exc: warnings.append(_warning(slug, exc)),
            removal=removal,
        )
        items: list[RemovedItem] = [item for _, found in joined for item in found]
        files_removed = self._remove_files(folder, options, mark, warnings)
        event = DeploymentEvent(folder.name, folder.path, identity)
        self._ctx.hooks.notify("flatrun_on_deployment_removed", event=event)
        return Removed(folder.name, files_removed, tuple(item.name for item in items), tuple(warnings))

    def _down(self, folder: Folder, options: RemoveOptions) -> list[str]:
        try:
            self._running.down(folder, volumes=options.volumes)
        except FlatrunError as exc:
            # A file that compose refuses must not keep a deployment that runs nothing; but as long
            # as anything runs, or nobody can say, everything stays.
            if self._catalogue.containers(folder):
                raise
            log.warning("compose down of %s failed, but it has no containers: %s", folder.name, exc)
            return [f"docker compose down failed: {exc.message}"] if options.volumes else []
        return []

    def _remove_files(
        self, folder: Folder, options: RemoveOptions, mark: Callable[[], None], warnings: list[str]
    ) -> bool:
        if options.files:
            try:
                tree.remove_tree(self._root(), folder.path)
            except FlatrunError as exc:
                log.warning("the files of %s stay: %s", folder.name, exc, exc_info=True)
                warnings.append(f"files: {exc.message}")
            else:
                return True
        mark()
        return False


def mark_removed(path: Path, actor: Actor) -> None:
    """Take a folder out of the listing and keep its files; the marker says who asked."""
    with marking(path, actor) as mark:
        mark()


@contextmanager
def marking(path: Path, actor: Actor) -> Iterator[Callable[[], None]]:
    """As ``mark_removed``, in two steps: what the disk may refuse at once, the rest at the call."""
    marker = {
        "removed_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "removed_by": {"type": actor.type, "id": actor.id},
    }
    with files.prepared(path / REMOVED_MARKER, json.dumps(marker).encode(), mode=0o600) as put:

        def mark() -> None:
            # Left by a creation, it would bring the deployment back at the next start.
            (path / FINISHING_MARKER).unlink(missing_ok=True)
            put()

        yield mark


def removed_by(path: Path) -> tuple[str, str] | None:
    """Type and id of the actor who had a folder marked as removed, or None when the marker does not say."""
    try:
        mark = json.loads(files.read_bytes(path, REMOVED_MARKER, MARKER_LIMIT))["removed_by"]
        return str(mark["type"]), str(mark["id"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _warning(slug: str, exc: Exception) -> str:
    # Foreign exceptions may carry paths or secrets; ours are written for people.
    return f"{slug}: {exc.message}" if isinstance(exc, FlatrunError) else f"{slug}: failed, see the log"

"""Keeps routed containers on the proxy network, also those that somebody started by hand."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

from flatrun_core import DockerUnavailable, FlatrunError, PluginContext
from flatrun_core.ports.deployments import ROUTES, Routes
from flatrun_core.ports.docker import Container, Engine, EngineEvent
from flatrun_deployments.catalogue import Catalogue
from flatrun_deployments.discovery import Folder
from flatrun_deployments.settings import NetworkSettings

log = logging.getLogger(__name__)

STOP_WITHIN: Final = 5.0
MOVE_WITHIN: Final = 10.0


class ProxyNetworkKeeper:
    """Connects a routed container that starts without the proxy network, with its aliases.

    Events arrive on the Engine watcher's thread, which must not wait for the Engine; the work is
    done on a thread of its own. Without a routes plugin there is nothing to do.
    """

    def __init__(self, ctx: PluginContext, engine: Engine, catalogue: Catalogue) -> None:
        self._ctx = ctx
        self._engine = engine
        self._catalogue = catalogue
        self._events: queue.SimpleQueue[EngineEvent | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._thread = threading.Thread(target=self._run, name="proxy-network", daemon=True)
        self._thread.start()
        self._unsubscribe = self._engine.subscribe(self._heard)

    def stop(self) -> None:
        """Stop listening; what is under way is given a few seconds."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._thread is not None:
            self._events.put(None)
            self._thread.join(STOP_WITHIN)

    def look(self, container_id: str = "") -> None:
        """Connect one container, or with an empty id every running one, if it is routed and not connected."""
        routes = self._ctx.services.find(ROUTES)
        if routes is None:
            return
        for container in self._running(container_id):
            folder = self._catalogue.of_project(container.project or "")
            if folder is not None:
                self._connect_safely(container, folder, routes)

    def moved(self) -> None:
        """Connect every running container after the network has become another one.

        In the background, for there may be many; waits a little, so that the proxy moves after them.
        A failure is logged: the next start of the container or of the Engine's events tries again.
        """
        thread = threading.Thread(target=self._look_safely, name="proxy-network-moved", daemon=True)
        thread.start()
        thread.join(MOVE_WITHIN)

    def connect(self, folder: Folder) -> None:
        """Connect the running containers of one folder, as far as they are routed and not connected."""
        routes = self._ctx.services.find(ROUTES)
        for container in self._running("") if routes is not None else ():
            if routes is not None and container.project == folder.project:
                self._connect(container, folder, routes)

    def _connect_safely(self, container: Container, folder: Folder, routes: Routes) -> None:
        """Connect; one that cannot be keeps no other from it."""
        try:
            self._connect(container, folder, routes)
        except DockerUnavailable:
            raise
        except FlatrunError as exc:
            log.warning("%s could not be connected to the proxy network: %s", container.name, exc)

    def _connect(self, container: Container, folder: Folder, routes: Routes) -> None:
        network = self._ctx.settings(NetworkSettings).default_proxy_network
        if network in container.networks or container.oneoff:
            return
        aliases = routes.networks(folder.name).get(container.service or "")
        if aliases:
            self._engine.ensure_network(network)
            self._engine.connect_network(network, container.id, aliases)
            log.info("%s of %s was connected to the network %s", container.name, folder.name, network)

    def _running(self, container_id: str) -> list[Container]:
        everything = self._engine.containers(max_age=0)
        return [c for c in everything if c.state == "running" and c.project and container_id in ("", c.id)]

    def _heard(self, event: EngineEvent) -> None:
        if event.action in ("start", "connected"):
            self._events.put(event)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            self._look_safely(event.container_id)

    def _look_safely(self, container_id: str = "") -> None:
        try:
            self.look(container_id)
        except FlatrunError as exc:
            log.warning("routed containers could not be connected to the proxy network: %s", exc)
        except Exception:
            log.exception("looking after the proxy network failed")

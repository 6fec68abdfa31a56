"""The core's view on the reverse proxy: gathers every site and hands them to the active backend."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from flatrun_core.hooks import PluginHooks
from flatrun_core.ports.proxy import Applied, Endpoints, ProxyBackend, Route, Site, VirtualHost
from flatrun_core.ports.scheduling import Locks

log = logging.getLogger(__name__)

WAIT_FOR_PROXY = 120.0


class ProxyService:
    """``PROXY``: skips when no backend is active.

    ``chosen`` answers the name in ``proxy.backend``; with one backend an empty name means that one.
    """

    def __init__(
        self,
        backends: Mapping[str, ProxyBackend],
        chosen: Callable[[], str],
        hooks: PluginHooks,
        locks: Locks,
    ) -> None:
        self._backends = backends
        self._chosen = chosen
        self._hooks = hooks
        self._locks = locks

    def backend(self) -> ProxyBackend | None:
        """The active backend, or None."""
        name = self._chosen()
        if name:
            return self._backends.get(name)
        return next(iter(self._backends.values())) if len(self._backends) == 1 else None

    def apply(self, changed: Collection[str] = (), force: bool = False) -> Applied:
        """Gather every site and make the backend serve them, under the proxy lock."""
        backend = self.backend()
        if backend is None:
            return Applied(skipped=True, message="No proxy is active")
        with self._locks.hold("proxy", wait=WAIT_FOR_PROXY):
            sites: list[Any] = [site for _, site in self._hooks.gather("flatrun_gather_sites")]
            return backend.apply(_merged(sites), frozenset(changed), force)

    def status(self, deployment: str) -> VirtualHost:
        """What is served for a deployment now."""
        backend = self.backend()
        return backend.status(deployment) if backend is not None else VirtualHost()

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """Every deployment that is served or left out, by name."""
        backend = self.backend()
        return backend.virtual_hosts() if backend is not None else {}

    def endpoints(self) -> Endpoints:
        """Where the proxy answers."""
        backend = self.backend()
        return backend.endpoints() if backend is not None else Endpoints()

    def probe(self, routes: Collection[Route]) -> Sequence[str]:
        """One sentence for each target that takes no connection."""
        backend = self.backend()
        return backend.probe(routes) if backend is not None and routes else ()

    def accepts(self, token: str) -> bool:
        """Whether the token is the backend's."""
        backend = self.backend()
        return backend is not None and backend.accepts(token)


def _merged(sites: Sequence[Site]) -> list[Site]:
    by_name = {}
    for site in sites:
        if site.deployment in by_name:
            raise ValueError(f"two plugins gather a site for '{site.deployment}'")
        by_name[site.deployment] = site
    return [by_name[name] for name in sorted(by_name)]

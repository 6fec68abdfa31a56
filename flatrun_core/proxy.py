"""The core's view on the reverse proxy: gathers every site and hands them to the active backend."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from flatrun_core.errors import Failed, FlatrunError
from flatrun_core.hooks import PluginHooks
from flatrun_core.ports.proxy import Applied, Endpoints, ProxyBackend, Route, Site, VirtualHost
from flatrun_core.ports.scheduling import Locks

log = logging.getLogger(__name__)

WAIT_FOR_PROXY = 120.0


class ProxyService:
    """``PROXY``: skips when no backend is active.

    ``chosen`` answers the name in ``proxy.backend``; with one backend an empty name means that one.
    What a backend raises that is no error of the project is a mistake of its own: it is logged, and
    the caller gets ``Failed`` ``PROXY_FAILED``, which every caller of a proxy knows how to tell.
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
            return Applied(skipped=True, message=self._why_not())
        with self._locks.hold("proxy", wait=WAIT_FOR_PROXY):
            gathered: list[Any] = [site for _, site in self._hooks.gather("flatrun_gather_sites")]
            sites = _merged(gathered)
            with _blamed(backend):
                return backend.apply(sites, frozenset(changed), force)

    def _why_not(self) -> str:
        name, names = self._chosen(), ", ".join(sorted(self._backends))
        if not names:
            return "No proxy is active"
        if name:
            return f"No proxy is active: proxy.backend names '{name}', and there is {names}"
        return f"No proxy is active: name one of {names} in proxy.backend"

    def status(self, deployment: str) -> VirtualHost:
        """What is served for a deployment now."""
        backend = self.backend()
        if backend is None:
            return VirtualHost()
        with _blamed(backend):
            return backend.status(deployment)

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """Every deployment that is served or left out, by name."""
        backend = self.backend()
        if backend is None:
            return {}
        with _blamed(backend):
            return backend.virtual_hosts()

    def endpoints(self) -> Endpoints:
        """Where the proxy answers."""
        backend = self.backend()
        if backend is None:
            return Endpoints()
        with _blamed(backend):
            return backend.endpoints()

    def probe(self, routes: Collection[Route]) -> Sequence[str]:
        """One sentence for each target that takes no connection."""
        backend = self.backend()
        if backend is None or not routes:
            return ()
        with _blamed(backend):
            return backend.probe(routes)

    def accepts(self, token: str) -> bool:
        """Whether the token is the backend's."""
        backend = self.backend()
        if backend is None:
            return False
        with _blamed(backend):
            return backend.accepts(token)


@contextmanager
def _blamed(backend: ProxyBackend) -> Iterator[None]:
    try:
        yield
    except FlatrunError:
        raise
    except Exception as exc:
        log.exception("the proxy backend '%s' failed", backend.name)
        text = f"The proxy '{backend.name}' failed unexpectedly; the panel's log says how"
        raise Failed(text, code="PROXY_FAILED") from exc


def _merged(sites: Sequence[Site]) -> list[Site]:
    by_name = {}
    for site in sites:
        if site.deployment in by_name:
            raise ValueError(f"two plugins gather a site for '{site.deployment}'")
        by_name[site.deployment] = site
    return [by_name[name] for name in sorted(by_name)]

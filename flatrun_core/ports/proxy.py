"""The reverse proxy as data: the sites of every deployment, and the backend that serves them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from flatrun_core.services import ServiceKey

# The name of the panel's own site, and of the upstream of its route: the panel itself, which a
# backend reaches by the socket that ``flatrun serve`` opens in ``PANEL_SOCKET_FOLDER``. No
# deployment can have this name.
PANEL: Final = "00-flatrun-panel"

# Below the deployments root. The folder above it lets nobody but its owner in, so only the owner
# and a container that has the folder mounted reach the socket.
PANEL_SOCKET_FOLDER: Final = ".flatrun/proxy"
PANEL_SOCKET_NAME: Final = "panel.sock"


@dataclass(frozen=True, slots=True)
class Route:
    """One location of a host.

    ``path`` is ``/`` or begins with a slash and ends without one; it matches itself and what is
    below it. ``upstream`` is an alias on the proxy network, or ``PANEL``. With ``strip_prefix`` the
    target sees what follows ``path``. ``timeout`` is in seconds, ``max_body`` in bytes (0 is no
    limit, None the backend's own), ``protocol`` of the target http or https.
    """

    path: str
    upstream: str
    port: int
    strip_prefix: bool = False
    timeout: int = 60
    protocol: str = "http"
    max_body: int | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """What a host is served with on the TLS port: PEM files of the panel's host.

    ``fingerprint`` is the leaf's (SHA-256, hex), so that a renewed file is another value. ``ocsp``
    says that the leaf names a responder; with ``hsts`` clients are told to come by TLS only.
    """

    chain: Path
    key: Path
    fingerprint: str
    ocsp: bool = False
    hsts: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """One server name with its aliases; with ``tls`` it is served there, and plain HTTP redirects."""

    name: str
    aliases: tuple[str, ...]
    routes: tuple[Route, ...]
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Everything the proxy serves for one deployment; ``options`` are for fragments of other plugins."""

    deployment: str
    hosts: tuple[Host, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """What an ``apply`` did.

    ``skipped`` when no backend is active; ``serving`` when the proxy runs and serves what was
    applied; ``message`` says what a person should know, as that it takes effect when the proxy starts.
    """

    changed: bool = False
    reloaded: bool = False
    skipped: bool = False
    serving: bool = False
    message: str = ""
    quarantined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """What the backend knows of one deployment's configuration; ``file`` is where it stands."""

    exists: bool = False
    quarantined: bool = False
    reason: str = ""
    file: Path | None = field(default=None, compare=False)
    modified_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the running proxy answers, as (address, port) to be tried in order from the panel."""

    http: tuple[tuple[str, int], ...] = ()
    https: tuple[tuple[str, int], ...] = ()


class ProxyBackend(Protocol):
    """Renders, tests, swaps and reloads; named in ``proxy.backend`` when there are several.

    Sites come as they were gathered: ``site_rules.check_site`` tells what may be written, and
    ``testing.proxy_contract`` what else is promised.
    """

    name: str

    def apply(self, sites: Sequence[Site], changed: Collection[str], force: bool) -> Applied:
        """Serve ``sites``, whose files of other names go.

        When one of ``changed`` is refused, leave everything as it was and raise ``Failed``
        ``PROXY_CONFIG_FAILED`` with ``details``, the program's own words. Another one that is
        refused is left out and reported. Equal bytes change and reload nothing unless ``force``.
        """

    def status(self, deployment: str) -> VirtualHost:
        """What is served for a deployment now."""

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """Every deployment that is served or left out, by name."""

    def endpoints(self) -> Endpoints:
        """Where the proxy answers; empty while it does not run."""

    def probe(self, routes: Collection[Route]) -> Sequence[str]:
        """One sentence for each target that takes no connection within two seconds."""

    def accepts(self, token: str) -> bool:
        """Whether a request to an internal route carries this backend's token, in constant time."""


class Proxy(Protocol):
    """The core's view on whichever backend is active.

    A mistake of the backend's own is logged and raised as ``Failed`` ``PROXY_FAILED``.
    """

    def apply(self, changed: Collection[str] = (), force: bool = False) -> Applied:
        """Gather every site and hand them to the backend; ``skipped`` without one."""

    def status(self, deployment: str) -> VirtualHost:
        """What is served for a deployment now."""

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """Every deployment that is served or left out, by name; empty without a backend."""

    def endpoints(self) -> Endpoints:
        """Where the proxy answers; empty without one that runs."""

    def probe(self, routes: Collection[Route]) -> Sequence[str]:
        """One sentence for each target that takes no connection; empty without a backend."""

    def accepts(self, token: str) -> bool:
        """Whether the token is the backend's; always False without one."""


PROXY: ServiceKey[Proxy] = ServiceKey("proxy", "core")

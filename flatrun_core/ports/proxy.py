"""The reverse proxy as data: the sites of every deployment, and the backend that serves them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flatrun_core.services import ServiceKey


@dataclass(frozen=True, slots=True)
class Route:
    """One location of a host: ``path`` starts with a slash, ``upstream`` is an alias on the proxy network."""

    path: str
    upstream: str
    port: int
    strip_prefix: bool = False
    timeout: int = 60
    protocol: str = "http"


@dataclass(frozen=True, slots=True)
class Host:
    """One server name with its aliases; ``certificate`` is set when TLS is to be served."""

    name: str
    aliases: tuple[str, ...]
    routes: tuple[Route, ...]
    certificate: str | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Everything the proxy serves for one deployment."""

    deployment: str
    hosts: tuple[Host, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """What an ``apply`` did. ``skipped`` when no backend is active."""

    changed: bool = False
    reloaded: bool = False
    skipped: bool = False
    message: str = ""
    quarantined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """What the backend knows of one deployment's configuration."""

    exists: bool = False
    quarantined: bool = False
    reason: str = ""


class ProxyBackend(Protocol):
    """Renders, tests, swaps and reloads; named in ``proxy.backend`` when there are several."""

    name: str

    def apply(self, sites: Sequence[Site], changed: Collection[str], force: bool) -> Applied:
        """Serve ``sites``; when ``changed`` ones are refused, leave what was there and raise."""

    def status(self, deployment: str) -> VirtualHost:
        """What is served for a deployment now."""

    def accepts(self, token: str) -> bool:
        """Whether a request to an internal route carries this backend's token, in constant time."""


class Proxy(Protocol):
    """The core's view on whichever backend is active."""

    def apply(self, changed: Collection[str] = (), force: bool = False) -> Applied:
        """Gather every site and hand them to the backend; ``skipped`` without one."""

    def status(self, deployment: str) -> VirtualHost:
        """What is served for a deployment now."""

    def accepts(self, token: str) -> bool:
        """Whether the token is the backend's; always False without one."""


PROXY: ServiceKey[Proxy] = ServiceKey("proxy", "core")

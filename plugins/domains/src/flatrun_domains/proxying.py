"""What concerns the proxy as a whole: every site, applying them all, generated names."""

from typing import Any

from flatrun_core import PluginContext, ServiceKey
from flatrun_core.ports.auth import Identity
from flatrun_domains.publishing import PUBLISHER
from flatrun_domains.registry import REGISTRY
from flatrun_domains.settings import DomainSettings
from flatrun_domains.status import STATUSES


class Proxying:
    """Looks at every site, and applies them."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._publisher = ctx.services.get(PUBLISHER)
        self._registry = ctx.services.get(REGISTRY)
        self._statuses = ctx.services.get(STATUSES)

    def everything(self, identity: Identity) -> dict[str, Any]:
        """Sites and entries left out, of deployments that somebody may read."""
        return {
            "vhosts": self._statuses.virtual_hosts(identity),
            "left_out": self._statuses.left_out(identity),
        }

    def sync(self, identity: Identity) -> dict[str, Any]:
        """Apply everything; 500 when the proxy cannot."""
        applied = self._publisher.apply()
        self._registry.remember()
        answer = {
            "message": "Proxy synchronised",
            "changed": applied.changed,
            "nginx_reloaded": applied.reloaded,
            "skipped": applied.skipped,
            **self.everything(identity),
        }
        return answer | ({"note": applied.message} if applied.message else {})

    def subdomain(self) -> dict[str, Any]:
        """A generated name that nobody has."""
        settings = self._ctx.settings(DomainSettings)
        label = self._registry.free_label()
        return {
            "subdomain": label,
            "full_domain": f"{label}.{settings.default_domain}" if settings.default_domain else "",
            "default_domain": settings.default_domain,
            "auto_ssl": settings.auto_ssl,
        }


PROXYING: ServiceKey[Proxying] = ServiceKey("domains.proxying", "domains")

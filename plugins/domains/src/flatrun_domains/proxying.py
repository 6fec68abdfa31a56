"""What concerns the proxy as a whole: every site, applying them all, generated names."""

from collections.abc import Collection, Mapping
from typing import Any

from flatrun_core import Level, PluginContext, ServiceKey
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.proxy import PANEL
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
            "virtual_hosts": self._statuses.virtual_hosts(identity),
            "left_out": self._statuses.left_out(identity),
        }

    def sync(self, identity: Identity) -> dict[str, Any]:
        """Apply everything; 500 when the proxy cannot. Tells of deployments that somebody may read."""
        before = {one["name"] for one in self._statuses.virtual_hosts(identity) if one["virtual_host_exists"]}
        applied = self._publisher.apply()
        self._registry.remember()
        sites = [one for one in self._statuses.virtual_hosts(identity) if one["name"] != PANEL]
        results = [] if applied.skipped else [_synced(one, before) for one in sites]
        failed = sum(not one["success"] for one in results)
        total = sum(identity.can(Level.READ, one.name) for one in self._registry.deployments())
        return {
            "message": applied.message or "Proxy synchronised",
            "synced": len(results) - failed,
            "skipped": max(total - len(results), 0),
            "failed": failed,
            "total": max(total, len(results)),
            "results": results,
        }

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


def _synced(site: Mapping[str, Any], before: Collection[str]) -> dict[str, Any]:
    served = site["virtual_host_exists"]
    result = {
        "name": site["name"],
        "domain": next(iter(site["domains"]), ""),
        "success": served,
        "created": served and site["name"] not in before,
    }
    return result if served else {**result, "message": site.get("quarantine_reason", "It is not served")}


PROXYING: ServiceKey[Proxying] = ServiceKey("domains.proxying", "domains")

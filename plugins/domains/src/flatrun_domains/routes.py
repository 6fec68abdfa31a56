"""The port ``ROUTES``: what other plugins know and want of routes."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from flatrun_core import Invalid, PluginContext
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.deployments import DEPLOYMENTS
from flatrun_domains import editing, errors, requests, rules
from flatrun_domains.entries import DEFAULT_PORT, checked
from flatrun_domains.publishing import PUBLISHER
from flatrun_domains.registry import REGISTRY
from flatrun_domains.service import SERVICE
from flatrun_domains.settings import DomainSettings
from flatrun_domains.status import STATUSES
from flatrun_domains.table import upstream


class RouteService:
    """Implements ``ROUTES``."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._registry = ctx.services.get(REGISTRY)

    def plan(self, name: str, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """What ``service.yml`` of a creation holds; raises ``Invalid`` for an entry that cannot be."""
        if rules.is_reserved(name):
            raise errors.reserved(name)
        networking = dict(metadata.get("networking") or {})
        if networking.get("domain"):
            networking["domain"] = _host(networking["domain"])
            metadata = {**metadata, "networking": networking}
        entries = [dict(entry) for entry in metadata.get("domains") or ()]
        if not entries and networking.get("expose") and not networking.get("domain"):
            entries = self._generated()
        if not entries:
            return metadata
        planned: list[dict[str, Any]] = []
        for entry in entries:
            planned.append(_planned(entry, networking, metadata.get("ssl") or {}, planned))
        networking.setdefault("expose", True)
        networking["domain"] = planned[0]["domain"]
        for key in ("service", "container_port"):
            if planned[0].get(key):
                networking[key] = planned[0][key]
        return {**metadata, "domains": planned, "networking": networking, "ssl": dict(planned[0]["ssl"])}

    def publish(self, name: str) -> Mapping[str, Any]:
        """Apply a deployment's routes, then get the certificates its entries want."""
        return self._ctx.services.get(PUBLISHER).publish(name)

    def status(self, name: str) -> Mapping[str, Any]:
        """The ``ProxyStatus``."""
        return self._ctx.services.get(STATUSES).of(name)

    def owner(self, host: str) -> str | None:
        """The deployment a host or alias is routed to."""
        return self._registry.table().owners.get(host)

    def hosts(self) -> Mapping[str, str]:
        """Every routed host and alias, with its deployment."""
        return self._registry.table().owners

    def together(self, host: str) -> Sequence[str]:
        """The host's entry as a certificate covers it."""
        return self._registry.laid_out().together.get(host, ())

    def wants_tls(self, host: str) -> bool:
        """Whether the entry of a host wants TLS."""
        return host in self._registry.laid_out().secure

    def without_tls(self, hosts: Sequence[str]) -> None:
        """Set ``ssl.enabled`` and ``ssl.auto_cert`` of the entries of these hosts to false, and apply."""
        wanted = set(hosts)
        concerned = sorted(
            one.name
            for one in self._ctx.services.get(DEPLOYMENTS).list()
            if one.metadata is not None
            and any(
                entry.tls and wanted.intersection(entry.names)
                for entry in self._registry.reading(one).entries
            )
        )
        for name in concerned:
            self._ctx.services.get(SERVICE).disable_tls(name, SYSTEM, sorted(wanted))

    def networks(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Compose services of a deployment that are routed, each with its aliases on the proxy network."""
        served = self._registry.served(self._ctx.services.get(DEPLOYMENTS).get(name))
        return {entry.service: (upstream(name, entry.service),) for entry in served}

    def _generated(self) -> list[dict[str, Any]]:
        settings = self._ctx.settings(DomainSettings)
        if not settings.auto_subdomain or not settings.default_domain:
            return []
        label = self._registry.free_label()
        ssl = {"enabled": settings.auto_ssl, "auto_cert": settings.auto_ssl}
        return [{"domain": f"{label}.{settings.default_domain}", "ssl": ssl}]


def _host(domain: object) -> str:
    try:
        return rules.host(str(domain))
    except ValueError as exc:
        raise Invalid(f"metadata.networking.domain: {exc}") from exc


def _planned(
    entry: Mapping[str, Any],
    networking: Mapping[str, Any],
    ssl: Mapping[str, Any],
    before: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """One entry of a creation; what it leaves out is the single-domain fields'."""
    wanted = str(entry.get("id") or uuid.uuid4())
    if not rules.ID.fullmatch(wanted) or any(other["id"] == wanted for other in before):
        raise Invalid("metadata.domains.id: it has to be of letters, digits, - and _, and to stand once")
    values = {**entry, "id": wanted, "ssl": requests.full_ssl({}, entry.get("ssl") or ssl)}
    for key in ("service", "container_port"):
        if not values.get(key) and networking.get(key):
            values[key] = networking[key]
    filled = {**values, "service": values.get("service") or "any"}
    filled["container_port"] = values.get("container_port") or DEFAULT_PORT
    try:
        known = checked(filled, wanted)
    except ValueError as exc:
        raise Invalid(f"metadata.domains.{exc}") from exc
    if any((name, known.path) in _claims(other) for other in before for name in known.names):
        raise Invalid(f"metadata.domains: {known.domain} stands twice with the same path")
    return editing.written(
        {**values, "domain": known.domain, "path_prefix": known.path, "aliases": list(known.aliases)}
    )


def _claims(entry: Mapping[str, Any]) -> set[tuple[str, str]]:
    path = entry.get("path_prefix") or "/"
    return {(host, path) for host in (entry["domain"], *entry.get("aliases", ()))}

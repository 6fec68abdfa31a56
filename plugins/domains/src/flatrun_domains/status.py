"""What is known of the routes of deployments, as answers have it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from flatrun_core import Level, PluginContext, ServiceKey, fields
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.certificates import Certificate
from flatrun_core.ports.deployments import DEPLOYMENTS, Deployment
from flatrun_core.ports.proxy import PANEL, PROXY, VirtualHost
from flatrun_domains import requests
from flatrun_domains.entries import Stored
from flatrun_domains.registry import REGISTRY

STAYS: Final = "what was served last stays, as the file cannot be read"


class Statuses:
    """Reads; changes nothing."""

    def __init__(self, ctx: PluginContext) -> None:
        self._deployments = ctx.services.get(DEPLOYMENTS)
        self._proxy = ctx.services.get(PROXY)
        self._registry = ctx.services.get(REGISTRY)

    def of(self, name: str) -> dict[str, Any]:
        """The ``ProxyStatus`` of a deployment; 404 ``DEPLOYMENT_NOT_FOUND``."""
        deployment = self._deployments.get(name)
        stored = self._registry.reading(deployment).stored
        served = self._registry.served(deployment)
        certificates = self._certificates(stored)
        virtual_host = self._virtual_host(deployment)
        status: dict[str, Any] = {
            "deployment_name": name,
            "exposed": bool(served),
            "virtual_host_exists": virtual_host.exists,
            "ssl_enabled": any((one.values.get("ssl") or {}).get("enabled") for one in stored),
            "certificate_exists": bool(certificates),
        }
        hosts = list(dict.fromkeys(host for one in stored for host in _names(one)))
        if stored:
            status["domain"] = hosts[0] if hosts else ""
            status["domains"] = hosts
            status["domains_config"] = [requests.shown(one) for one in stored]
        if certificates:
            shown = [_certificate(known, self._owner(known)) for known in certificates]
            status |= {"certificate": shown[0], "certificates": shown}
        status |= _quarantine(virtual_host) | self._left_out(deployment, stored)
        contested = self._registry.table().contested
        kept = sorted(host + path for (host, path), owner in contested.items() if owner == name)
        return status | ({"contested": kept} if kept else {})

    def virtual_hosts(self, identity: Identity) -> list[dict[str, Any]]:
        """Every site, served or left out, of deployments that somebody may read."""
        table, found = self._registry.table(), self._proxy.virtual_hosts()
        shown = []
        for name in sorted({*table.sites, *found}):
            if not identity.can(Level.READ, None if name == PANEL else name):
                continue
            known = found.get(name, VirtualHost())
            hosts = [host for plan in table.sites.get(name, ()) for host in plan.names]
            shown.append(
                {
                    "name": name,
                    "config_file": str(known.file or ""),
                    "modified_at": int(known.modified_at.timestamp()) if known.modified_at else 0,
                    "domains": sorted(hosts),
                    "virtual_host_exists": known.exists,
                    "ssl_enabled": bool(table.secure.intersection(hosts)),
                    **_quarantine(known),
                }
            )
        return shown

    def left_out(self, identity: Identity) -> list[dict[str, str]]:
        """Every entry that is not served, and why, of deployments that somebody may read."""
        return [
            {key: value for key, value in one.items() if key != "by"}
            for one in self.everything_left_out()
            if identity.can(Level.READ, one["deployment_name"])
        ]

    def everything_left_out(self) -> list[dict[str, str]]:
        """Every entry that is to be served and is not, why, and ``by`` whom it was had first."""
        found = [
            _unserved(one.deployment, one.entry_id, one.domain, one.reason) | {"by": one.by}
            for one in self._registry.table().left_out
        ]
        for deployment in self._registry.deployments():
            if deployment.metadata is None and self._registry.served(deployment):
                found.append(_unserved(deployment.name, "", "", f"{STAYS}: {deployment.problem}"))
            reading = self._registry.reading(deployment)
            for one in reading.stored if reading.exposed else ():
                if one.entry is None:
                    domain = str(one.values.get("domain") or "")
                    found.append(_unserved(deployment.name, one.id, domain, one.problem))
        return found

    def _left_out(self, deployment: Deployment, stored: Sequence[Stored]) -> dict[str, Any]:
        found = [
            {"id": one.entry_id, "domain": one.domain, "reason": one.reason}
            for one in self._registry.table().left_out
            if one.deployment == deployment.name
        ]
        found += [
            {"id": one.id, "domain": str(one.values.get("domain") or ""), "reason": one.problem}
            for one in stored
            if one.entry is None
        ]
        return {"left_out": found} if found else {}

    def _virtual_host(self, deployment: Deployment) -> VirtualHost:
        own = self._proxy.status(deployment.name)
        if own.exists or own.quarantined:
            return own
        # Of hosts that deployments share, the site of another one may have all of this one's.
        owners = self._registry.table().owners
        hosts = {host for entry in self._registry.served(deployment) for host in entry.names}
        others = {owners[host] for host in hosts if host in owners} - {deployment.name}
        shared = (self._proxy.status(name) for name in sorted(others))
        return next((VirtualHost(exists=True) for known in shared if known.exists), own)

    def _certificates(self, stored: Sequence[Stored]) -> list[Certificate]:
        found: dict[str, Certificate] = {}
        for one in stored:
            for names in [_names(one)] if one.entry else []:
                known = self._registry.lookup(names)
                if known is not None:
                    found.setdefault(known.name, known)
        return list(found.values())

    def _owner(self, certificate: Certificate) -> str | None:
        owners = self._registry.table().owners
        return next((owners[host] for host in certificate.domains if host in owners), None)


def _names(stored: Stored) -> tuple[str, ...]:
    return stored.entry.names if stored.entry else ()


def _quarantine(virtual_host: VirtualHost) -> dict[str, Any]:
    if not virtual_host.quarantined:
        return {"message": virtual_host.reason} if virtual_host.reason else {}
    return {"quarantined": True, "quarantine_reason": virtual_host.reason}


def _unserved(name: str, entry_id: str, domain: str, reason: str) -> dict[str, str]:
    return {"deployment_name": name, "id": entry_id, "domain": domain, "reason": reason}


def _certificate(known: Certificate, owner: str | None) -> Mapping[str, Any]:
    now = datetime.now(UTC)
    status = "expired" if now > known.not_after else "expiring" if known.due else "valid"
    shown = {
        "domain": known.name,
        "issuer": known.issuer,
        "not_before": fields.format_time(known.not_before),
        "not_after": fields.format_time(known.not_after),
        "days_left": (known.not_after - now).days,
        "status": status,
        "path": str(known.leaf),
        "auto_renew": known.auto_renew,
        "domains": list(known.domains),
    }
    return shown | ({"deployment_id": owner} if owner else {})


STATUSES: ServiceKey[Statuses] = ServiceKey("domains.statuses", "domains")

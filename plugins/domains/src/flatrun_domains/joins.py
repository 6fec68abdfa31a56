"""Creations and removals of deployments, as far as their domains go."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flatrun_core import PluginContext, ServiceKey
from flatrun_core.ports.certificates import CERTIFICATES
from flatrun_core.ports.deployments import (
    DEPLOYMENTS,
    Deployment,
    DeploymentEvent,
    DomainsChanged,
    Draft,
    Part,
    Removal,
    RemovedItem,
    Service,
)
from flatrun_core.ports.proxy import PROXY
from flatrun_core.ports.scheduling import LOCKS
from flatrun_domains import errors
from flatrun_domains.entries import Entry, read
from flatrun_domains.publishing import PUBLISHER, WAIT_FOR_PROXY
from flatrun_domains.registry import REGISTRY
from flatrun_domains.taken import Wish


class Joins:
    """Takes part in the life of deployments."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._deployments = ctx.services.get(DEPLOYMENTS)
        self._proxy = ctx.services.get(PROXY)
        self._registry = ctx.services.get(REGISTRY)
        self._publisher = ctx.services.get(PUBLISHER)
        # Names that came back although their site was kept.
        self._replaced: set[str] = set()

    def creation(self, draft: Draft) -> Part:
        """Refuse hosts that are taken, and hold those that are free until the deployment is there."""
        entries = _drafted(draft)
        with self._ctx.services.get(LOCKS).hold("proxy", wait=WAIT_FOR_PROXY):
            self._registry.check_free(Wish(draft.name, entries), draft.identity)
            self._registry.reserve(draft.name, entries)
        kept = self._registry.drop_kept(draft.name)
        if kept:
            self._replaced.add(draft.name)
        return Part(undo=lambda: self._not_created(draft.name, kept))

    def created(self, event: DeploymentEvent) -> None:
        """What was held is the deployment's own now."""
        self._registry.created(event.name)
        entries = self._registry.served(self._deployments.get(event.name))
        self._tell(event.name, added=_hosts(entries))
        if event.name in self._replaced:
            self._replaced.discard(event.name)
            self._publisher.apply(event.name)

    def removal(self, removal: Removal) -> Sequence[RemovedItem]:
        """The site goes and its certificates, as far as asked for and used by nobody else."""
        name = removal.deployment.name
        entries = self._registry.served(removal.deployment)
        if not removal.options.vhost:
            if entries:
                self._registry.keep(name, entries)
            return []
        was_served = self._proxy.status(name).exists
        self._registry.leave(name)
        if entries or was_served:
            self._publisher.apply(name)
        items = [RemovedItem("virtual_host")] if was_served else []
        certificates = self._ctx.services.find(CERTIFICATES)
        hosts = _hosts((*entries, *_every(removal.deployment)))
        if removal.options.certificates and certificates is not None and hosts:
            items += [RemovedItem(f"ssl_certificate:{gone}") for gone in certificates.release(hosts)]
        return items

    def removed(self, event: DeploymentEvent) -> None:
        """The folder is gone or hidden."""
        self._registry.left(event.name)
        gone = self._registry.forget(event.name)
        if not self._registry.kept(event.name):
            self._tell(event.name, removed=_hosts(gone))

    def _tell(self, name: str, added: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> None:
        if added or removed:
            event = DomainsChanged(name, added, removed)
            self._ctx.hooks.notify("flatrun_on_domains_changed", event=event)

    def _not_created(self, name: str, kept: tuple[Entry, ...]) -> None:
        self._registry.created(name)
        self._replaced.discard(name)
        if kept:
            self._registry.keep(name, kept)


def _hosts(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(sorted({host for entry in entries for host in entry.names}))


def _every(deployment: Deployment) -> tuple[Entry, ...]:
    return read(deployment).entries if deployment.metadata is not None else ()


def _drafted(draft: Draft) -> tuple[Entry, ...]:
    """The entries of a deployment that has no containers and no place in the list yet."""
    now = datetime.now(UTC)
    services = draft.compose["services"]
    deployment = Deployment(
        name=draft.name,
        path=draft.directory,
        status="stopped",
        created_at=now,
        updated_at=now,
        services=tuple(Service(name, "stopped", "none") for name in services),
        metadata=draft.metadata,
        project=draft.name,
        compose_file=draft.directory,
        primary_service=_primary(services, draft.metadata),
    )
    stored = read(deployment).stored
    for one in stored:
        if one.entry is None and one.values["service"] not in services:
            raise errors.service_not_found(str(one.values["service"]))
    return tuple(one.entry for one in stored if one.entry is not None)


def _primary(services: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    wanted = str((metadata.get("networking") or {}).get("service") or "")
    named = next((name for name in (wanted, "app", "web") if name in services), None)
    with_ports = (name for name, spec in services.items() if spec.get("ports") or spec.get("expose"))
    return named or next(with_ports, next(iter(services)))


JOINS: ServiceKey[Joins] = ServiceKey("domains.joins", "domains")

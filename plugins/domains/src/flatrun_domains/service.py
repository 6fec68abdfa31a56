"""The domains of a deployment: changed in its file and in the proxy together, or not at all."""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from flatrun_core import Conflict, Invalid, NotFound, PluginContext, ServiceKey
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.deployments import DEPLOYMENTS, Deployment, DomainsChanged, EditableMetadata
from flatrun_core.ports.proxy import PROXY, Applied
from flatrun_core.ports.scheduling import LOCKS
from flatrun_domains import editing, errors, requests, rules
from flatrun_domains.entries import DEFAULT_PORT, Entry, Pair, Reading, Stored, checked, service_port
from flatrun_domains.publishing import PUBLISHER
from flatrun_domains.registry import REGISTRY
from flatrun_domains.taken import Wish

# A test and a reload of a proxy with many sites, and whoever came before.
WAIT_FOR_PROXY: Final = 120.0
WAIT_FOR_DEPLOYMENT: Final = 10.0

Result = Mapping[str, Any]


@dataclass(slots=True)
class Change:
    """One transaction at work: the deployment as it is, and its file open for a change.

    ``expose`` says that the entries are to be served from now on; without it that stays as it is.
    """

    deployment: Deployment
    reading: Reading
    document: EditableMetadata
    identity: Identity
    expose: bool = True
    applied: Applied = field(default_factory=Applied)

    def stored(self, domain_id: str) -> Stored:
        """One entry; 404 ``DOMAIN_NOT_FOUND``."""
        found = next((one for one in self.reading.stored if one.id == domain_id), None)
        if found is None:
            raise errors.domain_not_found()
        return found

    def others(self, domain_id: str) -> list[Entry]:
        """The entries beside one."""
        return [entry for entry in self.reading.entries if entry.id != domain_id]


class Domains:
    """Lists and changes domains."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._deployments = ctx.services.get(DEPLOYMENTS)
        self._proxy = ctx.services.get(PROXY)
        self._locks = ctx.services.get(LOCKS)
        self._registry = ctx.services.get(REGISTRY)
        self._publisher = ctx.services.get(PUBLISHER)

    def list(self, name: str) -> Sequence[Stored]:
        """The entries of a deployment in their order; 409 ``METADATA_UNREADABLE``."""
        return self._read(self._deployments.get(name)).stored

    def add(self, name: str, body: Mapping[str, Any], identity: Identity) -> tuple[Stored, Result]:
        """Add an entry and serve it; the entry, and the outcome as ``SetupResult``.

        400 for what cannot be served and ``SERVICE_NOT_FOUND``, 409 ``DOMAIN_EXISTS``, 500
        ``PROXY_CONFIG_FAILED`` when the proxy refuses it; then nothing has changed.
        """
        values = requests.asked(body)
        with self._changing(name, identity) as change:
            domain_id = self._free_id(change, str(body.get("id") or ""))
            complete = self._complete(change.deployment, requests.merged({}, {**values, "id": domain_id}))
            if not change.reading.exposed:
                self._check_all(change, "")
            self._check(change, complete, domain_id)
            self._adopt_single(change)
            editing.add(change.document, complete)
            first = change.reading.stored[0].values if change.reading.stored else complete
            self._serve(change, first)
        return self._outcome(domain_id, change)

    def update(
        self, name: str, domain_id: str, body: Mapping[str, Any], identity: Identity
    ) -> tuple[Stored, Result]:
        """Change an entry, what is not sent stays; as ``add``, and 404 ``DOMAIN_NOT_FOUND``."""
        values = requests.asked(body)
        with self._changing(name, identity) as change:
            stored = change.stored(domain_id)
            change.expose = change.reading.exposed
            self._put(change, stored, values, stored.entry.pairs if stored.entry else ())
        return self._outcome(domain_id, change)

    def remove(self, name: str, domain_id: str, identity: Identity) -> None:
        """Take an entry away; with the last one nothing is served any more. 404 ``DOMAIN_NOT_FOUND``."""
        with self._changing(name, identity) as change:
            gone = change.stored(domain_id)
            self._pin(change)
            if gone.index is not None:
                editing.remove(change.document, gone.index)
            rest = [one for one in change.reading.stored if one.id != domain_id]
            editing.mirror(change.document, rest[0].values if rest else None)
            self._apply(change)

    def setup(self, name: str, body: Mapping[str, Any], identity: Identity) -> Result:
        """Expose a deployment, with another primary domain when one is sent; the ``SetupResult``.

        Without a stored or sent domain nothing is done: ``skipped``, or 400 for a port or TLS alone.
        """
        sent = {key: body[key] for key in ("domain", "port", "ssl") if body.get(key) is not None}
        if rules.is_reserved(name):
            raise errors.reserved(name)
        if not self._read(self._deployments.get(name)).stored and "domain" not in sent:
            if sent:
                raise Invalid("domain: it is required, as the deployment has none")
            return self._publisher.skipped(name, "The deployment is not exposed: it has no domain")
        values: dict[str, Any] = {"domain": sent["domain"]} if "domain" in sent else {}
        if "port" in sent:
            values["container_port"] = sent["port"]
        if "ssl" in sent:
            values["ssl"] = {"enabled": sent["ssl"], "auto_cert": sent["ssl"]}
        with self._changing(name, identity) as change:
            self._set_up(change, values)
        return self._publisher.finish(change.deployment, change.applied)

    def withdraw(self, name: str, identity: Identity) -> None:
        """Serve a deployment no more; its entries and certificates stay for another setup.

        404 when there is neither such a deployment nor a site of that name.
        """
        kept = bool(self._registry.drop_kept(name))
        if not self._exists(name):
            if not kept and not self._proxy.status(name).exists:
                raise errors.deployment_not_found()
            self._publisher.apply_quietly(name)
            return
        with self._changing(name, identity) as change:
            editing.expose(change.document, False)
            change.document.save()
            change.applied = self._publisher.apply_quietly(name)

    def disable_tls(self, name: str, identity: Identity, hosts: Sequence[str] | None = None) -> None:
        """Want no TLS for the entries with these hosts any more, or for all of them."""
        with self._changing(name, identity) as change:
            for place, one in enumerate(change.reading.stored):
                names = one.entry.names if one.entry else ()
                if hosts is None or set(hosts) & set(names):
                    editing.without_tls(change.document, one.index, mirrored=place == 0)
            self._apply(change)

    # --- the transaction ------------------------------------------------------------------------

    @contextmanager
    def _changing(self, name: str, identity: Identity) -> Iterator[Change]:
        """A deployment's file under its lock and the proxy's; an exception leaves both as they were."""
        with (
            self._deployments.exclusive(name, WAIT_FOR_DEPLOYMENT) as deployment,
            self._locks.hold("proxy", wait=WAIT_FOR_PROXY),
        ):
            reading = self._read(deployment)
            before = self._names(deployment)
            with self._deployments.edit(name) as document:
                change = Change(deployment, reading, document, identity)
                yield change
        change.deployment = self._registry.remember().get(name, deployment)
        self._tell(name, before, self._names(change.deployment))

    def _apply(self, change: Change) -> None:
        change.document.save()
        change.applied = self._publisher.apply(change.deployment.name)

    def _pin(self, change: Change) -> None:
        """The single-domain fields are about to change, and whoever relies on them must not move."""
        for one in change.reading.stored:
            if one.index is not None:
                editing.pin(change.document, one.index, one.values)

    def _serve(self, change: Change, first: Mapping[str, Any]) -> None:
        self._pin(change)
        editing.mirror(change.document, first)
        if change.expose:
            editing.expose(change.document, True)
        self._apply(change)

    def _put(self, change: Change, stored: Stored, values: Mapping[str, Any], own: Collection[Pair]) -> None:
        """Change an entry; hosts and paths in ``own`` are the deployment's already."""
        after = self._complete(change.deployment, requests.merged(stored.values, {**values, "id": stored.id}))
        self._check(change, after, stored.id, own)
        index = self._adopt_single(change) if stored.index is None else stored.index
        changed = {key: after[key] for key in ("id", *values)}
        editing.change(change.document, index, changed)
        first = after if index == 0 else change.reading.stored[0].values
        self._serve(change, first)

    def _set_up(self, change: Change, values: Mapping[str, Any]) -> None:
        stored = change.reading.stored
        if stored and values:
            self._check_all(change, stored[0].id)
            self._put(change, stored[0], values, self._registry.claimed(change.deployment.name))
        elif stored:
            self._check_all(change, "")
            editing.expose(change.document, True)
            self._apply(change)
        else:
            complete = self._complete(change.deployment, requests.merged({"id": str(uuid.uuid4())}, values))
            self._check(change, complete, complete["id"])
            editing.add(change.document, complete)
            self._serve(change, complete)

    def _adopt_single(self, change: Change) -> int:
        first = next((one for one in change.reading.stored if one.index is None), None)
        if first is not None:
            editing.adopt_single(change.document, first.values)
        return 0

    # --- checks ---------------------------------------------------------------------------------

    def _read(self, deployment: Deployment) -> Reading:
        if deployment.metadata is None:
            raise errors.unreadable(deployment.name, deployment.problem)
        return self._registry.reading(deployment)

    def _complete(self, deployment: Deployment, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values with a service and its port."""
        service = values.get("service") or deployment.primary_service or ""
        port = values.get("container_port") or service_port(deployment, service) or DEFAULT_PORT
        ssl = requests.full_ssl({}, values.get("ssl") or {})
        return {**values, "service": service, "container_port": port, "ssl": ssl}

    def _check(
        self, change: Change, values: Mapping[str, Any], domain_id: str, own: Collection[Pair] = ()
    ) -> None:
        name = change.deployment.name
        if rules.is_reserved(name):
            raise errors.reserved(name)
        if change.reading.services and values["service"] not in change.reading.services:
            raise errors.service_not_found(str(values["service"]))
        try:
            entry = checked(values, domain_id)
        except ValueError as exc:
            raise Invalid(str(exc)) from exc
        reading = change.reading
        before = next((one.entry for one in reading.stored if one.id == domain_id and own), None)
        wish = Wish(name, (entry,), change.others(domain_id), own, before)
        self._registry.check_free(wish, change.identity)

    def _check_all(self, change: Change, but: str) -> None:
        """What was stored unexposed is served from now on, so it has to be free."""
        name = change.deployment.name
        wish = Wish(name, change.others(but), own=self._registry.claimed(name))
        self._registry.check_free(wish, change.identity)

    def _free_id(self, change: Change, wanted: str) -> str:
        if not wanted:
            return str(uuid.uuid4())
        if any(one.id == wanted for one in change.reading.stored):
            raise Conflict(f"A domain with the id '{wanted}' exists already")
        return wanted

    # --- afterwards -----------------------------------------------------------------------------

    def _outcome(self, domain_id: str, change: Change) -> tuple[Stored, Result]:
        found = (one for one in self._read(change.deployment).stored if one.id == domain_id)
        stored = next(found, None)
        if stored is None:
            raise Conflict("The file was changed by somebody else at the same time")
        domain = stored.entry.domain if stored.entry else ""
        return stored, self._publisher.finish(change.deployment, change.applied, only=domain)

    def _names(self, deployment: Deployment) -> set[str]:
        return {host for entry in self._registry.served(deployment) for host in entry.names}

    def _tell(self, name: str, before: set[str], after: set[str]) -> None:
        if after != before:
            event = DomainsChanged(name, tuple(sorted(after - before)), tuple(sorted(before - after)))
            self._ctx.hooks.notify("flatrun_on_domains_changed", event=event)

    def _exists(self, name: str) -> bool:
        try:
            self._deployments.get(name)
        except NotFound:
            return False
        return True


SERVICE: ServiceKey[Domains] = ServiceKey("domains.service", "domains")

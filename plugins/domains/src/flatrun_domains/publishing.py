"""From applied routes to a site that answers: containers connected, targets tried, certificates had."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from flatrun_core import FlatrunError, PluginContext, ServiceKey
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.certificates import CERTIFICATES, Certificate, Certificates
from flatrun_core.ports.deployments import DEPLOYMENTS, Deployment
from flatrun_core.ports.proxy import PROXY, Applied
from flatrun_core.ports.scheduling import LOCKS
from flatrun_domains import errors, rules
from flatrun_domains.entries import Entry
from flatrun_domains.registry import REGISTRY
from flatrun_domains.table import Table, route
from flatrun_domains.taken import Wish

log = logging.getLogger(__name__)

WAIT_FOR_PROXY: Final = 120.0
NO_CERTIFICATES: Final = "No certificate can be had: the plugin 'certificates' is not active"


@dataclass(slots=True)
class Outcome:
    """The ``SetupResult`` in the making."""

    name: str
    hosts: tuple[str, ...] = ()
    applied: Applied = field(default_factory=Applied)
    created: bool = False
    requested: bool = False
    exists: bool = False
    results: list[dict[str, Any]] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)

    def as_result(self) -> dict[str, Any]:
        """The answer; what has no value is left out."""
        optional = {
            "domain": self.hosts[0] if self.hosts else None,
            "domains": list(self.hosts),
            "message": self.applied.message,
            "certificate_results": self.results,
            "ssl_message": " ".join(self.advice),
            "ssl_error": " ".join(self.problems),
            "target_warnings": self.targets,
        }
        return {
            "deployment_name": self.name,
            "success": not self.applied.skipped,
            "skipped": self.applied.skipped,
            "virtual_host_created": self.created,
            "nginx_reloaded": self.applied.reloaded,
            "certificate_requested": self.requested,
            "certificate_exists": self.exists,
            **{key: value for key, value in optional.items() if value},
        }


class Publisher:
    """Publishes one deployment; holds the proxy's lock only while it applies."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._deployments = ctx.services.get(DEPLOYMENTS)
        self._proxy = ctx.services.get(PROXY)
        self._locks = ctx.services.get(LOCKS)
        self._registry = ctx.services.get(REGISTRY)

    def publish(self, name: str) -> Mapping[str, Any]:
        """Apply what is stored for a deployment and finish it; see ``ROUTES.publish``.

        409 ``DOMAIN_EXISTS`` when a host and path belong to another deployment, 400 ``RESERVED_NAME``,
        500 ``PROXY_CONFIG_FAILED``.
        """
        deployment = self._deployments.get(name)
        if deployment.metadata is None:
            raise errors.unreadable(name, deployment.problem)
        if not self._registry.served(deployment):
            return self.skipped(name, "The deployment is not exposed")
        if rules.is_reserved(name):
            raise errors.reserved(name)
        with self._locks.hold("proxy", wait=WAIT_FOR_PROXY):
            entries = self._registry.served(self._deployments.get(name))
            self._registry.check_free(Wish(name, entries, own=self._registry.claimed(name)), SYSTEM)
            applied = self.apply(name)
        return self.finish(self._registry.remember().get(name, deployment), applied)

    def finish(
        self, deployment: Deployment, applied: Applied, *, only: str | None = None
    ) -> Mapping[str, Any]:
        """What follows once routes are applied; the ``SetupResult``. No lock may be held.

        ``only`` names the domain that was changed: what another one of the deployment still lacks is
        the background's business, and whoever changes this one does not wait for it.
        """
        name, entries = deployment.name, self._registry.served(deployment)
        hosts = tuple(dict.fromkeys(host for entry in entries for host in entry.names))
        outcome = Outcome(name, hosts, applied)
        if not entries:
            return outcome.as_result()
        self._try_targets(deployment, entries, outcome)
        self._secure(name, entries, outcome, only)
        outcome.created = self._is_served(hosts)
        return outcome.as_result()

    def skipped(self, name: str, message: str) -> Mapping[str, Any]:
        """The ``SetupResult`` of what was not done."""
        result = Outcome(name, applied=Applied(skipped=True, message=message)).as_result()
        return result | {"success": False}

    def apply(self, *changed: str) -> Applied:
        """Apply; after a failure the timer tries again."""
        try:
            return self._proxy.apply(frozenset(changed))
        except BaseException:
            self._registry.distrust()
            raise

    def apply_quietly(self, name: str) -> Applied:
        """Apply after a deployment's site has gone; a failure is logged only."""
        try:
            return self.apply(name)
        except FlatrunError as exc:
            log.warning("the site of %s could not be taken away yet: %s", name, exc.message)
            return Applied(message=exc.message)

    def _is_served(self, hosts: Sequence[str]) -> bool:
        # Of hosts that deployments share, another one's site may have them all.
        owners = self._registry.laid_out().owners
        return any(
            self._proxy.status(owner).exists for owner in {owners.get(host) for host in hosts} if owner
        )

    # --- targets --------------------------------------------------------------------------------

    def _try_targets(self, deployment: Deployment, entries: Sequence[Entry], outcome: Outcome) -> None:
        if outcome.applied.skipped:
            return
        try:
            self._deployments.connect(deployment.name)
        except FlatrunError as exc:
            outcome.targets.append(f"The containers could not join the proxy's network: {exc.message}")
        if outcome.applied.serving:
            routes = dict.fromkeys(route(deployment.name, entry) for entry in entries)
            try:
                outcome.targets += self._proxy.probe(list(routes))
            except FlatrunError as exc:
                outcome.targets.append(f"The targets could not be tried: {exc.message}")

    # --- certificates ---------------------------------------------------------------------------

    def _secure(self, name: str, entries: Sequence[Entry], outcome: Outcome, only: str | None) -> None:
        groups = list(_groups(self._registry.laid_out(), name, entries))
        mine = [hosts for hosts, wanted in groups if wanted and (only is None or only in hosts)]
        missing = [hosts for hosts in mine if not self._covered(hosts)]
        if missing and not outcome.applied.skipped:
            certificates = self._ctx.services.find(CERTIFICATES)
            if certificates is None:
                outcome.problems.append(NO_CERTIFICATES)
            elif not outcome.applied.serving:
                outcome.advice.append("No certificate was asked for, as the proxy does not run")
            else:
                had = self._had(certificates, name, missing, outcome)
                if had:
                    self._use(certificates, name, had, outcome)
        outcome.exists = any(self._registry.lookup(hosts) is not None for hosts, _ in groups)

    def _covered(self, hosts: Sequence[str]) -> bool:
        known = self._registry.lookup(hosts)
        return known is not None and known.covers(hosts) and known.not_after > datetime.now(UTC)

    def _had(
        self,
        certificates: Certificates,
        name: str,
        missing: Sequence[tuple[str, ...]],
        outcome: Outcome,
    ) -> list[Certificate]:
        outcome.requested = True
        had = []
        for hosts in missing:
            result: dict[str, Any] = {"domain": hosts[0], "success": True, "message": "Certificate obtained"}
            try:
                outcome.advice += certificates.advice(hosts)
                had.append(certificates.ensure(hosts, deployment=name))
            except FlatrunError as exc:
                result |= {"success": False, "message": exc.message}
            except Exception:
                log.exception("getting a certificate for %s failed", hosts[0])
                result |= {"success": False, "message": "It could not be had; the panel's log says why"}
            if not result["success"]:
                outcome.problems.append(f"{hosts[0]}: {result['message']}")
            outcome.results.append(result)
        return had

    def _use(
        self, certificates: Certificates, name: str, had: Sequence[Certificate], outcome: Outcome
    ) -> None:
        """Serve with new certificates; where the proxy does not take them, without them as before."""
        try:
            applied = self.apply(name)
        except FlatrunError as exc:
            outcome.problems.append(f"The proxy does not take the certificate: {exc.message}")
            self._registry.refuse([certificate.fingerprint for certificate in had])
            self.apply_quietly(name)
            return
        reloaded = applied.reloaded or outcome.applied.reloaded
        outcome.applied = Applied(
            changed=True,
            reloaded=reloaded,
            serving=applied.serving,
            message=applied.message or outcome.applied.message,
            quarantined=applied.quarantined,
        )
        for certificate in had:
            problem = certificates.confirm(certificate)
            if problem:
                outcome.problems.append(f"{certificate.domains[0]}: {problem}")


def _groups(table: Table, name: str, entries: Sequence[Entry]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The hosts of each certificate of a deployment, and whether it is to be obtained."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.tls and table.owners.get(entry.domain):
            groups.setdefault(entry.domain, []).append(entry)
    for domain, together in groups.items():
        yield table.together[domain], any(entry.auto_cert for entry in together)


PUBLISHER: ServiceKey[Publisher] = ServiceKey("domains.publisher", "domains")

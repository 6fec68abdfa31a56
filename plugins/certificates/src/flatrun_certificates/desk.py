"""What the routes do, in the name of whoever asks."""

from collections.abc import Sequence
from typing import Any, Final

from flatrun_certificates.answers import certificate_object
from flatrun_certificates.errors import InUse, ProxyDown, Stopped
from flatrun_certificates.faults import tail
from flatrun_certificates.lineages import Lineage
from flatrun_certificates.renewal import RENEWALS, SERVICE, Outcome, Renewals
from flatrun_certificates.service import CertificateService
from flatrun_certificates.usage import Usage
from flatrun_core import Conflict, Failed, FlatrunError, Level, NotFound, PluginContext, ServiceKey
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.certificates import Certificate
from flatrun_core.ports.deployments import DEPLOYMENTS
from flatrun_core.ports.proxy import PANEL, PROXY

_HINT: Final = "Use force=true to serve these sites without TLS and delete the certificate."
_HINT_PANEL: Final = "Set domain.panel_ssl to false, or domain.panel_domain to another name, then delete it."
_NOTHING_DUE: Final = "No certificate is due for renewal."


class Desk:
    """Answers the routes; who may see or change what belongs to a deployment is decided here."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx

    @property
    def service(self) -> CertificateService:
        """What knows the certificates."""
        return self._ctx.services.get(SERVICE)

    @property
    def renewals(self) -> Renewals:
        """What renews them."""
        return self._ctx.services.get(RENEWALS)

    def admit(self, identity: Identity, name: str, level: Level) -> str | None:
        """Raise 403 ``DEPLOYMENT_FORBIDDEN`` unless one may touch it; a deployment it belongs to."""
        owners = self._owners(name, self.service.store.lineage(name))
        _need(identity, level, owners)
        return owners[0] if owners else None

    def all(self, identity: Identity) -> list[dict[str, Any]]:
        """The certificates that somebody may see, by name."""
        usage = self.service.usage()
        visible = [
            lineage
            for lineage in self.service.store.lineages()
            if _can(identity, Level.READ, usage.owners(_domains(lineage)))
        ]
        answers = self._answers_tls() if visible else False
        found = [self._object(lineage, usage, answers) for lineage in visible]
        return [one for one in found if one is not None]

    def one(self, identity: Identity, name: str) -> dict[str, Any]:
        """One; 404 also when nothing of it can be used."""
        lineage = self._lineage(identity, name, Level.READ)
        found = self._object(lineage, self.service.usage(), self._answers_tls())
        if found is None:
            raise _absent()
        return found

    def request(self, identity: Identity, domain: str) -> dict[str, Any]:
        """Ask for a certificate for a host, with the names of its entry, and serve it."""
        usage = self.service.usage()
        hosts = usage.together(domain)
        _need(identity, Level.WRITE, usage.owners(hosts))
        deployment = usage.owner(domain)
        had = self.service.obtain(hosts, deployment=deployment, by_person=True)
        self.renewals.serve([had.certificate], [deployment] if deployment else [], force=had.new)
        said = "\n".join([tail(had.output), *had.warnings])
        return {"domain": domain, "success": True, "message": said}

    def delete(self, identity: Identity, name: str, force: bool) -> None:
        """Delete one; 409 ``CERTIFICATE_IN_USE`` unless forced, which takes TLS from its sites first.

        The panel's own is never forced.
        """
        lineage = self._lineage(identity, name, Level.WRITE)
        certificate = self.service.store.certificate(lineage)
        hosts = self.service.serving(certificate) if certificate is not None else []
        if hosts:
            usage = self.service.usage()
            vhosts = sorted({owner for host in hosts if (owner := usage.owner(host))})
            if PANEL in vhosts:
                # No entry of a deployment says so: it would be asked for again.
                raise InUse(f"The certificate '{name}' is the panel's own", vhosts=vhosts, hint=_HINT_PANEL)
            if not force:
                text = f"The certificate '{name}' is in use by {', '.join(vhosts)}"
                raise InUse(text, vhosts=vhosts, hint=_HINT)
            usage.without_tls(hosts)
        self.service.delete(name)
        self.renewals.serve([])

    def auto_renew(self, identity: Identity, name: str, wanted: bool) -> None:
        """Let one be renewed by itself, or not; ``Conflict`` where it cannot be."""
        if self._lineage(identity, name, Level.WRITE).own_signed and wanted:
            text = f"The certificate '{name}' is signed by itself, and no authority can be asked for another"
            raise Conflict(f"{text}: put a newer one into its folder by hand, or delete it and request one")
        self.service.store.set_auto_renew(name, wanted)

    def renew_due(self, identity: Identity) -> dict[str, Any]:
        """Renew what is due or damaged among the certificates that somebody may change."""
        self.renewals.ask_windows()
        usage = self.service.usage()
        chosen = [
            one for one in self.service.to_renew() if _can(identity, Level.WRITE, usage.owners(one.domains))
        ]
        broken = [
            one
            for one in self.service.broken()
            if _can(identity, Level.WRITE, self._owners_of_broken(one, usage))
        ]
        outcomes = self._renewed(chosen, broken)
        result = _summary(outcomes)
        if any(one.attempted for one in outcomes) and not result["renewed"]:
            _raise_if_down(outcomes, result=result)
            raise Failed(
                f"No certificate could be renewed. {outcomes[0].error}", code="CERTBOT_FAILED", result=result
            )
        return result

    def renew(self, identity: Identity, name: str) -> dict[str, Any]:
        """Renew one at once, due or not; raises ``Failed`` when it could not be had."""
        lineage = self._lineage(identity, name, Level.WRITE)
        certificate = self.service.store.certificate(lineage)
        chosen, broken = ([certificate], []) if certificate is not None else ([], [lineage])
        outcome = next(iter(self._renewed(chosen, broken)), None)
        if outcome is None:
            raise Stopped
        if not outcome.success:
            _raise_if_down([outcome])
            raise Failed(outcome.message, code="CERTBOT_FAILED", result=_result(outcome))
        return _result(outcome)

    def renew_deployment(self, name: str) -> dict[str, Any]:
        """Renew every certificate of a deployment at once, due or not."""
        deployments = self._ctx.services.find(DEPLOYMENTS)
        if deployments is not None:
            deployments.get(name)
        usage = self.service.usage()
        chosen = [one for one in self.service.all() if usage.owners(one.domains) == [name]]
        broken = [one for one in self.service.broken() if self._owners_of_broken(one, usage) == [name]]
        outcomes = self._renewed(chosen, broken)
        _raise_if_down(outcomes)
        return {
            "results": [_result(one) for one in outcomes],
            "success": all(one.success for one in outcomes),
        }

    def _renewed(self, chosen: Sequence[Certificate], broken: Sequence[Lineage]) -> list[Outcome]:
        """Renew these; 400 when a setting is missing that all of them need."""
        if chosen or {one.name for one in broken} & self.service.wanted().keys():
            self.service.issuance.check_settings(())
        return self.renewals.renew(chosen, broken)

    def _owners_of_broken(self, lineage: Lineage, usage: Usage) -> Sequence[str]:
        """Its files say no names: those of the entry that wants it."""
        return usage.owners([*self.service.wanted(usage).get(lineage.name, ()), lineage.name])

    def _answers_tls(self) -> bool:
        try:
            return bool(self._ctx.services.get(PROXY).endpoints().https)
        except FlatrunError:
            # The certificates can be shown without a proxy that can be asked.
            return False

    def _object(self, lineage: Lineage, usage: Usage, answers: bool) -> dict[str, Any] | None:
        owners = [owner for owner in usage.owners(_domains(lineage)) if owner != PANEL]
        owner = owners[0] if owners else None
        return certificate_object(self._ctx, self.service, lineage, owner, answers_tls=answers)

    def _lineage(self, identity: Identity, name: str, level: Level) -> Lineage:
        """The lineage of a name; who may not touch the deployment it belongs to learns nothing of it."""
        lineage = self.service.store.lineage(name)
        _need(identity, level, self._owners(name, lineage))
        if lineage is None:
            raise _absent()
        return lineage

    def _owners(self, name: str, lineage: Lineage | None) -> Sequence[str]:
        usage = self.service.usage()
        if lineage is not None and lineage.leaf is None:
            return self._owners_of_broken(lineage, usage)
        domains = _domains(lineage) if lineage is not None else ()
        return usage.owners([*domains, name])


def _domains(lineage: Lineage) -> Sequence[str]:
    return lineage.leaf.domains if lineage.leaf is not None else (lineage.name,)


def _can(identity: Identity, level: Level, owners: Sequence[str]) -> bool:
    """What belongs to no deployment is everybody's who has the permission."""
    return all(identity.can(level, owner) for owner in owners)


def _need(identity: Identity, level: Level, owners: Sequence[str]) -> None:
    for owner in owners:
        identity.need(level, owner)


def _absent() -> NotFound:
    return NotFound("Certificate not found", code="CERTIFICATE_NOT_FOUND")


def _raise_if_down(outcomes: Sequence[Outcome], **details: Any) -> None:
    """Raise ``ProxyDown`` when that alone is why nothing was renewed."""
    if outcomes and all(one.proxy_down for one in outcomes):
        raise ProxyDown(**details)


def _result(outcome: Outcome) -> dict[str, Any]:
    return {"domain": outcome.name, "success": outcome.success, "message": outcome.message}


def _summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    renewed = [one.name for one in outcomes if one.success]
    failed = [{"domain": one.name, "error": one.error} for one in outcomes if not one.success]
    text = "\n".join(f"{one.name}: {one.message}" for one in outcomes) or _NOTHING_DUE
    found = {
        "success": not failed,
        "renewed": bool(renewed),
        "message": tail(text),
        "renewed_domains": renewed,
    }
    return {**found, "failed_domains": failed} if failed else found


DESK: Final[ServiceKey[Desk]] = ServiceKey("certificates.desk", "certificates")
